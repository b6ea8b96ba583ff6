package cache

import (
	"crypto"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"unsafe"
)

// hotTier keeps what is served now, ready to sign with, in an index of its own: what a hit reads is then close together,
// however much is cached. It is bounded in bytes. What was not used for longest goes, by the clock: a hand goes round and
// passes once by what was used since it last came.
type hotTier struct {
	index       index[ready]
	limit       int64
	signer      func(crypto.Signer) crypto.Signer
	signerBytes func(crypto.PublicKey) int64

	// mu guards what follows, writes to the index, and hot and heat of every pair. It is taken after Cache.mu, if both are,
	// and never held while a key is parsed.
	mu    sync.Mutex
	ring  []*ready
	hand  int
	bytes int64
}

// ready is what a hit needs of what an entry holds.
type ready struct {
	first    *tls.Certificate
	second   *tls.Certificate // for clients that can't use the first; nil: there is none, or it is not parsed
	notAfter int64            // in seconds since 1970, of the one that expires first
	stale    atomic.Int64     // when the lifetime ends, on the monotonic clock
	key      string           // the entry's; set while it is in the index
	entry    *entry
	held     *held // that it was made of, guarded by hotTier.mu
	flags    atomic.Uint32
	place    int32 // in the ring; -1: not in it
	two      bool  // there is a second
	alias    bool
	partial  bool
	pinned   bool
	routing  *Routing
}

const (
	usedReady = 1 << iota // since the hot tier's hand came by
	usedEntry             // since the hand that evicts entries came by
	eager                 // flagEager of the entry
	usedBoth  = usedReady | usedEntry
)

// use notes a use, for both hands, and reports whether the entry is to be asked for again therefore. Most often it is
// noted already, and reading leaves the line shared among processors.
func (r *ready) use() bool {
	return r.flags.Load() != usedBoth && r.flags.Swap(usedBoth)&eager != 0
}

func (r *ready) spared(by uint32) bool { return r.flags.And(^by)&by != 0 }

// pick returns the certificate that suits a client, nil if that one is not parsed, and whether the client can use it, as
// far as it is worth knowing: of a partial answer.
func (r *ready) pick(hello *tls.ClientHelloInfo) (certificate *tls.Certificate, suits bool) {
	if hello == nil || !r.two && !r.partial || supports(hello, r.first) {
		return r.first, true
	}
	if !r.two {
		return r.first, false
	}
	return r.second, true
}

// supports is hello.SupportsCertificate for a certificate that is known to be valid for the name: crypto/tls would parse
// it to see for itself.
func supports(hello *tls.ClientHelloInfo, certificate *tls.Certificate) bool {
	nameless := *hello
	nameless.ServerName = ""
	return nameless.SupportsCertificate(certificate) == nil
}

func newReady(e *entry, from *held, certificates [2]*tls.Certificate) *ready {
	created := &ready{
		first:    certificates[0],
		second:   certificates[1],
		notAfter: from.notAfter,
		entry:    e,
		held:     from,
		place:    -1,
		two:      from.pairs[1] != nil,
		alias:    from.owner != nil,
		partial:  from.partial(),
		pinned:   from.pinned(),
		routing:  from.routing,
	}
	created.stale.Store(from.stale)
	created.flags.Store(usedBoth)
	if e != nil && e.flags.Load()&flagEager != 0 {
		created.flags.Store(usedBoth | eager)
	}
	return created
}

// warm makes what an entry holds ready, the second pair too if both are wanted. Of several that do so at once, one is
// kept.
func (h *hotTier) warm(e *entry, from *held, both bool) (*ready, error) {
	var certificates [2]*tls.Certificate
	for i, p := range from.pairs {
		if p == nil || i > 0 && !both {
			continue
		}
		certificate, err := h.parsed(p)
		if err != nil {
			return nil, err
		}
		certificates[i] = certificate
	}
	return h.admit(e, from, certificates), nil
}

