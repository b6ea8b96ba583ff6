package cache

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"sync/atomic"
)

const (
	// shards divides an index so that growing it copies a small part at a time.
	shards    = 1 << shardBits
	shardBits = 6
)

// index finds something by name. It is read without a lock; those who write take turns by a lock of their own.
//
// A shard is a table of groups, each as large as a line of the processor's cache (64 bytes): a look-up among a million names reads
// such a line, and what it finds. What does not fit its group goes to the next one that has room. A table that becomes
// too small is copied: a reader of the old one sees it as it was.
type index[T any] struct {
	seed   maphash.Seed
	nameOf func(*T) string // which never changes
	shards *[shards]shard[T]
	count  int
	hand   struct{ shard, slot int } // see next
}

type shard[T any] struct {
	table atomic.Pointer[table[T]]
	count int
}

type table[T any] struct{ groups []group[T] }

const (
	groupSlots = 7
	// mostInGroup is how many a group has on average when a table grows. It has half as many then, and a quarter of what
	// would be half when it shrinks.
	mostInGroup = 5
)

// group has a byte of tags for each slot, which is 0 where it is free, and in the last byte how many went on to a later
// group because this one was full.
type group[T any] struct {
	tags  atomic.Uint64
	slots [groupSlots]atomic.Pointer[T]
}

const (
	passedShift = 8 * groupSlots
	onePassed   = 1 << passedShift
	mostPassed  = 0xff // from which it is not counted any more, up or down
)

func newIndex[T any](nameOf func(*T) string) index[T] {
	x := index[T]{seed: maphash.MakeSeed(), nameOf: nameOf, shards: new([shards]shard[T])}
	for i := range x.shards {
		x.shards[i].table.Store(newTable[T](0))
	}
	return x
}

func newTable[T any](count int) *table[T] {
	return &table[T]{make([]group[T], 1<<bits.Len(uint(count)/(mostInGroup-1)))}
}

// find returns what is there for a name, or nil, and the name's hash.
func (x *index[T]) find(name string) (*T, uint64) {
	hash := maphash.String(x.seed, name)
	t := x.shard(hash).table.Load()
	for i := range t.groups {
		b := t.group(hash, i)
		tags := b.tags.Load()
		for same := equalBytes(tags, tagOf(hash)); same != 0; same &= same - 1 {
			// A writer may have put another there since.
			if found := b.slots[firstByte(same)].Load(); found != nil && x.nameOf(found) == name {
				return found, hash
			}
		}
		if tags < onePassed {
			break
		}
	}
	return nil, hash
}

func (x *index[T]) shard(hash uint64) *shard[T] { return &x.shards[hash>>(64-shardBits)] }

// group is the one that a hash belongs in, or the i-th after it.
func (t *table[T]) group(hash uint64, i int) *group[T] {
	return &t.groups[(hash+uint64(i))&uint64(len(t.groups)-1)]
}

// tagOf is a byte of the hash that neither shard nor group is chosen by, and not 0.
func tagOf(hash uint64) uint8 { return uint8(hash>>48) | 1 }

const (
	lowBits  = 0x00_01_01_01_01_01_01_01
	highBits = lowBits << 7
)

// equalBytes has the high bit of every byte set that equals tag in tags, and perhaps of some above one that does.
func equalBytes(tags uint64, tag uint8) uint64 {
	differing := tags ^ lowBits*uint64(tag)
	return (differing - lowBits) &^ differing & highBits
}

// firstByte is the place of the lowest byte that has a bit set.
func firstByte(word uint64) int { return bits.TrailingZeros64(word) / 8 }

// insert adds what has a name that is not there.
func (x *index[T]) insert(added *T) {
	hash := maphash.String(x.seed, x.nameOf(added))
	s := x.shard(hash)
	x.count++
	s.count++
	if s.count > mostInGroup*len(s.table.Load().groups) {
		x.resize(s)
	}
	s.table.Load().put(hash, added)
}

func (t *table[T]) put(hash uint64, added *T) {
	for i := range t.groups {
		b := t.group(hash, i)
		tags := b.tags.Load()
		if free := equalBytes(tags, 0); free != 0 {
			slot := firstByte(free)
			b.slots[slot].Store(added) // before a reader is led to it
			b.tags.Store(tags | uint64(tagOf(hash))<<(8*slot))
			return
		}
		if tags>>passedShift < mostPassed {
			b.tags.Store(tags + onePassed)
		}
	}
}

// remove takes out what is there, if it is.
func (x *index[T]) remove(removed *T) {
	hash := maphash.String(x.seed, x.nameOf(removed))
	s := x.shard(hash)
	if !s.table.Load().take(hash, removed) {
		return
	}
	x.count--
	s.count--
	if s.count < mostInGroup*len(s.table.Load().groups)/8 {
		x.resize(s)
	}
}

func (t *table[T]) take(hash uint64, removed *T) bool {
	for i := range t.groups {
		b := t.group(hash, i)
		for slot := range b.slots {
			if b.slots[slot].Load() == removed {
				b.tags.Store(b.tags.Load() &^ (0xff << (8 * slot)))
				b.slots[slot].Store(nil)
				t.unpass(hash, i)
				return true
			}
		}
		if b.tags.Load() < onePassed {
			break
		}
	}
	return false
}

// unpass notes that one less went past the first groups of a hash.
func (t *table[T]) unpass(hash uint64, groups int) {
	for i := range groups {
		b := t.group(hash, i)
		if tags := b.tags.Load(); tags>>passedShift < mostPassed {
			b.tags.Store(tags - onePassed)
		}
	}
}

// resize copies a shard's table to one that has room to grow, and to shrink.
func (x *index[T]) resize(s *shard[T]) {
	resized := newTable[T](s.count)
	for value := range s.table.Load().all() {
		resized.put(maphash.String(x.seed, x.nameOf(value)), value)
	}
	s.table.Store(resized)
}

// slot is the n-th of all slots, nil when it is free or there is none.
func (t *table[T]) slot(n int) *T { return t.groups[n/groupSlots].slots[n%groupSlots].Load() }

func (t *table[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for n := range groupSlots * len(t.groups) {
			if value := t.slot(n); value != nil && !yield(value) {
				return
			}
		}
	}
}

// all yields everything from a shard on, once around. What is added or removed meanwhile may be missed or not.
func (x *index[T]) all(from int) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range shards {
			for value := range x.shards[(from+i)%shards].table.Load().all() {
				if !yield(value) {
					return
				}
			}
		}
	}
}

// next moves the hand of the clock that looks for what to evict to the next that may go: that spared does not ask to pass
// by. After two rounds it asks without patience, lest hits outrun the hand. nil: there is none.
func (x *index[T]) next(spared func(value *T, patient bool) bool) *T {
	for patience := 2 * x.count; patience >= -2*x.count && x.count > 0; {
		t := x.shards[x.hand.shard].table.Load()
		if x.hand.slot >= groupSlots*len(t.groups) {
			x.hand.shard, x.hand.slot = (x.hand.shard+1)%shards, 0
			continue
		}
		at := t.slot(x.hand.slot)
		x.hand.slot++
		if at == nil {
			continue
		}
		if patience--; !spared(at, patience >= 0) {
			return at
		}
	}
	return nil
}
