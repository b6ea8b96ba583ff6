package cache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"

	"hellogate/cache/disk"
	"hellogate/sni"
)

// Disk is where a Cache keeps what it has, for the process that comes after. It is a *disk.Tier.
type Disk interface {
	Get(key string) (disk.Record, bool)
	Put(disk.Record)
	Delete(keys ...string)
	DeleteAll()
	Sync(ctx context.Context) error
	Tagged(tag [32]byte) []string
	Keys(after string, most int) []string
}

const (
	// syncTimeout is how long a flush waits for the disk.
	syncTimeout = 5 * time.Second
	// restoreSpread is the time over which what comes from the disk at the end of its lifetime is asked for again, unless it
	// is used.
	restoreSpread = 5 * time.Minute
	// warmBatch is how many names warmUp takes from the disk before it makes a pause.
	warmBatch = 64
)

// pinnedTag is what the records of pinned names are found by.
var pinnedTag = sha256.Sum256([]byte("pinned"))

// load takes what the disk has for a client into memory: of the name itself, else of the wildcard that covers it.
func (c *Cache) load(query Query) {
	if !c.options.Wildcards {
		c.loadKeys(query)
		return
	}
	if slot, hash := c.absent.slot(c.index.seed, query); slot.Load() != hash {
		if c.loadKeys(query) {
			return
		}
		slot.Store(hash)
	}
	if wildcard, _ := c.findWildcard(query.Name, c.clock.now()); wildcard == nil {
		c.loadKey(wildcardOf(query.Name))
	}
}

// loadKeys takes what the disk has of a name into memory, and reports whether there is anything.
func (c *Cache) loadKeys(query Query) bool {
	loaded := c.loadKey(query.Name)
	if query.legacy() && c.loadKey(keyOf(query.Name, true)) {
		loaded = true
	}
	return loaded
}

// loadKey takes what the disk has under a key into memory. An alias comes with what it is an alias of.
func (c *Cache) loadKey(key string) bool {
	if c.options.Disk == nil || key == "" {
		return false
	}
	erased := c.erasures(key).Load()
	loaded, owner := c.loadRecord(key)
	if owner == "" {
		return loaded
	}
	c.loadRecord(owner)
	return c.restoreAlias(key, owner, erased)
}

// restoreAlias makes the alias that the disk has under a key, if its owner's certificate makes it still.
func (c *Cache) restoreAlias(key, owner string, erased uint64) bool {
	c.mu.Lock()
	defer c.unlock()
	if made, _ := c.index.find(key); made != nil {
		return true
	}
	found, _ := c.index.find(owner)
	if found == nil || found.held.Load().owner != nil || c.erasures(key).Load() != erased || !c.free(nil, key, c.clock.now()) {
		return false
	}
	c.addAlias(nil, found, key, found.held.Load().trusted())
	return true
}

// loadRecord takes a record into memory, or says whose alias it is of. What was erased while it was being read is not
// taken.
func (c *Cache) loadRecord(key string) (loaded bool, owner string) {
	for range 3 {
		if found, _ := c.index.find(key); found != nil {
			return true, "" // by somebody else, since the caller looked
		}
		erased := c.erasures(key).Load()
		record, there := c.options.Disk.Get(key)
		if !there {
			return false, ""
		}
		restored, err := decodeRecord(record)
		if err != nil {
			c.discard(key, err)
			return false, ""
		}
		if restored.owner != "" {
			return false, restored.owner
		}
		for i, trust := range []kind{kindTrusted, kindTrustedSecond} { // the roots may be others now
			if i < len(restored.pairs) && restored.kind&trust != 0 && c.mayAlias(restored.pairs[i].sent()) != nil {
				restored.kind &^= trust
			}
		}
		if restored.kind&(kindTrusted|kindTrustedSecond) != 0 {
			restored.barred = c.barred(key, true, restored.pairs...)
		}
		if loaded, again := c.restore(key, restored, erased); !again {
			return loaded, ""
		}
	}
	return false, ""
}

// barred returns those of the names in certificates for a key that no alias may be made of: the disk has a certificate of
// their own for them, which memory need not have. What comes from the disk itself has the aliases that the disk has, and no
// others: one that was flushed, or that the store said no to, does not come back.
func (c *Cache) barred(key string, fromDisk bool, pairs ...*pair) map[string]bool {
	if c.options.Disk == nil || isLegacy(key) {
		return nil
	}
	barred := make(map[string]bool)
	for _, p := range pairs {
		if p == nil || p.isFor(key) {
			continue
		}
		for name := range strings.SplitSeq(p.names(), " ") {
			record, there := c.options.Disk.Get(name)
			owner := ownerIn(record)
			if there && owner == "" || fromDisk && owner != key {
				barred[name] = true
			}
		}
	}
	return barred
}

