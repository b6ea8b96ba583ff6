package cache

import (
	"errors"
	"fmt"
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
	if err := c.pin(name, got); err != nil {
		return err
	}
	c.syncDisk()
	return nil
}

func (c *Cache) pin(name string, got answer) error {
	c.mu.Lock()
	defer c.unlock()
	if c.closed {
		return errClosed
	}
	if c.pinnedBytes() > c.limit/pinShare {
		return fmt.Errorf("certificate for %q: %w", name, errPinsFull)
	}
	for _, key := range []string{name, keyOf(name, true)} {
		c.unknown.drop(key)
		c.failed.drop(key)
		if found, _ := c.index.find(key); found != nil {
			c.drop(found)
		}
	}
	next := got.held()
	next.kind |= kindPinned
	next.store = unique.Make(pinStore)
	next.stale = got.now.after(century)
	for i, p := range next.pairs {
		if p != nil {
			next.pairs[i] = c.pairs.take(p)
		}
	}
	added := c.insert(name, next)
	c.orphan(&flush{names: map[string]bool{name: true}})
	c.tendPinned(added, got.now)
	c.persist(added)
	c.sayPinned(name, next)
	c.evict(added)
	return nil
}

// pinnedBytes is about what pinned names take.
func (c *Cache) pinnedBytes() int64 {
	const each = 4 << 10
	return int64(c.totals.pinned) * each
}

// Unpin removes what was put under a name by hand, and reports whether there was anything.
func (c *Cache) Unpin(name string) bool {
	removed := c.unpin(name)
	if removed {
		c.syncDisk()
	}
	return removed
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
