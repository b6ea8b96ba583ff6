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
}

func (f *flush) takes(name string) bool {
	return f.all || f.names[name] || f.pattern.Match(name)
}

// flushed reports whether a name was flushed since the store was asked.
func (f *flight) flushed(name string) bool {
	return slices.ContainsFunc(f.flushes, func(since *flush) bool { return since.takes(name) })
}

// Flush removes what is known of names: their certificates and those of their aliases, a remembered no, a remembered
// failure. It returns the names that something was removed of, sorted. What the store is being asked for them is not
// cached. Names that fetched one of the certificates for themselves are asked for again in the background.
func (c *Cache) Flush(names ...string) []string {
	wanted := &flush{names: make(map[string]bool, len(names))}
	for _, name := range names {
		wanted.names[name] = true
	}
	c.mu.Lock()
	defer c.unlock()
	return c.flush(wanted, c.entriesOf(names))
}

// FlushPattern is Flush for all names that match a pattern.
func (c *Cache) FlushPattern(pattern sni.Pattern) []string {
	c.mu.Lock()
	defer c.unlock()
	wanted := &flush{names: make(map[string]bool), pattern: pattern}
	return c.flush(wanted, c.entriesWhere(func(e *entry) bool { return pattern.Match(e.name) }))
}

// FlushFingerprint removes a certificate, by the SHA-256 of it, under all its names.
func (c *Cache) FlushFingerprint(fingerprint [32]byte) []string {
	c.mu.Lock()
	defer c.unlock()
	wanted := &flush{names: make(map[string]bool)}
	removed := c.flush(wanted, c.entriesWhere(func(e *entry) bool { return e.held.Load().has(fingerprint) }))
	// Whatever the store is being asked for may turn out to be that certificate.
	c.orphan(&flush{all: true})
	return removed
}

// FlushAll removes everything.
func (c *Cache) FlushAll() []string {
	c.mu.Lock()
	defer c.unlock()
	wanted := &flush{names: make(map[string]bool), all: true}
	return c.flush(wanted, c.entriesWhere(func(*entry) bool { return true }))
}

// flush removes entries, which are those of what is wanted, and what else is remembered of that.
func (c *Cache) flush(wanted *flush, entries []*entry) []string {
	certificates := make(map[[32]byte]bool)
	removed := make(map[string]bool)
	for _, e := range entries {
		for p := range e.held.Load().each() {
			certificates[p.fingerprint] = true
		}
		for _, name := range c.remove(e) {
			removed[name], wanted.names[name] = true, true
		}
	}
	for _, remembered := range []*denials{&c.unknown, &c.failed} {
		for _, name := range remembered.taken(wanted) {
			removed[name] = true
		}
	}
	c.orphan(wanted)
	c.askSharers(certificates)
	return slices.Sorted(maps.Keys(removed))
}

func (c *Cache) entriesOf(names []string) []*entry {
	var entries []*entry
	for _, name := range names {
		if found, _ := c.index.find(name); found != nil {
			entries = append(entries, found)
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
				c.plan(e, now.mono)
				again.names[e.name] = true
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
	take := func(name string) {
		if wanted.takes(name) && d.drop(name) {
			names = append(names, name)
		}
	}
	if !wanted.all && wanted.pattern == (sni.Pattern{}) {
		for name := range wanted.names {
			take(name)
		}
		return names
	}
	for name := range d.byName {
		take(name)
	}
	return names
}
