package cache

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unique"
	"unsafe"

	"hellogate/store"
)

// pair is a certificate, its chain and its key, held once however many names use it. Nothing of it is parsed: what is
// needed of the certificate is kept as values, and the parsed key only while it is in the hot tier.
type pair struct {
	bytes       []byte // the leaf's DER, then the key as key.go packs it, then the certificate's names with spaces between
	chain       *chain // what is above the leaf; nil: nothing
	notAfter    int64  // in seconds since 1970
	lifetime    int64  // of the certificate, in seconds
	issuer      unique.Handle[string]
	keyType     unique.Handle[string]
	fingerprint [32]byte
	hot         *tls.Certificate // while something is ready that needs it; guarded by hotTier.mu, as is heat
	heat        int32            // how much is
	references  int32            // guarded by Cache.mu
	leaf        uint16           // length of the leaf in bytes
	packed      uint16           // that of the key
	key         packedKey
	odd         oddity
	next        *pair // in its pairTable
}

// oddity is what is odd about a certificate that was accepted.
type oddity uint8

const (
	oddAlone  oddity = 1 << iota // its intermediate certificate is missing
	oddStaple                    // it asks for a stapled OCSP response
)

func oddityOf(leaf store.Leaf) (odd oddity) {
	if leaf.MissingIntermediate {
		odd |= oddAlone
	}
	if leaf.MustStaple {
		odd |= oddStaple
	}
	return odd
}

// remarks say what is odd.
func (o oddity) remarks() (remarks []string) {
	if o&oddAlone != 0 {
		remarks = append(remarks, "its intermediate certificate is missing: most clients will refuse it")
	}
	if o&oddStaple != 0 {
		remarks = append(remarks, "it asks for a stapled OCSP response, which is not sent")
	}
	return remarks
}

// chain is what is sent after the leaf.
type chain struct {
	der        [][]byte
	hash       [32]byte
	references int
}

// newPair returns the pair of a certificate that was accepted.
func newPair(checked store.Checked) (*pair, error) {
	key, packed, err := packKey(checked.Signer)
	if err != nil {
		return nil, err
	}
	leaf := checked.Leaf
	created := &pair{
		bytes:       slices.Concat(checked.Pair.Chain[0], packed, []byte(strings.Join(leaf.Names, " "))),
		notAfter:    leaf.NotAfter.Unix(),
		lifetime:    int64(leaf.NotAfter.Sub(leaf.NotBefore) / time.Second),
		issuer:      unique.Make(leaf.Issuer),
		keyType:     unique.Make(leaf.KeyType),
		fingerprint: leaf.Fingerprint,
		leaf:        uint16(len(checked.Pair.Chain[0])),
		packed:      uint16(len(packed)),
		key:         key,
		odd:         oddityOf(leaf),
	}
	if above := checked.Pair.Chain[1:]; len(above) > 0 {
		created.chain = newChain(above)
	}
	return created, nil
}

func newChain(der [][]byte) *chain {
	created := &chain{der: make([][]byte, len(der))}
	digest := sha256.New()
	for i, certificate := range der {
		created.der[i] = bytes.Clone(certificate)
		digest.Write(binary.BigEndian.AppendUint32(nil, uint32(len(certificate))))
		digest.Write(certificate)
	}
	digest.Sum(created.hash[:0])
	return created
}

// certificate is the pair as crypto/tls takes it. Its Leaf is nil, which crypto/tls does not miss in a certificate that
// GetCertificate returns.
func (p *pair) certificate(signer crypto.Signer) *tls.Certificate {
	return &tls.Certificate{Certificate: p.sent(), PrivateKey: signer}
}

// sent is the chain, the leaf first.
func (p *pair) sent() [][]byte {
	sent := [][]byte{p.bytes[:p.leaf:p.leaf]}
	if p.chain != nil {
		sent = append(sent, p.chain.der...)
	}
	return sent
}

func (p *pair) parseKey() (crypto.Signer, error) { return p.key.parse(p.bytes[p.leaf:][:p.packed]) }

