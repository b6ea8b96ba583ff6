package acme

import (
	"container/heap"
	"time"
)

// forgetAfter is how long the state of a name on demand is kept that could be ordered again and has no certificate: there is
// no end of names that may be asked for.
const forgetAfter = 7 * 24 * time.Hour

// forgetFailed removes the state of names on demand that failed, and that nobody has asked for since.
func (s *Store) forgetFailed() {
	before := time.Now().Add(-forgetAfter)
	var old []*entry
	s.mu.Lock()
	for _, e := range s.entries {
		if !e.managed && e.run == nil && !e.busy && isForgettable(e.job, before) {
			old = append(old, e)
		}
	}
	s.mu.Unlock()
	for _, e := range old {
		if s.life.Err() != nil {
			return
		}
		if err := s.forget(e, before); err != nil && s.life.Err() == nil {
			s.options.Log.Warn().Str("store", s.options.Name).Str("name", e.name).Err(err).Msg("acme: remove the state of a name that failed")
			return
		}
	}
}

func isForgettable(state job, before time.Time) bool {
	return len(state.Certificates) == 0 && state.Last.At.Before(before) && state.Next.Before(before)
}

// forget removes the state of a name, if no other process has changed it.
func (s *Store) forget(e *entry, before time.Time) error {
	t := &try{store: s, entry: e}
	return t.locked(func() error {
		if len(t.leaves) > 0 || !isForgettable(t.job, before) {
			return nil
		}
		if err := s.options.Storage.Remove(t.ctx, jobKey(e.name)); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.run == nil && !e.busy && s.entries[e.name] == e {
			delete(s.entries, e.name)
			if e.place >= 0 {
				heap.Remove(&s.schedule, e.place)
			}
		}
		return nil
	})
}
