package store

import (
	"crypto"
	"time"
)

// Bounds on what a store may answer. They are far above what is in use (a chain of three RSA certificates is 5 KB) and
// keep what one name can cost small.
const (
	// MaxPairs is the number of pairs in a bundle.
	MaxPairs = 8
	// MaxChain is the number of certificates in a chain, its leaf included.
	MaxChain = 16
	// MaxPairBytes is the size in bytes of a pair's chain and key together, as DER.
	MaxPairBytes = 64 << 10
	// MaxBody is the size in bytes of a whole answer, after decompression.
	MaxBody = 1 << 20
	// MaxServers is the number of addresses in a Routing.
	MaxServers = 16
)

// Bundle is what a store returns for a name.
type Bundle struct {
	// Pairs is never empty unless NotModified is set.
	Pairs []Pair
	// Freshness is how long the store lets the bundle be used.
	Freshness Freshness
	// Validator is what to send with the next request for the name; zero if the store gave none.
	Validator Validator
	// NotModified: the store still has what the request's Validator names. Pairs is empty.
	NotModified bool
	// Store is the name of the store that answered, for people.
	Store string
	// Partial: the pairs were chosen for the client that asked. Clients that can't use them may get others.
	Partial bool
	// Stopgap: another store should have been asked first but could not be. Not to be used for longer than needed.
	Stopgap bool
	// Routing is where connections for the name are to go; nil: the store does not say, which with NotModified means that
	// it is what it was.
	Routing *Routing
}

// Routing is what a store may say of a name besides its certificate: one of the two is set.
type Routing struct {
	// Backend is the name of a configured backend.
	Backend string
	// Servers are addresses as host:port, at most MaxServers.
	Servers []string
}

// Pair is a certificate chain and its private key, decoded but not checked.
type Pair struct {
	// Chain holds DER certificates, the leaf first.
	Chain [][]byte
	// Key is the private key in DER: PKCS #8, PKCS #1 or SEC 1, as it was found.
	Key []byte
}

// Validator names a version of a bundle, for a conditional request.
type Validator struct{ ETag, LastModified string }

// IsZero reports whether v names nothing.
func (v Validator) IsZero() bool { return v == Validator{} }

// Freshness is what a store said of the lifetime of its answer. The zero value: nothing.
type Freshness struct {
	// MaxAge is what is left of s-maxage or max-age after Age was taken off. It may be negative.
	MaxAge time.Duration
	// Known: MaxAge was given.
	Known bool
	// NoStore: the answer is for those who wait for it, and not to be kept. It goes before the rest.
	NoStore bool
	// Revalidate (no-cache, private, or an age of 0): to be asked for again soon. It goes before MaxAge.
	Revalidate bool
}

// Leaf is what is worth keeping of a leaf certificate.
type Leaf struct {
	// Names are the DNS names of the certificate that sni.Normalize accepts, and those that are "*." and such a name.
	Names []string
	// Issuer is the distinguished name of the issuer as RFC 2253 writes it, cut at 256 bytes. It is text from outside.
	Issuer string
	// Fingerprint is the SHA-256 of the certificate.
	Fingerprint [32]byte
	// KeyType is "ecdsa-p256", "rsa-2048", "ed25519" and the like.
	KeyType             string
	NotBefore, NotAfter time.Time
	// MissingIntermediate: the leaf came alone, though it did not sign itself.
	MissingIntermediate bool
	// MustStaple: the certificate asks for a stapled OCSP response (RFC 7633).
	MustStaple bool
}

// Checked is a pair that Check accepted.
type Checked struct {
	// Pair has its chain in order, and its key in PKCS #8.
	Pair Pair
	Leaf Leaf
	// Signer is the parsed key.
	Signer crypto.Signer
}