// names are those of the certificate, with spaces between.
func (p *pair) names() string { return string(p.bytes[p.end():]) }

// isFor reports whether name is the only one of the certificate's.
func (p *pair) isFor(name string) bool { return string(p.bytes[p.end():]) == name }

// end is where leaf and key end.
func (p *pair) end() int { return int(p.leaf) + int(p.packed) }

func (p *pair) identical(other *pair) bool {
	return p.fingerprint == other.fingerprint && p.chain.identical(other.chain) && bytes.Equal(p.bytes, other.bytes)
}

func (c *chain) identical(other *chain) bool {
	return c == other || c != nil && other != nil && c.hash == other.hash
}

// covers reports whether one of the certificate's names is name itself.
func (p *pair) covers(name string) bool {
	for own := range strings.SplitSeq(p.names(), " ") {
		if own == name {
			return true
		}
	}
	return false
}

const (
	pairSize  = int64(unsafe.Sizeof(pair{}))
	chainSize = int64(unsafe.Sizeof(chain{}))
	// mapShare is what a map of small keys and pointers takes an element, with the room it has left on average.
	mapShare = 32
)

// cost is what the pair takes in bytes for itself, unless it is hot.
func (p *pair) cost() int64 {
	return allocated(int(pairSize)) + allocated(len(p.bytes)) + mapShare
}

func (c *chain) cost() int64 {
	bytes := allocated(int(chainSize)) + allocated(len(c.der)*int(unsafe.Sizeof(c.der[0]))) + 2*mapShare
	for _, certificate := range c.der {
		bytes += allocated(len(certificate))
	}
	return bytes
}

// pairTable holds each pair and each chain once. Whoever uses it holds Cache.mu.
type pairTable struct {
	pairs  map[uint64]*pair // by the start of the fingerprint, linked by next
	chains map[[32]byte]*chain
	count  int
	bytes  int64 // what all of them take
}

func newPairTable() pairTable {
	return pairTable{pairs: make(map[uint64]*pair), chains: make(map[[32]byte]*chain)}
}

// has reports whether a pair with this certificate is held.
func (t *pairTable) has(fingerprint [32]byte) bool {
	for held := t.pairs[slot(fingerprint)]; held != nil; held = held.next {
		if held.fingerprint == fingerprint {
			return true
		}
	}
	return false
}

func slot(fingerprint [32]byte) uint64 { return binary.BigEndian.Uint64(fingerprint[:]) }

// take returns the pair that is held for one like this, or this, with a reference more.
func (t *pairTable) take(p *pair) *pair {
	at := slot(p.fingerprint)
	for held := t.pairs[at]; held != nil; held = held.next {
		if held.identical(p) {
			held.references++
			return held
		}
	}
	p.chain = t.takeChain(p.chain)
	p.references = 1
	p.next, t.pairs[at] = t.pairs[at], p
	t.count++
	t.bytes += p.cost()
	return p
}

func (t *pairTable) takeChain(c *chain) *chain {
	if c == nil {
		return nil
	}
	held := t.chains[c.hash]
	if held == nil {
		held = c
		t.chains[c.hash] = c
		t.bytes += c.cost()
	}
	held.references++
	return held
}

// drop gives a reference back. With the last one the pair goes.
func (t *pairTable) drop(p *pair) {
	if p.references--; p.references > 0 {
		return
	}
	t.unlink(p)
	t.count--
	t.bytes -= p.cost()
	if p.chain != nil {
		t.dropChain(p.chain)
	}
}

func (t *pairTable) unlink(p *pair) {
	at := slot(p.fingerprint)
	if t.pairs[at] == p {
		t.pairs[at] = p.next
	} else {
		for before := t.pairs[at]; before != nil; before = before.next {
			if before.next == p {
				before.next = p.next
				break
			}
		}
	}
	if t.pairs[at] == nil {
		delete(t.pairs, at)
	}
}

func (t *pairTable) dropChain(c *chain) {
	if c.references--; c.references == 0 {
		delete(t.chains, c.hash)
		t.bytes -= c.cost()
	}
}
