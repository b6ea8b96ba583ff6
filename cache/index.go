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
// A shard is a hash table of chains. A chain's nodes are never changed but in their next, and a removed node keeps its
// own, so that a reader who stands on it finds the way on. A table that becomes too small is copied, nodes and all: a
// reader of the old one sees it as it was.
type index[T any] struct {
	seed   maphash.Seed
	shards *[shards]shard[T]
	count  int
	hand   struct{ shard, chain int } // see next
}

type shard[T any] struct {
	table atomic.Pointer[table[T]]
	count int
}

type table[T any] struct{ chains []link[T] }

type link[T any] struct{ atomic.Pointer[node[T]] }

type node[T any] struct {
	name  string
	value *T
	next  link[T]
}

func newIndex[T any]() index[T] {
	x := index[T]{seed: maphash.MakeSeed(), shards: new([shards]shard[T])}
	for i := range x.shards {
		x.shards[i].table.Store(&table[T]{make([]link[T], 1)})
	}
	return x
}

// find returns what is there for a name, or nil, and the name's hash.
func (x *index[T]) find(name string) (*T, uint64) {
	hash := maphash.String(x.seed, name)
	for at := x.shard(hash).table.Load().chain(hash).Load(); at != nil; at = at.next.Load() {
		if at.name == name {
			return at.value, hash
		}
	}
	return nil, hash
}

func (x *index[T]) shard(hash uint64) *shard[T] { return &x.shards[hash>>(64-shardBits)] }

func (t *table[T]) chain(hash uint64) *link[T] { return &t.chains[hash&uint64(len(t.chains)-1)] }

func (l *link[T]) push(name string, value *T) {
	created := &node[T]{name: name, value: value}
	created.next.Store(l.Load())
	l.Store(created)
}

// insert adds what has a name that is not there.
func (x *index[T]) insert(name string, value *T) {
	hash := maphash.String(x.seed, name)
	s := x.shard(hash)
	s.table.Load().chain(hash).push(name, value)
	x.count++
	s.count++
	if s.count > len(s.table.Load().chains) {
		x.resize(s)
	}
}

// remove takes what has a name out, if it is there.
func (x *index[T]) remove(name string) {
	hash := maphash.String(x.seed, name)
	s := x.shard(hash)
	from := s.table.Load().chain(hash)
	for at := from.Load(); at != nil; at = from.Load() {
		if at.name == name {
			from.Store(at.next.Load())
			x.count--
			s.count--
			break
		}
		from = &at.next
	}
	if s.count < len(s.table.Load().chains)/8 {
		x.resize(s)
	}
}

// resize copies a shard's table to one that has room to grow, and to shrink.
func (x *index[T]) resize(s *shard[T]) {
	resized := &table[T]{make([]link[T], 1<<bits.Len(uint(s.count)))}
	for at := range s.table.Load().nodes() {
		resized.chain(maphash.String(x.seed, at.name)).push(at.name, at.value)
	}
	s.table.Store(resized)
}

func (t *table[T]) nodes() iter.Seq[*node[T]] {
	return func(yield func(*node[T]) bool) {
		for i := range t.chains {
			for at := t.chains[i].Load(); at != nil; at = at.next.Load() {
				if !yield(at) {
					return
				}
			}
		}
	}
}

// all yields everything from a shard on, once around. What is added or removed meanwhile may be missed or not.
func (x *index[T]) all(from int) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range shards {
			for at := range x.shards[(from+i)%shards].table.Load().nodes() {
				if !yield(at.value) {
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
		chains := x.shards[x.hand.shard].table.Load().chains
		if x.hand.chain >= len(chains) {
			x.hand.shard, x.hand.chain = (x.hand.shard+1)%shards, 0
			continue
		}
		at := chains[x.hand.chain].Load()
		x.hand.chain++
		for ; at != nil; at = at.next.Load() {
			if patience--; !spared(at.value, patience >= 0) {
				return at.value
			}
		}
	}
	return nil
}
