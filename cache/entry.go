package cache

import (
	"iter"
	"sync/atomic"
	"unique"
	"unsafe"

	"hellogate/store"
)

// entry is a name that has a certificate. It goes when its name is flushed, withdrawn, evicted or expired, and never
// comes back: the next certificate for the name gets an entry of its own.
type entry struct {
	name  string
	held  atomic.Pointer[held]  // nil once removed
	ready atomic.Pointer[ready] // while it is in the hot tier
	flags atomic.Uint32
	place int32 // in the schedule, guarded by Cache.mu; -1: not in it
}

const (
	flagUsed  = 1 << iota // since the evicting hand came by, and before it was cooled
	flagAsked             // an alias whose own certificate has been asked for
)

// spared reports whether the entry was used since it was last asked.
func (e *entry) spared() bool {
	hot := e.ready.Load()
	return e.flags.And(^uint32(flagUsed))&flagUsed != 0 || hot != nil && hot.spared(usedEntry)
}

// held is what an entry holds. It is replaced whole, never changed.
type held struct {
	pairs     [2]*pair // the second is for clients that can't use the first; often nil
	notAfter  int64    // of the pair that expires first, in seconds since 1970
	fetched   int64    // on the monotonic clock, as is what follows
	stale     int64    // when its lifetime ends
	store     unique.Handle[string]
	validator *store.Validator // nil: none
	owner     *entry           // of an alias: the entry whose certificate it is
	trouble   *trouble         // nil: none
}

// trouble is what went wrong with a name since it was last fetched.
type trouble struct {
	err       string
	failures  int
	withdrawn bool
	since     int64 // when the store first denied it
}

// each yields the pairs; none of nil.
func (h *held) each() iter.Seq[*pair] {
	return func(yield func(*pair) bool) {
		if h == nil {
			return
		}
		for _, p := range h.pairs {
			if p != nil && !yield(p) {
				return
			}
		}
	}
}

func (h *held) expired(now moment) bool { return now.reached(h.notAfter) }

// with returns a copy that remembers trouble.
func (h *held) with(t trouble) *held {
	changed := *h
	changed.trouble = &t
	return &changed
}

// troubled returns the trouble there is, or none.
func (h *held) troubled() trouble {
	if h.trouble == nil {
		return trouble{}
	}
	return *h.trouble
}

func (h *held) withdrawn() bool { return h.trouble != nil && h.trouble.withdrawn }

// same reports whether a and b serve the same certificates.
func (h *held) same(other *held) bool { return h.pairs == other.pairs }

// The sizes of the allocations that come with an entry, and its share of the tables that it is in.
const (
	nodeSize     = int64(unsafe.Sizeof(node[entry]{}))
	entrySize    = int64(unsafe.Sizeof(entry{}))
	chainShare   = 12 // between half and all of two chain heads
	slotShare    = 20 // of the schedule, which grows by a quarter
	entryOwnCost = nodeSize + entrySize + chainShare
)

// cost is what an entry takes in bytes without its pairs.
func (e *entry) cost(h *held) int64 {
	bytes := entryOwnCost + allocated(len(e.name)) + h.cost()
	if h.owner == nil {
		return bytes + slotShare
	}
	return bytes + aliasShare
}

func (h *held) cost() int64 {
	bytes := allocated(int(unsafe.Sizeof(*h)))
	if h.validator != nil {
		bytes += allocated(int(unsafe.Sizeof(*h.validator))) + allocated(len(h.validator.ETag)) + allocated(len(h.validator.LastModified))
	}
	if h.trouble != nil {
		bytes += allocated(int(unsafe.Sizeof(*h.trouble))) + allocated(len(h.trouble.err))
	}
	return bytes
}

// allocated is about what the allocator takes for n bytes: it has classes, an eighth apart or less.
func allocated(n int) int64 {
	switch {
	case n <= 0:
		return 0
	case n <= 8:
		return 8
	case n <= 128:
		return int64(n+15) &^ 15
	case n <= 512:
		return int64(n+31) &^ 31
	}
	return int64(n + n/16)
}
