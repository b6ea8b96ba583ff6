package cache

import (
	"hash/maphash"
	"sync/atomic"
)

// absent remembers names that the disk was found to have nothing of, so that a wildcard can answer for them without a look
// at the disk each time. Names share its places: one that lost its own is looked for again.
type absent []atomic.Uint64

// absentPlaces is how many there are: half a megabyte.
const absentPlaces = 1 << 16

func newAbsent() absent { return make(absent, absentPlaces) }

// slot is a client's place, and what is there when the disk has nothing for it.
func (a absent) slot(seed maphash.Seed, query Query) (*atomic.Uint64, uint64) {
	hash := maphash.String(seed, query.Name) | 1 // 0 is an empty place
	if query.legacy() {
		hash ^= 2
	}
	return &a[hash/4%absentPlaces], hash
}

// forget notes that the disk has something under a key now.
func (a absent) forget(seed maphash.Seed, key string) {
	if len(a) > 0 {
		a[maphash.String(seed, hostOf(key))/4%absentPlaces].Store(0)
	}
}
