package cache

import (
	"errors"
	"slices"
	"strings"
)

// AliasPolicy says which certificates answer for their other names too, besides the one they were fetched for.
type AliasPolicy uint8

// The policies.
const (
	// AliasesVerified: those whose chain verifies to the system's roots or to AliasRoots. A certificate that a tenant made
	// for itself answers for no other tenant's name.
	AliasesVerified AliasPolicy = iota
	// AliasesAll: all. The store is trusted to let nobody have a certificate with somebody else's name.
	AliasesAll
	// AliasesOff: none.
	AliasesOff
)

// aliasShare is an alias' share of the list that its owner has, in bytes.
const aliasShare = 20

var errAliasesOff = errors.New("aliases are off")

// mayAlias returns nil when a certificate with this chain may answer for its other names, else why not.
func (c *Cache) mayAlias(chain [][]byte) error {
	switch c.options.Aliases {
	case AliasesAll:
		return nil
	case AliasesVerified:
		return c.verify(chain)
	}
	return errAliasesOff
}

// realias makes the aliases of an entry what its new certificate says. Aliases are made when a certificate is new to
// the entry, and not again while the store keeps returning it: one that was flushed, or that the store said no to, does
// not come back by itself.
func (c *Cache) realias(f *flight, owner *entry, got answer) {
	for _, alias := range slices.Clone(c.aliases[owner]) {
		if next := aliasOf(owner, alias.key, got.trusted); next != nil {
			next.trouble = alias.held.Load().trouble
			c.replace(alias, next)
		} else {
			c.drop(alias)
		}
	}
	if isLegacy(owner.key) {
		return // the names of what was chosen for one class of clients are no other's
	}
	for i, p := range owner.held.Load().pairs {
		if p == nil || !got.trusted[i] {
			continue
		}
		for name := range strings.SplitSeq(p.names(), " ") {
			if !got.barred[name] && c.free(f, name, got.now) {
				c.addAlias(f, owner, name, got.trusted)
			}
		}
	}
}

// free reports whether an alias may be made of a name: what was fetched for that very name, or refused, comes first. f is
// nil when it comes from the disk.
func (c *Cache) free(f *flight, name string, now moment) bool {
	if isWildcard(name) && !c.options.Wildcards || f != nil && f.flushed(name) || c.unknown.recall(name, now) != nil {
		return false
	}
	found, _ := c.index.find(name)
	return found == nil
}

// addAlias makes an alias. One that comes from the disk, for which f is nil, is there already.
func (c *Cache) addAlias(f *flight, owner *entry, name string, trusted [2]bool) {
	next := aliasOf(owner, name, trusted)
	if next == nil {
		return
	}
	alias := c.insert(strings.Clone(name), next)
	if !isWildcard(name) {
		alias.flags.Store(flagEager) // it is asked for itself when it is used
	}
	c.aliases[owner] = append(c.aliases[owner], alias)
	if f != nil {
		c.persistAlias(alias)
	}
}

// aliasOf returns what an alias of owner holds, with references of its own, or nil.
func aliasOf(owner *entry, name string, trusted [2]bool) *held {
	from := owner.held.Load()
	alias := &held{fetched: from.fetched, stale: from.stale, store: from.store, owner: owner, kind: from.kind &^ kindPinned}
	for i, p := range from.pairs {
		if p == nil || !trusted[i] || !p.covers(name) {
			continue
		}
		p.references++
		if alias.pairs[0] == nil {
			alias.pairs[0] = p
		} else {
			alias.pairs[1] = p
		}
	}
	if alias.pairs[0] == nil {
		return nil
	}
	alias.notAfter = firstToExpire(alias.pairs).notAfter
	return alias
}

// follow gives the aliases of an entry the lifetime that it has now.
func (c *Cache) follow(owner *entry) {
	for _, alias := range c.aliases[owner] {
		next := *alias.held.Load()
		next.fetched, next.stale = owner.held.Load().fetched, owner.held.Load().stale
		c.set(alias, &next)
	}
}

// disown takes an alias off its owner's list.
func (c *Cache) disown(owner, alias *entry) {
	rest := slices.DeleteFunc(c.aliases[owner], func(e *entry) bool { return e == alias })
	if len(rest) == 0 {
		delete(c.aliases, owner)
		return
	}
	c.aliases[owner] = rest
}

// aliasesSpared reports whether an alias of the entry was used since this was last asked.
func (c *Cache) aliasesSpared(owner *entry) bool {
	spared := false
	for _, alias := range c.aliases[owner] {
		spared = alias.spared() || spared
	}
	return spared
}
