package cache

import (
	"context"
	"strings"
	"time"
)

// load takes what the disk has for a client into memory: of the name itself, else of the wildcard that covers it. It does
// not wait for a disk that hangs.
func (c *Cache) load(query Query) {
	ctx, cancel := context.WithTimeout(c.life, c.options.LookupTimeout/diskShare)
	defer cancel()
	if !c.options.Wildcards {
		_, _ = c.loadKeys(ctx, query)
		return
	}
	if slot, hash := c.absent.slot(c.index.seed, query); slot.Load() != hash {
		loaded, err := c.loadKeys(ctx, query)
		if loaded {
			return
		}
		if err == nil {
			slot.Store(hash)
		}
	}
	if wildcard, _ := c.findWildcard(query.Name, c.clock.now()); wildcard == nil {
		_, _ = c.loadKeyWithin(ctx, wildcardOf(query.Name))
	}
}

// loadKeys takes what the disk has of a name into memory, and reports whether there is anything.
func (c *Cache) loadKeys(ctx context.Context, query Query) (bool, error) {
	loaded, err := c.loadKeyWithin(ctx, query.Name)
	if !query.legacy() || err != nil {
		return loaded, err
	}
	second, err := c.loadKeyWithin(ctx, keyOf(query.Name, true))
	return loaded || second, err
}

// loadKey is loadKeyWithin for those who have time, and no use for the reason why there is nothing.
func (c *Cache) loadKey(key string) bool {
	loaded, _ := c.loadKeyWithin(c.life, key)
	return loaded
}

// loadKeyWithin takes what the disk has under a key into memory. An alias comes with what it is an alias of. The error is
// the disk's, which has logged it, and says that there may be something.
func (c *Cache) loadKeyWithin(ctx context.Context, key string) (bool, error) {
	if c.options.Disk == nil || key == "" {
		return false, nil
	}
	erased := c.erasures(key).Load()
	loaded, owner, err := c.loadRecord(ctx, key)
	if owner == "" || err != nil {
		return loaded, err
	}
	if _, _, err := c.loadRecord(ctx, owner); err != nil {
		return false, err
	}
	return c.restoreAlias(key, owner, erased), nil
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
func (c *Cache) loadRecord(ctx context.Context, key string) (loaded bool, owner string, err error) {
	for range 3 {
		if found, _ := c.index.find(key); found != nil {
			return true, "", nil // by somebody else, since the caller looked
		}
		erased := c.erasures(key).Load()
		record, there, err := c.options.Disk.Get(ctx, key)
		if !there || err != nil {
			return false, "", err
		}
		restored, err := decodeRecord(record)
		if err != nil {
			c.discard(key, err)
			return false, "", nil
		}
		if restored.owner != "" {
			return false, restored.owner, nil
		}
		for i, trust := range []kind{kindTrusted, kindTrustedSecond} { // the roots may be others now
			if i < len(restored.pairs) && restored.kind&trust != 0 && c.mayAlias(restored.pairs[i].sent()) != nil {
				restored.kind &^= trust
			}
		}
		if restored.kind&(kindTrusted|kindTrustedSecond) != 0 {
			restored.barred = c.barredWithin(ctx, key, true, restored.pairs)
		}
		if loaded, again := c.restore(key, restored, erased); !again {
			return loaded, "", nil
		}
	}
	return false, "", nil
}

// barred is barredWithin for what a store answered: who waits for that does not wait long for the disk.
func (c *Cache) barred(key string, fromDisk bool, pairs ...*pair) map[string]bool {
	ctx, cancel := context.WithTimeout(c.life, c.options.LookupTimeout/diskShare)
	defer cancel()
	return c.barredWithin(ctx, key, fromDisk, pairs)
}

// barredWithin returns those of the names in certificates for a key that no alias may be made of: the disk has a certificate
// of their own for them, which memory need not have. What comes from the disk itself has the aliases that the disk has, and
// no others: one that was flushed, or that the store said no to, does not come back. Of a name that can't be looked for it
// is taken to have one, unless that is a wildcard: all the names that it covers would have to be fetched.
func (c *Cache) barredWithin(ctx context.Context, key string, fromDisk bool, pairs []*pair) map[string]bool {
	if c.options.Disk == nil || isLegacy(key) {
		return nil
	}
	barred := make(map[string]bool)
	for _, p := range pairs {
		if p == nil || p.isFor(key) {
			continue
		}
		for name := range strings.SplitSeq(p.names(), " ") {
			record, there, err := c.options.Disk.Get(ctx, name)
			owner := ownerIn(record)
			if there && owner == "" || fromDisk && owner != key || err != nil && !isWildcard(name) {
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
	keys, err := c.options.Disk.Tagged(c.life, pinnedTag)
	for _, key := range keys {
		if _, failed := c.loadKeyWithin(c.life, key); failed != nil && err == nil {
			err = failed
		}
	}
	if err != nil {
		c.options.Log.Error().AnErr("reason", err).Msg("cache: not all that was pinned by hand can be read, the stores' certificates are served in place of it")
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
		keys, err := c.options.Disk.Keys(c.life, after, warmBatch)
		if err != nil {
			pause.Reset(warmRetry)
			continue
		}
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
