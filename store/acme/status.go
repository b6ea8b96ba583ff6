package acme

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"
)

// The states of a name.
const (
	StateValid    = "valid"
	StateOrdering = "ordering" // what it has is served
	StateWaiting  = "waiting"  // for its turn
	StateFailed   = "failed"   // at the last try; what it has is served
	StateExpired  = "expired"
)

// Status is what is known of a name. Times are zero where they are not known.
type Status struct {
	Name    string
	Managed bool
	State   string
	// DueAt is when the first of its certificates is to be renewed, NotAfter when the first of them ends.
	DueAt, NotAfter time.Time
	// KeyTypes are those of its certificates.
	KeyTypes []string
	// CA is the directory of who issued the first of them.
	CA string
	// Errors are those in a row.
	Errors int
	Last   Try
	// NextAt is when it is ordered next; zero: when it is asked for, or is being ordered.
	NextAt time.Time
	ARI    Window
}

// All yields what is known of each name, sorted, without the steps of the last try. Nothing is read for it.
func (s *Store) All() iter.Seq[Status] {
	return func(yield func(Status) bool) {
		s.mu.Lock()
		names := slices.Sorted(maps.Keys(s.entries))
		s.mu.Unlock()
		for _, name := range names {
			s.mu.Lock()
			var status Status
			e := s.entries[name]
			if e != nil {
				status = s.statusOf(e, time.Now())
			}
			s.mu.Unlock()
			status.Last.Steps = nil
			if e != nil && !yield(status) {
				return
			}
		}
	}
}

// StatusOf is the same of one name, or wildcard, with the steps of the last try.
func (s *Store) StatusOf(ctx context.Context, name string) (Status, bool) {
	if !isOrderable(name) {
		return Status{}, false
	}
	e, err := s.find(ctx, name)
	if e == nil || err != nil {
		return Status{}, false
	}
	s.mu.Lock()
	status := s.statusOf(e, time.Now())
	s.mu.Unlock()
	if status.Last.Result != "" && status.Last.Steps == nil {
		if state, _, err := s.loadJob(ctx, name); err == nil && state.Last.At.Equal(status.Last.At) {
			status.Last.Steps = state.Last.Steps
		}
	}
	return status, true
}

// statusOf describes an entry. The caller holds mu.
func (s *Store) statusOf(e *entry, now time.Time) Status {
	state := e.job
	if e.run != nil && e.run.job != nil {
		state = e.run.job.copy()
	}
	status := Status{
		Name: e.name, Managed: e.managed, State: stateOf(e, state, now),
		DueAt: state.due(s.options.KeyTypes), NotAfter: state.notAfter(),
		Errors: state.Errors, Last: state.Last,
	}
	for _, each := range state.Certificates {
		status.KeyTypes = append(status.KeyTypes, each.KeyType)
	}
	if len(state.Certificates) > 0 {
		status.CA, status.ARI = state.Certificates[0].CA, state.Certificates[0].Suggested
	}
	if status.CA == "" {
		status.CA = s.options.Directories[state.Errors/failover%len(s.options.Directories)]
	}
	if e.run == nil && s.wanted(e, now) {
		status.NextAt = later(later(later(status.DueAt, state.Next), e.pause), now)
	} else if e.run == nil && state.Next.After(now) {
		status.NextAt = state.Next
	}
	return status
}

func stateOf(e *entry, state job, now time.Time) string {
	end := state.notAfter()
	switch {
	case e.run != nil && e.run.begun:
		return StateOrdering
	case !end.IsZero() && !end.After(now):
		return StateExpired
	case state.Errors > 0 || state.Last.Result == resultFailed:
		return StateFailed
	case end.IsZero() || e.run != nil:
		return StateWaiting
	}
	return StateValid
}
