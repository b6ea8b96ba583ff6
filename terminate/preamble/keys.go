package preamble

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
)

// Keys has the keys of live connections, each with what belongs to it. It is safe for concurrent use. It keeps digests: they are
// of one size, nothing can be cancelled with them, and how long a look-up takes tells nothing of a key.
type Keys[V any] struct {
	limit int
	salt  [sha256.Size]byte
	mu    sync.RWMutex
	kept  map[[sha256.Size]byte]V
}

// NewKeys returns one for at most limit keys; those beyond are not kept.
func NewKeys[V any](limit int) *Keys[V] {
	k := &Keys[V]{limit: limit, kept: map[[sha256.Size]byte]V{}}
	_, _ = rand.Read(k.salt[:]) // it never fails
	return k
}

// Add keeps a key until release is called, which may be called more than once. It reports whether it does: not when there are
// too many, nor when the same key is kept already (a server must not take another's place). release is never nil.
func (k *Keys[V]) Add(key Key, value V) (release func(), kept bool) {
	digest := k.digest(key)
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, taken := k.kept[digest]; taken || len(k.kept) >= k.limit {
		return func() {}, false
	}
	k.kept[digest] = value
	return sync.OnceFunc(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.kept, digest)
	}), true
}

// Find returns what belongs to a key.
func (k *Keys[V]) Find(key Key) (value V, ok bool) {
	digest := k.digest(key)
	k.mu.RLock()
	defer k.mu.RUnlock()
	value, ok = k.kept[digest]
	return value, ok
}

// Len returns how many keys are kept.
func (k *Keys[V]) Len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.kept)
}

func (k *Keys[V]) digest(key Key) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, k.salt[:])
	mac.Write([]byte(key.bytes))
	mac.Sum(sum[:0])
	return sum
}