// discard takes a record off the disk that can't be read, unless there is a newer one.
func (c *Cache) discard(key string, reason error) {
	c.mu.Lock()
	defer c.unlock()
	if found, _ := c.index.find(key); found != nil {
		return
	}
	c.erase([]string{key})
	if c.damageSaid.due(c.clock.now()) {
		c.say(c.options.Log.Warn().Str("name", hostOf(key)).AnErr("reason", reason),
			"cache: what the disk has can't be read, it is fetched anew; perhaps of other names too")
	}
}

// restore takes in what came from the disk. again: something was erased meanwhile.
func (c *Cache) restore(key string, from restored, erased uint64) (loaded, again bool) {
	c.mu.Lock()
	defer c.unlock()
	if c.erasures(key).Load() != erased {
		return false, true
	}
	if found, _ := c.index.find(key); found != nil || c.closed {
		return found != nil, false
	}
	now := c.clock.now()
	next := c.heldOf(from, now)
	if next == nil {
		c.erase([]string{key})
		return false, false
	}
	for i, p := range next.pairs {
		if p != nil {
			next.pairs[i] = c.pairs.take(p)
		}
	}
	c.totals.loaded++
	added := c.insert(key, next)
	c.planRestored(added, next, now)
	c.realias(nil, added, answer{trusted: next.trusted(), barred: from.barred, now: now})
	c.evict(added)
	return true, false
}

// planRestored has what came from the disk asked for again when it is time.
func (c *Cache) planRestored(added *entry, next *held, now moment) {
	switch {
	case next.pinned():
		c.tendPinned(added, now)
	case next.stale <= now.mono:
		added.flags.Or(flagEager)
		c.plan(added, now.after(upTo(restoreSpread)))
	default:
		c.plan(added, next.stale)
	}
}

// loadPinned takes the pinned names from the disk. They are few, and go before whatever a store says.
func (c *Cache) loadPinned() {
	for _, key := range c.options.Disk.Tagged(pinnedTag) {
		c.loadKey(key)
	}
}

// warmUp takes what the disk has into memory while there is room, with half of a processor at most, so that names are
// asked for again in time although no client has asked for them yet.
func (c *Cache) warmUp() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for after := ""; ; {
		select {
		case <-c.life.Done():
			return
		case <-pause.C:
		}
		began := time.Now()
		keys := c.options.Disk.Keys(after, warmBatch)
		for _, key := range keys {
			c.loadKey(key)
		}
		if len(keys) == 0 || c.crowded() {
			return
		}
		after = keys[len(keys)-1]
		pause.Reset(time.Since(began) + time.Millisecond)
	}
}

// crowded reports whether memory is so full that more of what nobody asked for should not be taken in.
func (c *Cache) crowded() bool {
	c.mu.Lock()
	defer c.unlock()
	return c.bytes+c.pairs.bytes > c.limit/4*3
}

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

// erase takes keys off the disk.
func (c *Cache) erase(keys []string) {
	if c.options.Disk != nil && len(keys) > 0 {
		c.options.Disk.Delete(keys...)
		for _, key := range keys { // after it: who read the disk before it holds what is gone
			c.erasures(key).Add(1)
		}
	}
}

// onDisk returns the keys that the disk has of what a flush takes.
func (c *Cache) onDisk(wanted *flush) []string {
	switch {
	case c.options.Disk == nil:
		return nil
	case wanted.fingerprint != nil:
		return c.options.Disk.Tagged(*wanted.fingerprint)
	case !wanted.all && wanted.pattern == (sni.Pattern{}):
		return c.onDiskOf(wanted)
	}
	var keys []string
	for after := ""; ; {
		some := c.options.Disk.Keys(after, 1024)
		if len(some) == 0 {
			return keys
		}
		after = some[len(some)-1]
		for _, key := range some {
			if wanted.takes(hostOf(key)) {
				keys = append(keys, key)
			}
		}
	}
}

// loadFlushed takes the names that a flush takes into memory, so that their aliases go with them.
func (c *Cache) loadFlushed(wanted *flush) {
	for name := range wanted.names {
		c.loadKey(name)
		if c.options.Wildcards {
			c.loadKey(wildcardOf(name))
		}
	}
}

func (c *Cache) onDiskOf(wanted *flush) (keys []string) {
	for name := range wanted.names {
		for _, key := range []string{name, keyOf(name, true)} {
			if _, there := c.options.Disk.Get(key); there {
				keys = append(keys, key)
			}
		}
	}
	return keys
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
