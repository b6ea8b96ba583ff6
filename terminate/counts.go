package terminate

import (
	"cmp"
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// handshakeCounts counts them by what was negotiated. The zero value is ready. There are few kinds: crypto/tls knows few
// groups.
type handshakeCounts struct{ counts sync.Map }

type handshakeKind struct {
	version uint16
	group   tls.CurveID
	resumed bool
}

// HandshakeCount is how many handshakes were of a kind.
type HandshakeCount struct {
	Version string // as in TLS 1.3
	Group   string // of the key exchange, as in X25519
	Resumed bool
	Count   uint64
}

func (h *handshakeCounts) add(state *tls.ConnectionState) {
	kind := handshakeKind{state.Version, state.CurveID, state.DidResume}
	count, ok := h.counts.Load(kind)
	if !ok {
		count, _ = h.counts.LoadOrStore(kind, new(atomic.Uint64))
	}
	count.(*atomic.Uint64).Add(1)
}

// snapshot is the counts, the same kinds always in the same order.
func (h *handshakeCounts) snapshot() (counts []HandshakeCount) {
	h.counts.Range(func(key, count any) bool {
		kind := key.(handshakeKind)
		counts = append(counts, HandshakeCount{tls.VersionName(kind.version), kind.group.String(), kind.resumed, count.(*atomic.Uint64).Load()})
		return true
	})
	slices.SortFunc(counts, func(a, b HandshakeCount) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Group, b.Group), cmp.Compare(b2i(a.Resumed), b2i(b.Resumed)))
	})
	return counts
}

// preambleCounts counts what came of preambles. The zero value is ready.
type preambleCounts struct{ counts sync.Map }

// PreambleCount is how many preambles of a protocol came to something.
type PreambleCount struct {
	Protocol string // of the listener
	Result   string // starttls, direct (TLS without being asked for), cancel, or the reason why there was no TLS
	Count    uint64
}

func (p *preambleCounts) add(protocol, result string) {
	kind := [...]string{protocol, result}
	count, ok := p.counts.Load(kind)
	if !ok {
		count, _ = p.counts.LoadOrStore(kind, new(atomic.Uint64))
	}
	count.(*atomic.Uint64).Add(1)
}

// snapshot is the counts, the same kinds always in the same order.
func (p *preambleCounts) snapshot() (counts []PreambleCount) {
	p.counts.Range(func(key, count any) bool {
		kind := key.([2]string)
		counts = append(counts, PreambleCount{kind[0], kind[1], count.(*atomic.Uint64).Load()})
		return true
	})
	slices.SortFunc(counts, func(a, b PreambleCount) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Result, b.Result))
	})
	return counts
}

// Cancels counts PostgreSQL clients' requests to cancel a query, by what became of them.
type Cancels struct{ Passed, Unknown, Failed uint64 }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// StageBounds are the bounds of a histogram's buckets.
var StageBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// StageTimes is how long connections took for a stage.
type StageTimes struct {
	Stage   string
	Buckets [len(StageBounds) + 1]uint64 // how many took at most the bound, and longer than the one before; the last: longer than all
	Sum     time.Duration
}

// times has how long each stage took, of connections that are over. The splice is none: it takes as long as it takes.
type times [stageSplice]struct {
	buckets [len(StageBounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

func (t *times) add(s *stages) {
	for at := range stageSplice {
		took, ok := s.took(at, at+1)
		if !ok {
			continue
		}
		bucket, _ := slices.BinarySearch(StageBounds[:], took)
		t[at].buckets[bucket].Add(1)
		t[at].sum.Add(int64(took))
	}
}

func (t *times) snapshot() []StageTimes {
	all := make([]StageTimes, len(t))
	for at := range t {
		all[at] = StageTimes{Stage: stage(at).String(), Sum: time.Duration(t[at].sum.Load())}
		for i := range t[at].buckets {
			all[at].Buckets[i] = t[at].buckets[i].Load()
		}
	}
	return all
}
