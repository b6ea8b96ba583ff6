package cache

import (
	"iter"
	"sync/atomic"
	"unique"
	"unsafe"

	"hellogate/store"
)

// entry is a name that has a certificate. It goes when its name is flushed, withdrawn, evicted or expired, and never
// comes back: the next certificate for the name gets an entry of its own. It is made by newEntry.
type entry struct {
	key   string                // a name; or what keyOf makes of one; or the wildcard whose alias it is. It is the entry's own
	held  atomic.Pointer[held]  // nil once removed
	ready atomic.Pointer[ready] // while it is in the hot tier
	flags atomic.Uint32
	place int32 // in the schedule, guarded by Cache.mu; -1: not in it
}

const (
	flagUsed         = 1 << iota // since the evicting hand came by, and before it was cooled
	flagEager                    // to be asked for again when it is used next
	flagRoutingAsked             // for its routing, which is past its time
	flagAnnounced                // the store told of a change of this very name, and was not asked since
)

// newEntry returns the entry of a key, whose bytes lie behind it: finding it among a million then reads one line of memory,
// not three, and the collector has one thing to look at.
func newEntry(key string) *entry {
	switch n := len(key); {
	case n <= 24:
		e := new(struct {
			entry
			text [24]byte
		})
		return e.named(e.text[:], key)
	case n <= 40:
		e := new(struct {
			entry
			text [40]byte
		})
		return e.named(e.text[:], key)
	case n <= 72:
		e := new(struct {
			entry
			text [72]byte
		})
		return e.named(e.text[:], key)
	}
	return new(entry).named(make([]byte, len(key)), key)
}

func (e *entry) named(text []byte, key string) *entry {
	e.key = unsafe.String(&text[0], copy(text, key)) // which nobody writes to any more
	e.place = -1
	return e
}

// textSize is what the bytes of a key take in or behind its entry.
func textSize(key string) int {
	for _, size := range [...]int{24, 40, 72} {
		if len(key) <= size {
			return size
		}
	}
	return len(key)
}

func (e *entry) name() string { return hostOf(e.key) }

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
	routing   *Routing         // nil: none
	took      int32            // how long the store took to answer, in microseconds
	kind      kind
}

// kind says what an entry's certificates are.
type kind uint8

const (
	kindPartial       kind = 1 << iota // chosen for the client that asked
	kindPinned                         // put there by hand
	kindDisk                           // not asked for since it came from the disk
	kindTrusted                        // the first may make aliases
	kindTrustedSecond                  // the second may
)

func (h *held) trusted() [2]bool {
	return [2]bool{h.kind&kindTrusted != 0, h.kind&kindTrustedSecond != 0}
}

func (h *held) partial() bool { return h.kind&kindPartial != 0 }
func (h *held) pinned() bool  { return h.kind&kindPinned != 0 }

// trouble is what went wrong with a name since it was last fetched.
type trouble struct {
	err       string
	failures  int
	withdrawn bool
	since     int64 // when the store first denied it
	warned    int64 // when it was last said that the certificate is about to expire; 0: never
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

// with returns a copy that remembers trouble; nil is none.
func (h *held) with(t *trouble) *held {
	changed := *h
	changed.trouble = t
	return &changed
}

// warned is when it was last said that what an entry holds is about to expire. nil is nobody.
func (e *entry) warned() int64 {
	if e == nil {
		return 0
	}
	return e.held.Load().troubled().warned
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
	entrySize  = int(unsafe.Sizeof(entry{}))
	groupShare = 18 // of an index, whose groups have between 2.5 and 5
	slotShare  = 20 // of the schedule, which grows by a quarter
)

// cost is what an entry takes in bytes without its pairs.
func (e *entry) cost(h *held) int64 {
	bytes := allocated(entrySize+textSize(e.key)) + groupShare + h.cost()
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
	if h.routing != nil {
		bytes += h.routing.cost()
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
