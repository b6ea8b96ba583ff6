package cache

import (
	"crypto"
	"crypto/x509"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store"
)

// Options is what a Cache is made of. Zero values get the defaults in parentheses.
type Options struct {
	// Store is asked for what is not cached. It must bound each Fetch by a timeout of its own.
	Store store.Store
	// Size bounds what is held in memory, in bytes (512 MiB): certificates and keys as bytes, the parsed ones in use (a
	// sixteenth of it) and the remembered answers without a certificate (another).
	Size int64
	// TTL is the lifetime of every answer when it is above 0, whatever the store and the certificate say.
	TTL time.Duration
	// MinTTL is the shortest lifetime that a store's answer can have (5m).
	MinTTL time.Duration
	// RenewBefore is how long before its end a certificate is asked for again when nothing else says when. 0: 7 days, or a
	// third of the certificate's lifetime if that is less.
	RenewBefore time.Duration
	// NegativeTTL is how long a store's no is remembered (30s).
	NegativeTTL time.Duration
	// WithdrawAfter is how long a store must go on denying a name that is cached before it is dropped (10m).
	WithdrawAfter time.Duration
	// LookupTimeout bounds a Get, however many it has to queue behind (5s); the disk is waited for up to a tenth of it before.
	LookupTimeout time.Duration
	// Fetches is how many requests to the store may be under way at once (64).
	Fetches int
	// Aliases says which certificates answer for their other names too.
	Aliases AliasPolicy
	// AliasRoots are roots that AliasesVerified accepts besides the system's; nil: none.
	AliasRoots *x509.CertPool
	// Wildcards has a certificate that is cached for *.example.com answer for every name one label below example.com, under
	// the same condition as for an alias.
	Wildcards bool
	// RouteTTL is how long the routing in a store's answer is good; it is asked for again at its first use after (60s).
	RouteTTL time.Duration
	// Permission, when set, is asked for leave before a store is asked for a name that there is no certificate of.
	Permission Permission
	// Lookups bounds how often stores may be asked for names that they do not know. The zero value does not.
	Lookups Lookups
	// Disk, when set, keeps what is cached, so that the next process has it. Its owner closes it after the Cache.
	Disk Disk
	// Event, when set, is told what happens to names. It must not wait, and must not call the Cache.
	Event func(Event)
	// Signer, when set, wraps every private key that is served.
	Signer func(crypto.Signer) crypto.Signer
	// SignerBytes, when set, is what Signer's result for the key with this public key holds outside of Go's heap, in bytes.
	// It must always be the same. It counts against Size while the key is in use.
	SignerBytes func(crypto.PublicKey) int64
	// Log takes a line for each event.
	Log zerolog.Logger
}

const defaultFetches = 64

func (o Options) withDefaults() Options {
	setDefault(&o.Size, 512<<20)
	setDefault(&o.MinTTL, 5*time.Minute)
	setDefault(&o.NegativeTTL, 30*time.Second)
	setDefault(&o.WithdrawAfter, 10*time.Minute)
	setDefault(&o.LookupTimeout, 5*time.Second)
	setDefault(&o.Fetches, defaultFetches)
	setDefault(&o.RouteTTL, time.Minute)
	if o.Signer == nil {
		o.Signer = func(key crypto.Signer) crypto.Signer { return key }
	}
	if o.SignerBytes == nil {
		o.SignerBytes = func(crypto.PublicKey) int64 { return 0 }
	}
	return o
}

func setDefault[N int | int64 | time.Duration](option *N, value N) {
	if *option <= 0 {
		*option = value
	}
}
