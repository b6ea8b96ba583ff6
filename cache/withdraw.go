package cache

import (
	"slices"
	"time"
)

// denied takes in a store's no. A name without a certificate is remembered; one that has is withdrawn, which means that
// it is asked about once more before it is dropped, and not dropped at all while the store seems to know nobody.
func (c *Cache) denied(f *flight, found *entry, got answer) outcome {
	switch {
	case found == nil:
		c.sayUnknown(f, got)
	case found.held.Load().owner == nil:
		c.watch(got.now, found.key, true)
		if !c.mayDrop(found, got.now) {
			c.withdraw(found, got)
			return outcomeOf(found)
		}
		c.sayDropped(found, got)
		c.drop(found)
	case c.guard.stopped:
		c.plan(found, got.now.after(c.options.WithdrawAfter))
		return outcomeOf(found)
	default:
		c.sayAliasDropped(found, got)
		c.drop(found)
	}
	c.failed.drop(f.key)
	c.unknown.no(f.key, got.now, c.options.NegativeTTL)
	c.sweepLater()
	return outcome{err: got.err}
}

// mayDrop reports whether a name that was denied again has been for long enough, or the store had told that it changed.
func (c *Cache) mayDrop(found *entry, now moment) bool {
	denied := found.held.Load().troubled()
	announced := found.flags.Load()&flagAnnounced != 0
	longEnough := denied.withdrawn && now.mono-denied.since >= int64(c.options.WithdrawAfter)
	return (announced || longEnough) && !c.guard.stopped
}

// withdraw marks a name that was denied, and has it asked for again.
func (c *Cache) withdraw(found *entry, got answer) {
	held := found.held.Load()
	troubled := held.troubled()
	if !troubled.withdrawn {
		troubled.withdrawn, troubled.since = true, got.now.mono
		c.sayWithdrawn(found, got)
	}
	troubled.err, troubled.failures = got.err.Error(), 0
	c.set(found, held.with(&troubled))
	c.persist(found)
	c.plan(found, got.now.after(c.options.WithdrawAfter+upTo(c.options.WithdrawAfter/10)))
}

// count keeps the numbers of names that are withdrawn and pinned. nil is what is held of a name that is not there.
func (c *Cache) count(before, after *held) {
	for _, of := range []struct {
		held *held
		step int
	}{{before, -1}, {after, 1}} {
		if of.held == nil {
			continue
		}
		if of.held.withdrawn() {
			c.totals.withdrawn += of.step
		}
		if of.held.pinned() {
			c.totals.pinned += of.step
			c.totals.pinnedBytes += int64(of.step) * of.held.pinnedBytes()
		}
	}
}

// watch takes in whether the refresh of a name was answered no.
func (c *Cache) watch(now moment, name string, no bool) {
	before := c.guard.stopped
	c.guard.note(now, name, no)
	if c.guard.stopped != before {
		c.sayGuard()
	}
}

const (
	guardWindow  = 10 * time.Minute
	guardSlots   = 20
	guardNames   = 3 // that must be denied: a single customer who leaves a small installation may go
	guardPercent = 5
	guardRecent  = 20 // refreshes that make a share of them meaningful
)

// guard stops the dropping of names while more than 5 % of the refreshes of the last 10 minutes were answered no, or,
// where these are few, of the last 20 names' whenever that was: then it is more likely that the store lost its data than
// that so many customers left. It goes on when there have been fewer; until then, what was denied first must not be
// dropped for being the first to be asked about again.
type guard struct {
	slots  [guardSlots]struct{ period, asked, no int64 }
	denied [guardNames]struct {
		name string
		at   int64
	}
	recent  []verdict // the last of each name, the oldest first
	stopped bool
}

// verdict is what a refresh of a name came to.
type verdict struct {
	name string
	no   bool
}

func (g *guard) note(now moment, name string, no bool) {
	period := now.mono / int64(guardWindow/guardSlots)
	slot := &g.slots[period%guardSlots]
	if slot.period != period {
		*slot = struct{ period, asked, no int64 }{period: period}
	}
	slot.asked++
	if no {
		slot.no++
		g.noteName(now, name)
	}
	g.noteRecent(verdict{name, no})
	asked, denied := g.sum(period)
	several := g.severalNames(now)
	if asked < guardRecent {
		asked, denied = g.sumRecent()
		several = denied >= guardNames
	}
	if many := denied*100 > asked*guardPercent; many && several {
		g.stopped = true
	} else if !many {
		g.stopped = false
	}
}

// sum counts the refreshes in the window that ends with a period, and those that were answered no.
func (g *guard) sum(period int64) (asked, no int64) {
	for _, slot := range g.slots {
		if period-slot.period < guardSlots {
			asked += slot.asked
			no += slot.no
		}
	}
	return asked, no
}

// noteRecent keeps the verdicts on the last names that were refreshed.
func (g *guard) noteRecent(last verdict) {
	g.recent = slices.DeleteFunc(g.recent, func(v verdict) bool { return v.name == last.name })
	if len(g.recent) == guardRecent {
		g.recent = slices.Delete(g.recent, 0, 1)
	}
	g.recent = append(g.recent, last)
}

func (g *guard) sumRecent() (asked, no int64) {
	for _, v := range g.recent {
		if v.no {
			no++
		}
	}
	return int64(len(g.recent)), no
}

// noteName keeps the names that were denied last, each once.
func (g *guard) noteName(now moment, name string) {
	place := 0
	for i, denied := range g.denied {
		if denied.name == name {
			place = i
			break
		}
		if denied.at < g.denied[place].at {
			place = i
		}
	}
	g.denied[place].name, g.denied[place].at = name, now.mono
}

func (g *guard) severalNames(now moment) bool {
	for _, denied := range g.denied {
		if denied.name == "" || now.mono-denied.at > int64(guardWindow) {
			return false
		}
	}
	return true
}
