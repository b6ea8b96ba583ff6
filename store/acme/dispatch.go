package acme

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// idle is how long nothing is looked at when nothing is to be done.
	idle = time.Hour
	// sweepEvery is how often what killed processes left of challenges is removed, that is older than sweepAge.
	sweepEvery = 6 * time.Hour
	sweepAge   = 24 * time.Hour
	scanRetry  = 10 * time.Second
)

// scan has all names in memory: the managed ones, then what is in the storage.
func (s *Store) scan() {
	s.repeat(scanRetry, "read the state of the managed names", s.scanManaged)
	s.repeat(scanRetry, "read the names in the storage", s.scanStorage)
	for s.life.Err() == nil {
		s.sweep()
		s.forgetFailed()
		sleep(s.life, sweepEvery)
	}
}

// repeat does something until it succeeds.
func (s *Store) repeat(pause time.Duration, what string, do func() error) {
	for s.life.Err() == nil {
		err := do()
		if err == nil || s.life.Err() != nil {
			return
		}
		s.options.Log.Error().Str("store", s.options.Name).Err(err).Msg("acme: " + what + ": tried again soon")
		sleep(s.life, pause)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *Store) scanManaged() error {
	for _, name := range slices.Sorted(maps.Keys(s.managed)) {
		state, _, err := s.loadJob(s.life, name)
		if err != nil {
			return err
		}
		s.add(name, state)
	}
	return nil
}

func (s *Store) scanStorage() error {
	keys, err := s.options.Storage.List(s.life, certificates)
	if err != nil {
		return err
	}
	for _, key := range keys {
		name, ok := nameOf(key)
		if !ok || !strings.HasSuffix(key, "/"+jobFile) || !s.managed[name] && !s.onDemand(name) {
			continue
		}
		if _, err := s.find(s.life, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) sweep() {
	err := s.pending.Sweep(s.life, sweepAge)
	if err == nil && s.options.DNS01 != nil {
		err = s.options.DNS01.Sweep(s.life, sweepAge)
	}
	if err != nil && s.life.Err() == nil {
		s.options.Log.Warn().Str("store", s.options.Name).Err(err).Msg("acme: remove old challenges")
	}
}

// dispatch begins what is due, until the store is closed.
func (s *Store) dispatch() {
	for {
		s.mu.Lock()
		wait := s.beginDue(time.Now())
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.life.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// beginDue begins what is due and may be, and returns when to look again. The caller holds mu.
func (s *Store) beginDue(now time.Time) time.Duration {
	for len(s.schedule) > 0 {
		e := s.schedule[0]
		if e.at.After(now) {
			return e.at.Sub(now)
		}
		if s.busy >= s.options.Limits.AtOnce {
			return idle // the end of one wakes
		}
		orders := s.orders(e, now)
		byHand := e.run != nil && e.run.eager
		if until, err := s.storage.at(now); err != nil && !byHand {
			return until.Sub(now)
		}
		if orders {
			if wait := s.bucket.take(now); wait > 0 {
				return wait
			}
		}
		heap.Pop(&s.schedule)
		s.begin(e, orders)
	}
	return idle
}

// begin works on an entry. The caller holds mu.
func (s *Store) begin(e *entry, orders bool) {
	if orders && e.run == nil {
		e.run = &run{done: make(chan struct{})}
	} else if e.run != nil {
		s.queued--
	}
	if e.run != nil {
		e.run.begun = true
	}
	e.busy = true
	s.busy++
	t := &try{store: s, entry: e, run: e.run, slot: true}
	s.running.Go(t.work)
}

// maxQueued bounds the names that are waited for and not begun.
const maxQueued = 1000

var (
	errClosed = errors.New("the store is closed")
	errQueue  = fmt.Errorf("%d names are waiting to be ordered, which is all that may", maxQueued)
)

// join has a name ordered, and returns what to wait for.
func (s *Store) join(e *entry, wanted run) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if there := s.entries[e.name]; there != nil { // e may have been forgotten since it was found
		e = there
	}
	s.entries[e.name] = e
	if e.run == nil {
		if s.closed {
			return nil, errClosed
		}
		if s.queued >= maxQueued {
			return nil, errQueue
		}
		e.run = &run{done: make(chan struct{})}
		s.queued++
	}
	e.run.asked = e.run.asked || wanted.asked
	if !e.run.begun {
		e.run.eager, e.run.forced = e.run.eager || wanted.eager, e.run.forced || wanted.forced
	}
	s.plan(e)
	return e.run, nil
}
