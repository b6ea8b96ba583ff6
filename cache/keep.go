package cache

import (
	"errors"

	"hellogate/store"
)

// keep caches an answer. What it returns is being served from then on.
func (c *Cache) keep(f *flight, found *entry, got answer) outcome {
	c.unknown.drop(f.key)
	c.failed.drop(f.key)

	next := got.held()
	for i, p := range next.pairs {
		if p != nil {
			next.pairs[i] = c.pairs.take(p)
		}
	}
	fetched := found != nil && found.held.Load().owner == nil
	renewed := fetched && found.held.Load().same(next)
	next.stale = got.now.after(c.lifetime(got, next, renewed))
	next.routing = c.routed(got, nil)
	next.trouble = c.expiring(f.key, next, got.now, trouble{warned: found.warned()})
	if fetched {
		c.watch(got.now, found.key, false)
	}
	if found == nil {
		found = c.insert(f.key, next)
	} else {
		c.replace(found, next)
		found.flags.And(^uint32(flagEager | flagRoutingAsked | flagAnnounced))
	}
	c.plan(found, next.stale)
	if renewed {
		c.follow(found)
	} else {
		c.realias(f, found, got)
	}
	c.persist(found)
	c.sayFetched(f, next, got, renewed, fetched)
	c.evict(found)
	kept := outcomeOf(found)
	if f.handshake {
		kept.ready = c.hot.admit(found, next, got.certificates(next.pairs))
	}
	return kept
}

// keepNot gives an answer to those who wait for it. What was held of the name went when its lifetime did.
func (c *Cache) keepNot(f *flight, found *entry, got answer) outcome {
	c.unknown.drop(f.key)
	c.failed.drop(f.key)
	if found != nil {
		c.drop(found)
	}
	c.sayFetched(f, got.held(), got, false, false)
	return got.unkept()
}

// renew begins a new lifetime of what is held, which the store still has.
func (c *Cache) renew(found *entry, got answer) outcome {
	next := *found.held.Load()
	next.trouble = c.expiring(found.key, &next, got.now, trouble{warned: found.warned()})
	next.fetched, next.took = got.now.mono, microseconds(got.took)
	next.kind &^= kindDisk
	next.routing = c.routed(got, next.routing)
	if fresh := (answer{bundle: got.bundle, pairs: next.pairs, now: got.now}).held(); fresh.validator != nil {
		next.validator = fresh.validator
	}
	next.stale = got.now.after(c.lifetime(got, &next, true))
	c.set(found, &next)
	found.flags.And(^uint32(flagEager | flagRoutingAsked | flagAnnounced))
	c.plan(found, next.stale)
	c.follow(found)
	c.persist(found)
	c.watch(got.now, found.key, false)
	return outcomeOf(found)
}

// fetchFailed remembers a failure: of what is held until it is fetched, of a name without a certificate for some time.
func (c *Cache) fetchFailed(f *flight, found *entry, got answer) outcome {
	c.totals.failures++
	c.sayFailed(f, found, got)
	if found != nil {
		c.retry(found, got)
		return outcomeOf(found)
	}
	var failure *store.Failure
	if !errors.As(got.err, &failure) || !failure.CutOff {
		c.failed.failure(f.key, got.err, got.now)
		c.sweepLater()
	}
	return outcome{err: got.err}
}

// insert gives a key without an entry one.
func (c *Cache) insert(key string, next *held) *entry {
	added := newEntry(key)
	added.held.Store(next)
	c.count(nil, next)
	if isLegacy(key) {
		c.legacy.Add(1)
	}
	c.bytes += added.cost(next)
	c.index.insert(added)
	return added
}

// replace changes what an entry holds and gives back what it held.
func (c *Cache) replace(changed *entry, next *held) {
	before := changed.held.Load()
	c.set(changed, next)
	if before.owner != nil && next.owner == nil {
		c.disown(before.owner, changed)
	}
	c.release(before)
}

// set changes what is known of an entry.
func (c *Cache) set(changed *entry, next *held) {
	before := changed.held.Load()
	c.bytes += changed.cost(next) - changed.cost(before)
	c.count(before, next)
	changed.held.Store(next)
	c.hot.changed(changed, next)
}

// drop takes an entry and its aliases out of memory and off the disk.
func (c *Cache) drop(dropped *entry) []string {
	keys := c.remove(dropped)
	c.erase(keys)
	return keys
}

// remove takes an entry and its aliases out of memory, and returns their keys: none if it was removed before.
func (c *Cache) remove(removed *entry) []string {
	before := removed.held.Load()
	if before == nil {
		return nil
	}
	c.index.remove(removed)
	if isLegacy(removed.key) {
		c.legacy.Add(-1)
	}
	c.schedule.remove(removed)
	c.bytes -= removed.cost(before)
	c.count(before, nil)
	removed.held.Store(nil)
	c.hot.changed(removed, nil)
	c.release(before)
	if before.owner != nil {
		c.disown(before.owner, removed)
		return []string{removed.key}
	}
	keys := []string{removed.key}
	owned := c.aliases[removed]
	delete(c.aliases, removed)
	for _, alias := range owned {
		keys = append(keys, c.remove(alias)...)
	}
	return keys
}

// release gives the pairs of what is no longer held back.
func (c *Cache) release(before *held) {
	for p := range before.each() {
		c.pairs.drop(p)
	}
}

// trim removes the pairs of an entry that have expired, and the entry when none is left. It returns what is held then.
func (c *Cache) trim(trimmed *entry, now moment) *held {
	before := trimmed.held.Load()
	next := *before
	next.pairs, next.validator = [2]*pair{}, nil
	kept := 0
	for p := range before.each() {
		if now.until(p.notAfter) > 0 {
			next.pairs[kept] = p
			p.references++
			kept++
		}
	}
	if kept == 0 {
		c.sayExpired(trimmed)
		c.drop(trimmed)
		return nil
	}
	if kept == 1 && before.pairs[1] != nil {
		next.kind &^= kindTrusted | kindTrustedSecond // it is not known any more which of the two is meant
	}
	next.notAfter = firstToExpire(next.pairs).notAfter
	c.replace(trimmed, &next)
	return &next
}

// evict removes what was not used for longest until what is held is within its bound again.
func (c *Cache) evict(spare *entry) {
	for c.bytes+c.pairs.bytes > c.limit {
		victim := c.index.next(func(e *entry, patient bool) bool {
			return e == spare || e.held.Load().pinned() || patient && e.spared()
		})
		if victim == nil {
			return
		}
		if !c.aliasesSpared(victim) {
			c.totals.evictions += uint64(len(c.remove(victim)))
		}
	}
}
