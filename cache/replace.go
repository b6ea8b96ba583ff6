package cache

// Replacement says what became of the stores behind Options.Store.
type Replacement struct {
	// Takes reports whether the answer for a name may be another now; it is called at any time from then on. nil: none is.
	Takes func(name string) bool
	// Touched are stores, as in a bundle's Store: what the disk has from them does not count as fresh.
	Touched []string
	// Others are stores that are new, or others than before: a validator of one before with their name means nothing to them.
	Others []string
	// Fetches is Options.Fetches from now on (64).
	Fetches int
}

// StoresReplaced takes in that Options.Store asks other stores from now on. Names whose answer may be another are asked for
// again, what is used first, and served meanwhile; that nobody had them, or that they could not be fetched, is forgotten.
// What was asked for before is not cached.
func (c *Cache) StoresReplaced(by Replacement) {
	c.mu.Lock()
	c.options.Fetches = by.Fetches
	setDefault(&c.options.Fetches, defaultFetches)
	now := c.clock.now().wall
	for _, name := range by.Others {
		c.replaced[name] = now
	}
	c.dispatch()
	c.unlock()
	if by.Takes == nil {
		return
	}
	for _, name := range by.Touched {
		c.distrustDisk(name)
	}
	c.forget(&flush{where: by.Takes})
	others := make(map[string]bool, len(by.Others))
	for _, name := range by.Others {
		others[name] = true
	}
	entries := c.entriesWhere(func(e *entry) bool {
		held := e.held.Load()
		return held != nil && !held.pinned() && by.Takes(e.name())
	})
	c.inBatches(entries, func(e *entry) {
		if held := e.held.Load(); held != nil && held.validator != nil && others[held.store.Value()] {
			next := *held
			next.validator = nil
			c.set(e, &next)
		}
		c.distrustEntry(e, true)
	})
}

// SetLookups is Options.Lookups from now on. What clients have left of it they keep, as far as it allows so much.
func (c *Cache) SetLookups(lookups Lookups) {
	c.mu.Lock()
	defer c.unlock()
	c.budget.lookups = lookups
}
