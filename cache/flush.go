package cache

import (
	"maps"
	"slices"

	"hellogate/sni"
)

// flush is what a flush takes, for the answers that are under way meanwhile.
type flush struct {
	names   map[string]bool
	pattern sni.Pattern // the zero Pattern: none
	all     bool
	// fingerprint, when it is set, is what names does not tell before they are found.
	fingerprint *[32]byte
}

func (f *flush) takes(name string) bool {
	return f.all || f.names[name] || f.pattern.Match(name)
}

// flushed reports whether a name was flushed since the store was asked.
func (f *flight) flushed(name string) bool {
	return slices.ContainsFunc(f.flushes, func(since *flush) bool { return since.takes(name) })
}

// Flush removes what is known of names, in memory and on disk: their certificates and those of their aliases, a remembered
// no, failure or permission. It returns the names that something was removed of, sorted, and those that stay because they
// were pinned. What the store is being asked for them is not cached. Names that fetched one of the certificates for
// themselves are asked for again in the background.
func (c *Cache) Flush(names ...string) (flushed, pinned []string) {
	wanted := &flush{names: make(map[string]bool, len(names))}
	for _, name := range names {
		wanted.names[name] = true
	}
	return c.flushNow(wanted, func() []*entry { return c.entriesOf(names) })
}

// FlushPattern is Flush for all names that match a pattern.
func (c *Cache) FlushPattern(pattern sni.Pattern) (flushed, pinned []string) {
	wanted := &flush{names: make(map[string]bool), pattern: pattern}
	return c.flushNow(wanted, func() []*entry {
		return c.entriesWhere(func(e *entry) bool { return pattern.Match(e.name()) })
	})
}

// FlushFingerprint removes a certificate, by the SHA-256 of it, under all its names.
func (c *Cache) FlushFingerprint(fingerprint [32]byte) (flushed, pinned []string) {
	wanted := &flush{names: make(map[string]bool), fingerprint: &fingerprint}
	return c.flushNow(wanted, func() []*entry {
		// Whatever the store is being asked for may turn out to be that certificate.
		c.orphan(&flush{all: true})
		return c.entriesWhere(func(e *entry) bool { return e.held.Load().has(fingerprint) })
	})
}

// FlushAll removes everything.
func (c *Cache) FlushAll() (flushed, pinned []string) {
	wanted := &flush{names: make(map[string]bool), all: true}
	return c.flushNow(wanted, func() []*entry { return c.entriesWhere(func(*entry) bool { return true }) })
}

// flushNow removes what is wanted, and returns when that is so on the disk too: a leaked key must not come back.
func (c *Cache) flushNow(wanted *flush, entries func() []*entry) (flushed, pinned []string) {
	onDisk := c.onDisk(wanted)
	forgotten := c.forgetPermission(wanted)
	c.mu.Lock()
	found := entries()
	for _, e := range found {
		if e.held.Load().pinned() {
			pinned = append(pinned, e.name())
		}
	}
	flushed = c.flush(wanted, slices.DeleteFunc(found, func(e *entry) bool { return e.held.Load().pinned() }), onDisk)
	flushed = slices.Compact(slices.Sorted(slices.Values(append(flushed, forgotten...))))
	if len(flushed) > 0 {
		c.tell(Event{Event: EventFlushed, Names: flushed})
	}
	c.unlock()
	c.syncDisk()
	slices.Sort(pinned)
	return flushed, slices.Compact(pinned)
}

// flush removes entries, which are those of what is wanted, what the disk has besides, and what else is remembered.
func (c *Cache) flush(wanted *flush, entries []*entry, onDisk []string) []string {
	certificates := make(map[[32]byte]bool)
	removed := make(map[string]bool)
	take := func(keys []string) {
		for _, key := range keys {
			removed[hostOf(key)], wanted.names[hostOf(key)] = true, true
		}
	}
	for _, e := range entries {
		for p := range e.held.Load().each() {
			certificates[p.fingerprint] = true
		}
		take(c.drop(e))
	}
	onDisk = slices.DeleteFunc(onDisk, c.isPinned)
	take(onDisk)
	c.erase(onDisk)
	for _, remembered := range []*denials{&c.unknown, &c.failed} {
		for _, name := range remembered.taken(wanted) {
			removed[name] = true
		}
	}
	c.orphan(wanted)
	c.askSharers(certificates)
	return slices.Sorted(maps.Keys(removed))
}

// isPinned reports whether what is under a key was put there by hand.
func (c *Cache) isPinned(key string) bool {
	found, _ := c.index.find(key)
	return found != nil && found.held.Load().pinned()
}

// entriesOf returns the entries of names, with the wildcards that answer for those that have none.
func (c *Cache) entriesOf(names []string) []*entry {
	var entries []*entry
	for _, name := range names {
		before := len(entries)
		for _, key := range []string{name, keyOf(name, true)} {
			if found, _ := c.index.find(key); found != nil {
				entries = append(entries, found)
			}
		}
		if wildcard, _ := c.index.find(wildcardOf(name)); wildcard != nil && len(entries) == before {
			entries = append(entries, wildcard)
		}
	}
	return entries
}

func (c *Cache) entriesWhere(wanted func(*entry) bool) []*entry {
	var entries []*entry
	for e := range c.index.all(0) {
		if wanted(e) {
			entries = append(entries, e)
		}
	}
	return entries
}

func (h *held) has(fingerprint [32]byte) bool {
	for p := range h.each() {
		if p.fingerprint == fingerprint {
			return true
		}
	}
	return false
}

// orphan keeps what the store is being asked for from being cached, and those who come now from joining it. What it has
// not been asked for yet goes on.
func (c *Cache) orphan(wanted *flush) {
	for f := range c.asking {
		f.flushes = append(f.flushes, wanted)
		if wanted.takes(f.request.Name) {
			c.unjoin(f)
		}
	}
}

// askSharers has the names that fetched one of these certificates for themselves asked for again.
func (c *Cache) askSharers(certificates map[[32]byte]bool) {
	maps.DeleteFunc(certificates, func(fingerprint [32]byte, _ bool) bool { return !c.pairs.has(fingerprint) })
	if len(certificates) == 0 {
		return
	}
	again := &flush{names: make(map[string]bool)}
	now := c.clock.now()
	for e := range c.index.all(0) {
		for p := range e.held.Load().each() {
			if certificates[p.fingerprint] && e.held.Load().owner == nil {
				if !e.held.Load().pinned() {
					c.plan(e, now.mono)
				}
				again.names[e.name()] = true
			}
		}
	}
	for f := range c.asking {
		if again.names[f.request.Name] {
			f.flushes = append(f.flushes, again)
		}
	}
}

// taken drops what is remembered of the names that a flush takes, and returns them.
func (d *denials) taken(wanted *flush) []string {
	var names []string
	take := func(key string) {
		if wanted.takes(hostOf(key)) && d.drop(key) {
			names = append(names, hostOf(key))
		}
	}
	if !wanted.all && wanted.pattern == (sni.Pattern{}) {
		for name := range wanted.names {
			take(name)
			take(keyOf(name, true))
		}
		return names
	}
	for key := range d.byName {
		take(key)
	}
	return names
}
