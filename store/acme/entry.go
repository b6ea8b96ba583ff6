package acme

import (
	"container/heap"
	"context"
	"time"
)

// longLife is the time before a certificate is due from which on it has to be asked for late in that time to be renewed.
const longLife = 24 * time.Hour

// entry is what is in memory of a name: a good kilobyte with one certificate, so that the schedule of all names needs no look into the
// storage. All of it is guarded by the store's mu.
type entry struct {
	name    string
	managed bool
	job     job       // without the steps
	asked   bool      // for it, lately enough to be renewed without having been asked for again
	run     *run      // that is waited for: queued or under way
	busy    bool      // something works on it
	pause   time.Time // before when nothing is done: its lock or its state could not be had

	at    time.Time // when something is to be done
	place int       // in the schedule; -1: not in it
}

// run is an order that is waited for.
type run struct {
	done  chan struct{} // closed at its end, after which what follows is read without a lock
	err   error
	fresh bool // it brought a certificate

	asked  bool // by a client
	eager  bool // whatever the back-off says
	forced bool // though nothing is due
	begun  bool
	job    *job // of the try, once it has begun
}

// schedule is a heap of entries, the next first.
type schedule []*entry

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

func (s *schedule) Push(x any) {
	e := x.(*entry)
	e.place = len(*s)
	*s = append(*s, e)
}

func (s *schedule) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	e.place = -1
	return e
}

// find returns the entry of a name; nil: none. It reads the state of one that is in the storage and not in memory yet.
func (s *Store) find(ctx context.Context, name string) (*entry, error) {
	s.mu.Lock()
	e := s.entries[name]
	s.mu.Unlock()
	if e != nil {
		return e, nil
	}
	state, there, err := s.loadJob(ctx, name)
	if err != nil || !there {
		return nil, err
	}
	return s.add(name, state), nil
}

// add has a name in memory, if it is not.
func (s *Store) add(name string, state job) *entry {
	state.Last.Steps = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[name]
	if e == nil {
		e = &entry{name: name, managed: s.managed[name], job: state, place: -1}
		s.entries[name] = e
		s.plan(e)
	}
	return e
}

// wanted says whether an entry is renewed by itself. The caller holds mu.
func (s *Store) wanted(e *entry, now time.Time) bool {
	return e.managed || e.asked && s.onDemand(e.name) && e.job.notAfter().After(now)
}

// noteAsked takes down that a client has asked for a name on demand, if that says that it will be wanted when it is due: some
// time in the second half of the time before that, or at all for a certificate that does not live long.
func (s *Store) noteAsked(e *entry, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.managed || e.asked || len(e.job.Certificates) == 0 {
		return
	}
	due := e.job.due(s.options.KeyTypes)
	begin := e.job.Certificates[0].NotBefore
	if due.Sub(begin) > longLife && due.Sub(now) > due.Sub(begin)/2 {
		return
	}
	e.asked = true
	s.plan(e)
}

// plan puts an entry to its place in the schedule. The caller holds mu.
func (s *Store) plan(e *entry) {
	at, some := s.next(e)
	switch {
	case !some && e.place >= 0:
		heap.Remove(&s.schedule, e.place)
	case !some:
	case e.place >= 0:
		e.at = at
		heap.Fix(&s.schedule, e.place)
	default:
		e.at = at
		heap.Push(&s.schedule, e)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next is when something is to be done for an entry. Those that somebody waits for come first.
func (s *Store) next(e *entry) (at time.Time, some bool) {
	if e.busy {
		return at, false
	}
	if e.run != nil && e.run.eager { // by hand: ahead of those that a pause holds up
		return time.Time{}, true
	}
	if e.run != nil {
		return time.Unix(0, 0), true
	}
	sooner := func(t time.Time) {
		if !some || t.Before(at) {
			at, some = t, true
		}
	}
	if len(e.job.Untold) > 0 {
		sooner(e.job.TellAt)
	}
	if s.wanted(e, time.Now()) {
		sooner(later(e.job.due(s.options.KeyTypes), e.job.Next))
		if ask := e.job.askAt(); !ask.IsZero() {
			sooner(ask)
		}
		if soon := e.job.expiresSoon(); !soon.IsZero() {
			sooner(later(soon, e.job.Expiring.Add(expiringEvery)))
		}
	}
	return later(at, e.pause), some
}

// orders says whether what is to be done for an entry is to order. The caller holds mu.
func (s *Store) orders(e *entry, now time.Time) bool {
	return e.run != nil || s.wanted(e, now) && !later(e.job.due(s.options.KeyTypes), e.job.Next).After(now)
}
