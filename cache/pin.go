package cache

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unique"

	"hellogate/store"
)

// pinStore is what a pinned certificate is said to come from.
const pinStore = "by hand"

// pinShare is which part of what may be held pinned certificates may take: they never make room.
const pinShare = 4

var errNoPair = errors.New("no certificate to pin")

var errPinsFull = errors.New("pinned certificates take a quarter of cache.size already")

// Pin puts certificates under a name by hand. They are served until they are removed by Unpin or have expired, whatever a
// store says of the name, and no flush takes them. Every pair must be fit for the name.
func (c *Cache) Pin(name string, pairs []store.Pair) error {
	return c.pinPairs(name, pairs, func(next *held) { c.sayPinned(name, next) })
}

// pinPairs is Pin, and tells of it with say, while the lock is held.
func (c *Cache) pinPairs(name string, pairs []store.Pair, say func(*held)) error {
	if len(pairs) == 0 {
		return errNoPair
	}
	bundle := &store.Bundle{Pairs: pairs, Store: pinStore}
	got := c.judge(store.Request{Name: name}, bundle, nil)
	if len(got.refused) > 0 {
		return errors.Unwrap(got.refused[0]) // no store is to blame
	}
	if got.err != nil {
		return got.err
	}
	got.trusted = [2]bool{} // by hand for this very name
	if err := c.pin(name, got, say); err != nil {
		return err
	}
	if err := c.syncDisk(); err != nil {
		return fmt.Errorf("certificate for %q: pinned, but %w", name, err)
	}
	return nil
}

func (c *Cache) pin(name string, got answer, say func(*held)) error {
	c.mu.Lock()
	defer c.unlock()
	if c.closed {
		return errClosed
	}
	next := got.held()
	next.kind |= kindPinned
	next.store = unique.Make(pinStore)
	next.stale = got.now.after(century)
	found, _ := c.index.find(name)
	if !c.pinFits(found, next) {
		return fmt.Errorf("certificate for %q: %w", name, errPinsFull)
	}
	for i, p := range next.pairs {
		if p != nil {
			next.pairs[i] = c.pairs.take(p)
		}
	}
	for _, key := range []string{name, keyOf(name, true)} {
		c.unknown.drop(key)
		c.failed.drop(key)
	}
	found = c.putPinned(name, found, next)
	c.orphan(&flush{names: map[string]bool{name: true}})
	c.tendPinned(found, got.now)
	c.persist(found)
	say(next)
	c.evict(found)
	return nil
}

// putPinned gives a name what is pinned. Its aliases are served as they were until they have been asked for themselves.
func (c *Cache) putPinned(name string, found *entry, next *held) *entry {
	if legacy, _ := c.index.find(keyOf(name, true)); legacy != nil {
		c.drop(legacy)
	}
	c.erase([]string{keyOf(name, true)})
	if found == nil {
		return c.insert(strings.Clone(name), next)
	}
	c.replace(found, next)
	for _, alias := range c.aliases[found] {
		if !isWildcard(alias.key) {
			c.plan(alias, c.clock.now().mono)
		}
	}
	return found
}

// pinFits reports whether pinned names may take that much more.
func (c *Cache) pinFits(found *entry, next *held) bool {
	bytes := c.totals.pinnedBytes + next.pinnedBytes()
	if found != nil && found.held.Load().pinned() {
		bytes -= found.held.Load().pinnedBytes()
	}
	return bytes <= c.limit/pinShare
}

// pinnedBytes is what the pairs of something that is pinned take, as if nothing shared them.
func (h *held) pinnedBytes() (bytes int64) {
	for p := range h.each() {
		bytes += p.cost()
		if p.chain != nil {
			bytes += p.chain.cost()
		}
	}
	return bytes
}

// Unpin removes what was put under a name by hand, and reports whether there was anything. The error says that the disk may
// bring it back after a restart.
func (c *Cache) Unpin(name string) (removed bool, err error) {
	if !c.unpin(name) {
		return false, nil
	}
	if err := c.syncDisk(); err != nil {
		return true, fmt.Errorf("certificate for %q: pin removed, but %w", name, err)
	}
	return true, nil
}

func (c *Cache) unpin(name string) bool {
	c.mu.Lock()
	defer c.unlock()
	found, _ := c.index.find(name)
	if found == nil || !found.held.Load().pinned() {
		return false
	}
	c.drop(found)
	c.sayUnpinned(name)
	return true
}

// tendPinned says that a pinned certificate is about to expire, removes one that has expired, and comes back in time.
func (c *Cache) tendPinned(pinned *entry, now moment) {
	held := pinned.held.Load()
	if held.expired(now) {
		if held = c.trim(pinned, now); held == nil {
			return
		}
	}
	if troubled := c.expiring(pinned.key, held, now, held.troubled()); troubled != held.trouble {
		held = held.with(troubled)
		c.set(pinned, held)
	}
	left := now.until(held.notAfter)
	c.plan(pinned, now.after(min(max(left/2, time.Second), 24*time.Hour)))
}
