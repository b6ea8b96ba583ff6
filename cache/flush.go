package cache

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hellogate/sni"
)

// flush is what a flush takes, for the answers that are under way meanwhile.
type flush struct {
	names   map[string]bool
	pattern sni.Pattern // the zero Pattern: none
	all     bool
	where   func(name string) bool // nil: none
	// fingerprint, when it is set, is what names does not tell before they are found.
	fingerprint *[32]byte
}

func (f *flush) takes(name string) bool {
	return f.all || f.names[name] || f.pattern.Match(name) || f.where != nil && f.where(name)
}

// flushed reports whether a name was flushed since the store was asked.
func (f *flight) flushed(name string) bool {
	return slices.ContainsFunc(f.flushes, func(since *flush) bool { return since.takes(name) })
}

// Flush removes what is known of names, in memory and on disk: their certificates and those of their aliases, a remembered
// no, failure or permission. It returns the names that something was removed of, sorted, and those that stay because they
// were pinned. What the store is being asked for them is not cached. Names that fetched one of the certificates for
// themselves are asked for again in the background. The error says what may be on the disk still, because that could not be
// looked at or be written: what was found is flushed all the same.
func (c *Cache) Flush(names ...string) (flushed, pinned []string, err error) {
	wanted := &flush{names: make(map[string]bool, len(names))}
	for _, name := range names {
		wanted.names[name] = true
	}
	return c.flushNow(wanted, func() []*entry { return c.entriesOf(names) })
}

// FlushPattern is Flush for all names that match a pattern.
func (c *Cache) FlushPattern(pattern sni.Pattern) (flushed, pinned []string, err error) {
	wanted := &flush{names: make(map[string]bool), pattern: pattern}
	return c.flushNow(wanted, func() []*entry {
		return c.entriesWhere(func(e *entry) bool { return pattern.Match(e.name()) })
	})
}

// FlushFingerprint removes a certificate, by the SHA-256 of it, under all its names.
func (c *Cache) FlushFingerprint(fingerprint [32]byte) (flushed, pinned []string, err error) {
	wanted := &flush{names: make(map[string]bool), fingerprint: &fingerprint}
	return c.flushNow(wanted, func() []*entry {
		return c.entriesWhere(func(e *entry) bool { return e.held.Load().has(fingerprint) })
	})
}

// FlushAll removes everything.
func (c *Cache) FlushAll() (flushed, pinned []string, err error) {
	wanted := &flush{names: make(map[string]bool), all: true}
	return c.flushNow(wanted, func() []*entry { return c.entriesWhere(func(*entry) bool { return true }) })
}

// flushNow removes what is wanted, and returns when that is so on the disk too: a leaked key must not come back.
func (c *Cache) flushNow(wanted *flush, entries func() []*entry) (flushed, pinned []string, err error) {
	what := wanted.String()
	unread := c.loadFlushed(wanted)
	forgotten := c.forgetPermission(wanted)
	removed, certificates := make(map[string]bool), make(map[[32]byte]bool)
	c.beginFlush(wanted, removed)
	c.inBatches(entries(), func(e *entry) {
		held := e.held.Load()
		if held == nil {
			return
		}
		if held.pinned() {
			pinned = append(pinned, e.name())
			return
		}
		for p := range held.each() {
			certificates[p.fingerprint] = true
		}
		c.note(wanted, removed, c.drop(e))
	})
	if err := c.flushDisk(wanted, removed); unread == nil {
		unread = err
	}
	c.finishFlush(wanted, removed)
	c.askSharers(certificates)
	flushed = slices.Compact(slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(removed)), forgotten...))))
	c.tellFlushed(flushed)
	slices.Sort(pinned)
	return flushed, slices.Compact(pinned), c.flushError(wanted, what, unread)
}

// flushError waits until what was flushed is off the disk, and says what a flush could not do.
func (c *Cache) flushError(wanted *flush, what string, unread error) error {
	unwritten := c.syncDisk()
	switch {
	case unread != nil && !wanted.all: // of which nothing is left, read or not
		return fmt.Errorf("flush %s: what was found is gone, but the disk tier could not be looked through, flush again: %w", what, unread)
	case unwritten != nil:
		return fmt.Errorf("flush %s: done, but a restart may bring it back, flush again before one: %w", what, unwritten)
	}
	return nil
}

