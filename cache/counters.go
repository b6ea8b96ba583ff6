package cache

import "sync/atomic"

const stripes = 64

// counters counts hits. What many processors would add to one number is spread over several, by name, each on lines of
// its own.
type counters [stripes]struct {
	hits, stale, pinned atomic.Uint64
	_                   [104]byte
}

// hit counts a hit and says what it was.
func (c *counters) hit(hash uint64, pinned, stale bool) Source {
	stripe := &c[hash%stripes]
	switch {
	case pinned:
		stripe.pinned.Add(1)
		return Pinned
	case stale:
		stripe.stale.Add(1)
		return Stale
	}
	stripe.hits.Add(1)
	return Hit
}

func (c *counters) sum() (hits, stale, pinned uint64) {
	for i := range c {
		hits += c[i].hits.Load()
		stale += c[i].stale.Load()
		pinned += c[i].pinned.Load()
	}
	return hits, stale, pinned
}

// totals are counted under Cache.mu.
type totals struct {
	misses, coalesced, remembered uint64
	fetches, failures, refreshes  uint64
	evictions, limited, loaded    uint64
	withdrawn, pinned             int // names that are now
	pinnedBytes                   int64
}

// Stats says how a Cache does. Counts are since it was made.
type Stats struct {
	Entries    int   // names that have a certificate, aliases included
	Aliases    int   // of them
	Pairs      int   // different certificates
	HotEntries int   // of them, those held parsed
	Bytes      int64 // that all of it takes in memory, remembered answers included
	HotBytes   int64 // of them, those of parsed certificates
	LimitBytes int64
	Negative   int // names that a no is remembered of
	Failing    int // names that a failure is remembered of
	Withdrawn  int // names that are served although the store denies them
	Pinned     int // names whose certificate was put there by hand
	Queued     int // names that wait for the store's time
	Fetching   int // requests under way

	Hits       uint64 // Gets that were answered from what was held
	Stale      uint64 // the same, past the end of its lifetime
	PinnedHits uint64 // the same, with a certificate that was put there by hand
	Misses     uint64 // Gets that began a fetch
	Coalesced  uint64 // Gets that joined one
	Remembered uint64 // Gets that a no or a failure was remembered for
	Limited    uint64 // Gets that were refused because too many unknown names were asked for
	Loaded     uint64 // names that were taken from the disk

	Fetches       uint64 // requests to the store
	Refreshes     uint64 // of them, those that no client waited for
	FetchFailures uint64 // of them, those that failed, unfit certificates included
	Evictions     uint64 // names that had to make room
	// DroppingStopped: the store denies so many names that none is dropped.
	DroppingStopped bool
}

// Stats returns how the cache does now.
func (c *Cache) Stats() Stats {
	hits, stale, pinned := c.counts.sum()
	hot, hotBytes := c.hot.size()
	c.mu.Lock()
	defer c.unlock()
	aliases := 0
	for _, owned := range c.aliases {
		aliases += len(owned)
	}
	return Stats{
		Entries:         c.index.count,
		Aliases:         aliases,
		Pairs:           c.pairs.count,
		HotEntries:      hot,
		Bytes:           c.bytes + c.pairs.bytes + hotBytes + c.unknown.bytes + c.failed.bytes,
		HotBytes:        hotBytes,
		LimitBytes:      c.options.Size,
		Negative:        len(c.unknown.byName),
		Failing:         len(c.failed.byName),
		Withdrawn:       c.totals.withdrawn,
		Pinned:          c.totals.pinned,
		Queued:          c.queue.count,
		Fetching:        len(c.asking),
		Hits:            hits,
		Stale:           stale,
		PinnedHits:      pinned,
		Misses:          c.totals.misses,
		Coalesced:       c.totals.coalesced,
		Remembered:      c.totals.remembered,
		Limited:         c.totals.limited,
		Loaded:          c.totals.loaded,
		Fetches:         c.totals.fetches,
		Refreshes:       c.totals.refreshes,
		FetchFailures:   c.totals.failures,
		Evictions:       c.totals.evictions,
		DroppingStopped: c.guard.stopped,
	}
}
