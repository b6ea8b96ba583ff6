package acme

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"hellogate/sni"
	"hellogate/store"
)

// maxTold bounds the names of one store.Change.
const maxTold = 10_000

// Watch tells of certificates that were obtained or revoked, here or by another process that shares the storage, and of
// orders that failed, until ctx is done or the store is closed.
func (s *Store) Watch(ctx context.Context, changed func(store.Change)) {
	select {
	case <-s.seeing:
	case <-ctx.Done():
		return
	case <-s.life.Done():
		return
	}
	told := &subscriber{wake: make(chan struct{}, 1), names: make(map[sni.Pattern]bool), all: true}
	s.mu.Lock()
	s.subscribers[told] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, told)
	}()
	for {
		s.mu.Lock()
		change, some := told.take()
		s.mu.Unlock()
		if some {
			changed(change)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.life.Done():
			return
		case <-told.wake:
		}
	}
}

// subscriber holds what was not told yet. The store's mu guards it.
type subscriber struct {
	wake  chan struct{}
	names map[sni.Pattern]bool
	all   bool
}

func (s *subscriber) take() (change store.Change, some bool) {
	change.All = s.all
	for name := range s.names {
		change.Names = append(change.Names, name)
	}
	s.all = false
	clear(s.names)
	return change, change.All || len(change.Names) > 0
}

// tell adds a name to what is told next. The caller holds mu.
func (s *Store) tell(name string) {
	pattern, err := sni.ParsePattern(name)
	if err != nil {
		return
	}
	for each := range s.subscribers {
		if !each.all {
			each.names[pattern] = true
		}
		if len(each.names) > maxTold {
			each.all = true
			clear(each.names)
		}
		select {
		case each.wake <- struct{}{}:
		default:
		}
	}
}

// watchStorage takes in what others do in the storage.
func (s *Store) watchStorage() {
	first := true
	s.options.Storage.Watch(s.life, certificates, func(keys []string) {
		if first {
			first = false
			close(s.seeing)
		}
		names := make(map[string]bool)
		for _, key := range keys {
			if name, ok := nameOf(key); ok {
				names[name] = true
			}
		}
		for name := range names {
			s.refresh(name)
		}
	})
}

// refresh takes in the state of a name that somebody has changed.
func (s *Store) refresh(name string) {
	if !s.managed[name] && !s.onDemand(name) {
		return
	}
	state, leaves, err := s.look(s.life, name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && s.life.Err() == nil {
			s.options.Log.Warn().Str("store", s.options.Name).Str("name", name).Err(err).Msg("acme: look at what has changed")
		}
		return
	}
	state.Last.Steps = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[name]
	switch {
	case e == nil && len(leaves) == 0:
		return // it is read when it is asked for
	case e == nil:
		e = &entry{name: name, managed: s.managed[name], place: -1}
		s.entries[name] = e
	case e.busy:
		return // it looks for itself
	}
	failed := state.Last.EndedAt.After(e.job.Last.EndedAt)
	if !sameCertificates(e.job, state) || failed {
		s.tell(name)
	}
	e.job, e.pause = state, time.Time{}
	s.plan(e)
}
