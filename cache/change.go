package cache

import (
	"time"

	"hellogate/sni"
	"hellogate/store"
)

// changeSpread is the time over which everything from a store is asked for again when anything in it may have changed. What
// is used meanwhile is asked for at once.
const changeSpread = time.Minute

// changed takes in what a store tells of changes.
func (c *Cache) changed(change store.Change) {
	if change.All || change.Lost {
		c.distrust(change)
		return
	}
	names := &flush{names: make(map[string]bool)}
	for _, pattern := range change.Names {
		if name := pattern.String(); isName(pattern) {
			names.names[name] = true
			c.loadKey(name)
			c.loadKey(keyOf(name, true))
			continue
		}
		c.changedWhere(change.Store, pattern)
	}
	if len(names.names) == 0 {
		return
	}
	c.mu.Lock()
	defer c.unlock()
	for name := range names.names {
		for _, key := range []string{name, keyOf(name, true)} {
			c.unknown.drop(key)
			c.failed.drop(key)
			if found, _ := c.index.find(key); found != nil {
				c.announce(found)
			}
		}
	}
	c.orphan(names)
}

// isName reports whether a pattern is a single name.
func isName(pattern sni.Pattern) bool {
	text := pattern.String()
	return text != "" && text[0] != '*' && text[0] != '.'
}

// changedWhere takes in that names under a pattern may have changed. Those that another store answered for are asked for
// again too: that store may come after this one, which may know them now.
func (c *Cache) changedWhere(from string, pattern sni.Pattern) {
	c.distrustDisk(from)
	c.forget(&flush{names: make(map[string]bool), pattern: pattern})
	matching := c.entriesWhere(func(e *entry) bool { return pattern.Match(e.name()) })
	c.inBatches(matching, c.announce)
}

// batch is how many entries are dealt with before others may have the lock.
const batch = 256

// inBatches does something with entries under mu, a few at a time.
func (c *Cache) inBatches(entries []*entry, do func(*entry)) {
	for from := 0; from < len(entries); from += batch {
		c.mu.Lock()
		for _, e := range entries[from:min(from+batch, len(entries))] {
			do(e)
		}
		c.unlock()
	}
}

// announce has an entry asked for again now, after a change of it: an answer that it is gone counts at once.
func (c *Cache) announce(found *entry) {
	held := found.held.Load()
	if held != nil && isWildcard(found.key) { // which no store is asked for
		found, held = held.owner, held.owner.held.Load()
	}
	if held == nil || held.pinned() {
		return
	}
	found.flags.Or(flagAnnounced)
	if now := c.clock.now(); held.stale >= now.mono { // for the disk too: it may be evicted before it is asked for
		next := *held
		next.stale = now.mono - 1
		c.set(found, &next)
		c.persist(found)
	}
	c.plan(found, c.clock.now().mono)
}

// distrust has nothing that came from a store count as fresh. When its changes can be seen again, all of it is asked for
// again, what is used first; and what other stores answered for too, since those may be after it.
func (c *Cache) distrust(change store.Change) {
	c.distrustDisk(change.Store)
	if change.All {
		c.forget(&flush{all: true})
	}
	entries := c.entriesWhere(func(e *entry) bool {
		held := e.held.Load()
		return held != nil && !held.pinned() && (change.All || isFrom(held, change.Store))
	})
	c.inBatches(entries, func(e *entry) { c.distrustEntry(e, change.All) })
}

// forget drops remembered noes and failures, and has no answer cached that was asked for before.
func (c *Cache) forget(wanted *flush) {
	c.mu.Lock()
	defer c.unlock()
	c.unknown.taken(wanted)
	c.failed.taken(wanted)
	c.orphan(wanted)
}

func (c *Cache) distrustEntry(e *entry, ask bool) {
	held := e.held.Load()
	if held == nil {
		return
	}
	now := c.clock.now()
	if held.stale >= now.mono {
		next := *held
		next.stale = now.mono - 1
		c.set(e, &next)
	}
	if held.owner != nil || !ask || c.refreshes(e) {
		return
	}
	if at, planned := c.schedule.when(e); e.flags.Load()&flagEager != 0 && planned && at <= now.after(changeSpread) {
		return // after another such change, just before
	}
	e.flags.Or(flagEager)
	c.hot.changed(e, e.held.Load())
	c.plan(e, now.after(upTo(changeSpread)))
}

// distrustDisk has nothing that the disk has from a store count as fresh.
func (c *Cache) distrustDisk(from string) {
	c.mu.Lock()
	defer c.unlock()
	c.trusted[from] = c.clock.now().wall
}

// isFrom reports whether something came from a store; "" is the only one there is.
func isFrom(h *held, from string) bool { return from == "" || h.store.Value() == from }