// String is what a flush takes, for people.
func (f *flush) String() string {
	switch {
	case f.all:
		return "all names"
	case f.fingerprint != nil:
		return fmt.Sprintf("the certificate %x", *f.fingerprint)
	case f.pattern != (sni.Pattern{}):
		return "all names that match " + f.pattern.String()
	case len(f.names) == 1:
		return strings.Join(slices.Collect(maps.Keys(f.names)), "")
	}
	return fmt.Sprintf("%d names", len(f.names))
}

// beginFlush has nothing cached that was asked for before, and drops what is remembered besides certificates.
func (c *Cache) beginFlush(wanted *flush, removed map[string]bool) {
	c.mu.Lock()
	defer c.unlock()
	for _, remembered := range []*denials{&c.unknown, &c.failed} {
		for _, name := range remembered.taken(wanted) {
			removed[name] = true
		}
	}
	c.orphan(wanted)
	if wanted.fingerprint != nil { // whatever the store is being asked for may turn out to be that certificate
		c.orphan(&flush{all: true})
	}
}

// note takes down what was removed.
func (c *Cache) note(wanted *flush, removed map[string]bool, keys []string) {
	for _, key := range keys {
		removed[hostOf(key)], wanted.names[hostOf(key)] = true, true
	}
}

// flushDisk takes what the disk has. It is looked at after memory was gone through: what made room since the flush began is
// there alone, and what was taken from there meanwhile goes again. The error says that there may be more.
func (c *Cache) flushDisk(wanted *flush, removed map[string]bool) error {
	found, err := c.onDisk(wanted)
	for keys := range slices.Chunk(found, batch) {
		c.mu.Lock()
		for _, key := range keys {
			found, _ := c.index.find(key)
			if found == nil {
				c.note(wanted, removed, []string{key})
				c.erase([]string{key})
			} else if held := found.held.Load(); !held.pinned() && (held.kind&kindDisk != 0 || held.owner != nil) {
				c.note(wanted, removed, c.drop(found))
			}
		}
		c.unlock()
	}
	return err
}

// finishFlush has no alias or sharer of what went cached that was asked for before.
func (c *Cache) finishFlush(wanted *flush, removed map[string]bool) {
	c.mu.Lock()
	defer c.unlock()
	c.eraseFlushed(wanted, removed)
	c.orphan(wanted)
}

func (c *Cache) tellFlushed(names []string) {
	if len(names) == 0 {
		return
	}
	c.mu.Lock()
	defer c.unlock()
	c.tell(Event{Event: EventFlushed, Names: names})
}

// eraseFlushed takes off the disk what was put there since it was looked at, or could not be seen.
func (c *Cache) eraseFlushed(wanted *flush, removed map[string]bool) {
	switch {
	case c.options.Disk == nil:
	case wanted.all:
		c.note(wanted, removed, c.eraseAll())
	case wanted.fingerprint == nil && wanted.pattern == (sni.Pattern{}):
		for name := range wanted.names {
			if !c.isPinned(name) {
				c.erase([]string{name, keyOf(name, true)})
			}
		}
	}
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

// askSharers has the names that fetched one of these certificates for themselves asked for again: at once, unless they are
// very many.
func (c *Cache) askSharers(certificates map[[32]byte]bool) {
	c.mu.Lock()
	maps.DeleteFunc(certificates, func(fingerprint [32]byte, _ bool) bool { return !c.pairs.has(fingerprint) })
	c.unlock()
	if len(certificates) == 0 {
		return
	}
	sharers := c.entriesWhere(func(e *entry) bool {
		held := e.held.Load()
		return held != nil && held.owner == nil && !held.pinned() && held.shares(certificates)
	})
	spread := time.Duration(len(sharers)/batch) * (changeSpread / 1000)
	again := &flush{names: make(map[string]bool)}
	c.inBatches(sharers, func(e *entry) {
		if e.held.Load() != nil {
			c.plan(e, c.clock.now().after(upTo(spread)))
			again.names[e.name()] = true
		}
	})
	c.mu.Lock()
	defer c.unlock()
	for f := range c.asking {
		if again.names[f.request.Name] {
			f.flushes = append(f.flushes, again)
		}
	}
}

// shares reports whether one of the certificates is among those.
func (h *held) shares(certificates map[[32]byte]bool) bool {
	for p := range h.each() {
		if certificates[p.fingerprint] {
			return true
		}
	}
	return false
}

// taken drops what is remembered of the names that a flush takes, and returns them.
func (d *denials) taken(wanted *flush) []string {
	var names []string
	take := func(key string) {
		if wanted.takes(hostOf(key)) && d.drop(key) {
			names = append(names, hostOf(key))
		}
	}
	if !wanted.all && wanted.where == nil && wanted.pattern == (sni.Pattern{}) {
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
