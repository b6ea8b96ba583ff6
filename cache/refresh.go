package cache

import (
	"container/heap"
	"errors"
	"time"

	"hellogate/store"
)

const (
	firstRetry = 5 * time.Second
	lastRetry  = 10 * time.Minute
	sweepEvery = 10 * time.Second // denials whose time is over
	blocked    = time.Second      // until the schedule is looked at again when it could not be kept
	longest    = time.Hour        // without a look at it
)

// schedule is a heap of the entries to be asked for again, by when. Whoever uses it holds Cache.mu.
type schedule []due

type due struct {
	at    int64
	entry *entry
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at < s[j].at }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].entry.place, s[j].entry.place = int32(i), int32(j)
}

func (s *schedule) Push(item any) {
	added := item.(due)
	added.entry.place = int32(len(*s))
	*s = append(*s, added)
}

func (s *schedule) Pop() any {
	last := len(*s) - 1
	removed := (*s)[last]
	(*s)[last] = due{}
	*s = (*s)[:last]
	removed.entry.place = -1
	return removed
}

// set puts an entry in, or moves it.
func (s *schedule) set(e *entry, at int64) {
	if e.place < 0 {
		heap.Push(s, due{at: at, entry: e})
		return
	}
	(*s)[e.place].at = at
	heap.Fix(s, int(e.place))
}

func (s *schedule) remove(e *entry) {
	if e.place >= 0 {
		heap.Remove(s, int(e.place))
	}
}

// when is when an entry is due, if it is in the schedule.
func (s schedule) when(e *entry) (at int64, ok bool) {
	if e.place < 0 {
		return 0, false
	}
	return s[e.place].at, true
}

// plan has an entry asked for again at a time. nil is nobody.
func (c *Cache) plan(e *entry, at int64) {
	if e == nil {
		return
	}
	c.schedule.set(e, at)
	if e.place == 0 {
		c.rouse()
	}
}

func (c *Cache) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// sweepLater has remembered answers forgotten in time.
func (c *Cache) sweepLater() {
	if len(c.unknown.byName)+len(c.failed.byName) == 1 {
		c.rouse()
	}
}

// keepFresh asks for what is due until the Cache is closed.
func (c *Cache) keepFresh() {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case <-timer.C:
		case <-c.wake:
		}
		timer.Reset(c.tick())
	}
}

// tick does what is due and returns when to do so again.
func (c *Cache) tick() time.Duration {
	c.mu.Lock()
	defer c.unlock()
	c.askUsed()
	c.dispatch()
	now := c.clock.now()
	next := longest
	if len(c.schedule) > 0 {
		if next = min(next, time.Duration(c.schedule[0].at-now.mono)); next <= 0 {
			next = blocked // every request that ends looks for the next itself
		}
	}
	if c.unknown.sweep(now)+c.failed.sweep(now) > 0 {
		next = min(next, sweepEvery)
	}
	return next
}

// nextRefresh returns a flight for what is due, nil if nothing is. Refreshes have at most half of the store's time, so
// that a store that hangs keeps nobody waiting for theirs to end.
func (c *Cache) nextRefresh() *flight {
	now := c.clock.now()
	for c.refreshing < max(1, c.options.Fetches/2) && len(c.schedule) > 0 && c.schedule[0].at <= now.mono {
		refreshed := heap.Pop(&c.schedule).(due).entry
		held := refreshed.held.Load()
		if held.expired(now) && c.trim(refreshed, now) == nil {
			continue
		}
		if held.pinned() { // it was here to be warned of
			c.tendPinned(refreshed, now)
			continue
		}
		c.refreshing++
		c.totals.refreshes++
		return c.refresh(refreshed, now)
	}
	return nil
}

func (c *Cache) refresh(refreshed *entry, now moment) *flight {
	f := &flight{
		entry:   refreshed,
		key:     refreshed.key,
		request: store.Request{Name: refreshed.name(), WithoutECDSA: isLegacy(refreshed.key)},
		done:    make(chan struct{}),
	}
	held := refreshed.held.Load()
	if held.validator != nil && now.wallOf(held.fetched) > c.replaced[held.store.Value()] {
		f.request.Validator, f.request.From = *held.validator, held.store.Value()
	}
	return f
}

// retry has an entry that could not be fetched asked for again: later each time, but often enough while its certificate
// lasts.
func (c *Cache) retry(found *entry, got answer) {
	held := found.held.Load()
	troubled := held.troubled()
	troubled.err = got.err.Error()
	delay := min(firstRetry<<min(troubled.failures, 16), lastRetry, max(got.now.until(held.notAfter)/10, firstRetry))
	troubled.failures++
	var failure *store.Failure
	if errors.As(got.err, &failure) {
		delay = max(delay, failure.RetryAfter)
	}
	c.set(found, held.with(c.expiring(found.key, held, got.now, troubled)))
	c.plan(found, got.now.after(delay+upTo(delay/4)))
}

// askAgain has an entry asked for again now: it was used for the first time since that was to be done. A hit waits for
// nobody: while somebody has the lock, keepFresh is left to do it.
func (c *Cache) askAgain(used *entry) {
	if c.mu.TryLock() {
		c.askNow(used)
		c.unlock()
		return
	}
	select {
	case c.used <- used:
		c.rouse()
	default: // at its time then, or when it is used again after it left the hot tier
	}
}

func (c *Cache) askNow(used *entry) {
	used.flags.And(^uint32(flagEager))
	if held := used.held.Load(); held != nil && !held.pinned() && !c.refreshes(used) {
		c.plan(used, c.clock.now().mono)
	}
}

// askUsed does what askAgain left to do.
func (c *Cache) askUsed() {
	for {
		select {
		case used := <-c.used:
			c.askNow(used)
		default:
			return
		}
	}
}

// refreshes reports whether a store is being asked for an entry now.
func (c *Cache) refreshes(e *entry) bool {
	return e.place < 0 && e.held.Load().owner == nil
}

// sayExpiring is how close to its end, as a share of its lifetime, a certificate is said to be about to expire.
const sayExpiring = 10

// expiring says once a day that a certificate is about to expire and no newer one can be had, and returns the trouble with
// that in it; nil for none.
func (c *Cache) expiring(key string, next *held, now moment, troubled trouble) *trouble {
	first := firstToExpire(next.pairs)
	left := now.until(first.notAfter)
	switch {
	case left > time.Duration(first.lifetime)*time.Second/sayExpiring:
		troubled.warned = 0
	case troubled.warned == 0 || now.mono-troubled.warned >= int64(24*time.Hour):
		troubled.warned = max(now.mono, 1)
		c.sayExpiring(key, next, left, troubled.err)
	}
	if troubled == (trouble{}) {
		return nil
	}
	return &troubled
}
