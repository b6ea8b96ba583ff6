package cache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"hellogate/cache/disk"
	"hellogate/sni"
)

// Disk is where a Cache keeps what it has, for the process that comes after. It is a *disk.Tier, whose methods say what is
// asked of it. What it reads it must give up waiting for some time, and when ctx is done.
type Disk interface {
	Get(ctx context.Context, key string) (record disk.Record, there bool, err error)
	Put(disk.Record)
	Delete(keys ...string) (all bool)
	DeleteAll()
	Sync(ctx context.Context) error
	Tagged(ctx context.Context, tag [32]byte) ([]string, error)
	Keys(ctx context.Context, after string, most int) ([]string, error)
}

const (
	// syncTimeout is how long a flush waits for the disk.
	syncTimeout = 5 * time.Second
	// restoreSpread is the time over which what comes from the disk at the end of its lifetime is asked for again, unless it
	// is used.
	restoreSpread = 5 * time.Minute
	// warmBatch is how many names warmUp takes from the disk before it makes a pause.
	warmBatch = 64
	// warmRetry is when warmUp goes on after the disk could not be read.
	warmRetry = time.Minute
	// diskShare is which part of LookupTimeout a client waits for the disk, before the store is asked.
	diskShare = 10
)

// pinnedTag is what the records of pinned names are found by.
var pinnedTag = sha256.Sum256([]byte("pinned"))

// persist has the disk keep what an entry holds.
func (c *Cache) persist(kept *entry) {
	if c.options.Disk != nil {
		c.options.Disk.Put(c.record(kept))
		c.absent.forget(c.index.seed, kept.key)
	}
}

// persistAlias has the disk keep what an alias is an alias of.
func (c *Cache) persistAlias(alias *entry) {
	if c.options.Disk == nil {
		return
	}
	held := alias.held.Load()
	c.options.Disk.Put(disk.Record{Key: alias.key, Value: encodeAlias(held.owner.key), Expires: time.Unix(held.notAfter, 0)})
}

// erasures counts how often something was taken off the disk, this key among others.
func (c *Cache) erasures(key string) *atomic.Uint64 {
	return &c.erased[maphash.String(c.index.seed, key)%uint64(len(c.erased))]
}

// erase takes keys off the disk. When those are so many that all goes, what is pinned is kept: it is in memory, always.
func (c *Cache) erase(keys []string) {
	if c.options.Disk == nil || len(keys) == 0 {
		return
	}
	all := c.options.Disk.Delete(keys...)
	for _, key := range keys { // after it: who read the disk before it holds what is gone
		c.erasures(key).Add(1)
	}
	if all {
		c.persistWhere((*held).pinned)
	}
}

// eraseAll takes all off the disk but what is pinned, and what was fetched since the flush of all began that this is for.
// What was taken from the disk since goes out of memory: its keys are returned.
func (c *Cache) eraseAll() (keys []string) {
	c.options.Disk.DeleteAll()
	for i := range c.erased {
		c.erased[i].Add(1)
	}
	for _, e := range c.entriesWhere(func(e *entry) bool { return e.held.Load().loaded() }) {
		keys = append(keys, c.remove(e)...)
	}
	c.persistWhere((*held).pinned)
	c.persistWhere(func(h *held) bool { return !h.pinned() })
	return keys
}

// loaded reports whether something is held as the disk had it, and may be flushed.
func (h *held) loaded() bool { return h.kind&kindDisk != 0 && !h.pinned() }

// persistWhere has the disk keep again what is held and is wanted.
func (c *Cache) persistWhere(wanted func(*held) bool) {
	for e := range c.index.all(0) {
		switch held := e.held.Load(); {
		case !wanted(held):
		case held.owner != nil:
			c.persistAlias(e)
		default:
			c.persist(e)
		}
	}
}

// onDisk returns the keys that the disk has of what a flush takes. The error says that there may be others.
func (c *Cache) onDisk(wanted *flush) ([]string, error) {
	switch {
	case c.options.Disk == nil:
		return nil, nil
	case wanted.fingerprint != nil:
		return c.options.Disk.Tagged(c.life, *wanted.fingerprint)
	case !wanted.all && wanted.pattern == (sni.Pattern{}):
		return c.onDiskOf(wanted)
	}
	var keys []string
	for after := ""; ; {
		some, err := c.options.Disk.Keys(c.life, after, 1024)
		for _, key := range some {
			if wanted.takes(hostOf(key)) {
				keys = append(keys, key)
			}
		}
		if len(some) == 0 || err != nil {
			return keys, err
		}
		after = some[len(some)-1]
	}
}

func (c *Cache) onDiskOf(wanted *flush) (keys []string, err error) {
	for name := range wanted.names {
		for _, key := range []string{name, keyOf(name, true)} {
			_, there, err := c.options.Disk.Get(c.life, key)
			if err != nil {
				return keys, err
			}
			if there {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

// loadFlushed takes the names that a flush takes into memory, so that their aliases go with them, and the wildcards that
// answer for them.
func (c *Cache) loadFlushed(wanted *flush) error {
	for name := range wanted.names {
		keys := []string{name}
		if c.options.Wildcards {
			keys = append(keys, wildcardOf(name))
		}
		for _, key := range keys {
			if _, err := c.loadKeyWithin(c.life, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncDisk waits until what was written or erased before is so on the disk.
func (c *Cache) syncDisk() error {
	if c.options.Disk == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.life, syncTimeout)
	defer cancel()
	if err := c.options.Disk.Sync(ctx); err != nil {
		return fmt.Errorf("not on the disk yet: %w", err)
	}
	return nil
}
