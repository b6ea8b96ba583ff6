package cache

import (
	"errors"

	"hellogate/store"
)

// keep caches an answer. What it returns is being served from then on.
func (c *Cache) keep(f *flight, found *entry, got answer) outcome {
	name := f.request.Name
	c.unknown.drop(name)
	c.failed.drop(name)

	next := got.held()
	for i, p := range next.pairs {
		if p != nil {
			next.pairs[i] = c.pairs.take(p)
		}
	}
	fetched := found != nil && found.held.Load().owner == nil
	renewed := fetched && found.held.Load().same(next)
	next.stale = got.now.after(c.lifetime(got, next, renewed))
	if fetched {
		c.watch(got.now, found.name, false)
	}
	if found == nil {
		found = c.insert(name, next)
	} else {
		c.replace(found, next)
	}
	c.plan(found, next.stale)
	if renewed {
		c.follow(found)
	} else {
		c.realias(f, found, got)
	}
	c.sayFetched(f, next, got, renewed)
	c.evict(found)
	kept := outcomeOf(found)
	if f.handshake {
		kept.ready = c.hot.admit(found, next, got.certificates(next.pairs))
	}
	return kept
}

// keepNot gives an answer to those who wait for it. What was held of the name went when its lifetime did.
func (c *Cache) keepNot(f *flight, found *entry, got answer) outcome {
	c.unknown.drop(f.request.Name)
	c.failed.drop(f.request.Name)
	if found != nil {
		c.remove(found)
	}
	c.sayFetched(f, got.held(), got, false)
	return got.unkept()
}

// renew begins a new lifetime of what is held, which the store still has.
func (c *Cache) renew(found *entry, got answer) outcome {
	next := *found.held.Load()
	next.trouble = nil
	next.fetched = got.now.mono
	if fresh := (answer{bundle: got.bundle, pairs: next.pairs, now: got.now}).held(); fresh.validator != nil {
		next.validator = fresh.validator
	}
	next.stale = got.now.after(c.lifetime(got, &next, true))
	c.set(found, &next)
	c.plan(found, next.stale)
	c.follow(found)
	c.watch(got.now, found.name, false)
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
		c.failed.failure(f.request.Name, got.err, got.now)
		c.sweepLater()
	}
	return outcome{err: got.err}
}

// insert gives a name without an entry one.
func (c *Cache) insert(name string, next *held) *entry {
	added := &entry{name: name, place: -1}
	added.held.Store(next)
	c.bytes += added.cost(next)
	c.index.insert(name, added)
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
	c.countWithdrawn(before, next)
	changed.held.Store(next)
	c.hot.changed(changed, next)
}

// remove takes an entry and its aliases out, and returns their names: none if it was removed before.
func (c *Cache) remove(removed *entry) []string {
	before := removed.held.Load()
	if before == nil {
		return nil
	}
	c.index.remove(removed.name)
	c.schedule.remove(removed)
	c.bytes -= removed.cost(before)
	c.countWithdrawn(before, nil)
	removed.held.Store(nil)
	c.hot.changed(removed, nil)
	c.release(before)
	if before.owner != nil {
		c.disown(before.owner, removed)
		return []string{removed.name}
	}
	names := []string{removed.name}
	owned := c.aliases[removed]
	delete(c.aliases, removed)
	for _, alias := range owned {
		names = append(names, c.remove(alias)...)
	}
	return names
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
		c.remove(trimmed)
		return nil
	}
	next.notAfter = firstToExpire(next.pairs).notAfter
	c.replace(trimmed, &next)
	return &next
}

// evict removes what was not used for longest until what is held is within its bound again.
func (c *Cache) evict(spare *entry) {
	for c.bytes+c.pairs.bytes > c.limit {
		victim := c.index.next(spare, (*entry).spared)
		if victim == nil {
			return
		}
		if !c.aliasesSpared(victim) {
			c.totals.evictions += uint64(len(c.remove(victim)))
		}
	}
}