func (h *hotTier) parsed(p *pair) (*tls.Certificate, error) {
	h.mu.Lock()
	certificate := p.hot
	h.mu.Unlock()
	if certificate != nil {
		return certificate, nil
	}
	key, err := p.parseKey()
	if err != nil {
		return nil, err
	}
	return p.certificate(h.signer(key)), nil
}

// admit keeps certificates that were made of what an entry holds, unless it holds something else by now.
func (h *hotTier) admit(e *entry, from *held, certificates [2]*tls.Certificate) *ready {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.held.Load() != from {
		return newReady(e, from, certificates)
	}
	if before := e.ready.Load(); before != nil {
		if before.second != nil || certificates[1] == nil {
			return before
		}
		h.cool(before)
	}
	for i, p := range from.pairs {
		if certificates[i] != nil {
			certificates[i] = h.heat(p, certificates[i])
		}
	}
	created := newReady(e, from, certificates)
	created.key = e.key
	created.place = int32(len(h.ring))
	h.ring = append(h.ring, created)
	h.bytes += readyCost
	e.ready.Store(created)
	h.index.insert(created)
	for h.bytes > h.limit && len(h.ring) > 1 {
		h.cool(h.next(created))
	}
	return created
}

// heat counts one more that has the pair parsed, and returns the certificate that they all share.
func (h *hotTier) heat(p *pair, certificate *tls.Certificate) *tls.Certificate {
	if p.heat++; p.heat == 1 {
		p.hot = certificate
		h.bytes += h.cost(p)
	}
	return p.hot
}

// next moves the hand to the next that was not used since it last passed. After two rounds it takes what comes, lest hits
// outrun it. There are two at least.
func (h *hotTier) next(spare *ready) *ready {
	for patience := 2 * len(h.ring); ; patience-- {
		h.hand = (h.hand + 1) % len(h.ring)
		if at := h.ring[h.hand]; at != spare && (!at.spared(usedReady) || patience < 0) {
			return at
		}
	}
}

// cool takes something out. What is known of its use goes to its entry.
func (h *hotTier) cool(r *ready) {
	last := len(h.ring) - 1
	h.ring[r.place] = h.ring[last]
	h.ring[r.place].place = r.place
	h.ring[last] = nil
	h.ring = h.ring[:last]
	h.index.remove(r)
	h.bytes -= readyCost
	r.entry.ready.Store(nil)
	if r.spared(usedEntry) {
		r.entry.flags.Or(flagUsed)
	}
	for i, certificate := range [2]*tls.Certificate{r.first, r.second} {
		if p := r.held.pairs[i]; certificate != nil {
			if p.heat--; p.heat == 0 {
				h.bytes -= h.cost(p)
				p.hot = nil
			}
		}
	}
}

// changed takes in what an entry holds now, nil when it was removed.
func (h *hotTier) changed(e *entry, next *held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := e.ready.Load()
	if r == nil {
		return
	}
	if next == nil || !r.stillOf(next) {
		h.cool(r)
		return
	}
	r.held = next
	r.stale.Store(next.stale)
	if e.flags.Load()&flagEager != 0 {
		r.flags.Or(eager)
	}
}

// stillOf reports whether what is ready is what an entry holds next, but for how long it is good.
func (r *ready) stillOf(next *held) bool {
	return next.pairs == r.held.pairs && (next.owner != nil) == r.alias && next.partial() == r.partial &&
		next.pinned() == r.pinned && next.routing == r.routing
}

// cost is what a pair that is hot takes besides its bytes, with what its signer holds outside of Go's heap.
func (h *hotTier) cost(p *pair) int64 {
	return p.hotCost() + h.signerBytes(p.hot.PrivateKey.(crypto.Signer).Public())
}

func (h *hotTier) size() (count int, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ring), h.bytes
}

// readyCost is what is ready takes in bytes without its certificates, with its places in the index and the ring.
const readyCost = int64(unsafe.Sizeof(ready{})) + groupShare + 10

func (p *pair) hotCost() int64 { return p.key.hotCost(int(p.packed)) }
