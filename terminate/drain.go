package terminate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// Drain says how long the connections that are open when a Server ends may go on.
type Drain func() time.Duration

// sayEvery is how often a drain says what it waits for.
const sayEvery = time.Minute

// Hurry gives connections that are being drained no more than this time from now on. Before the drain it holds from its
// beginning on.
func (s *Server) Hurry(within time.Duration) {
	select {
	case s.hurry <- within:
	default: // one who said so before
	}
}

// drain waits for the connections to end, and resets those that are left after the drain timeout.
func (s *Server) drain(timeout Drain, cut context.CancelFunc) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.group.Wait()
	}()
	within, began := timeout(), time.Now()
	s.Log.Info().Int64("connections", s.count.Load()).Stringer("timeout", within).Msg("draining")
	until := time.NewTimer(within)
	defer until.Stop()
	ticks := time.NewTicker(sayEvery)
	defer ticks.Stop()
	for {
		select {
		case <-done:
			return nil
		case hurried := <-s.hurry:
			s.Log.Info().Int64("connections", s.count.Load()).Stringer("timeout", hurried).Msg("draining")
			within = min(within, time.Since(began)+hurried)
			until.Reset(within - time.Since(began))
		case <-ticks.C:
			s.sayDraining(began.Add(within))
		case <-until.C:
			n := s.cutAll() // first: who sees the end of life must know why
			cut()
			<-done
			return fmt.Errorf("drain: %d connections cut after %v", n, time.Since(began).Round(time.Second/10))
		}
	}
}

// sayDraining says what is waited for.
func (s *Server) sayDraining(until time.Time) {
	backends, stages, oldest := map[string]int{}, map[string]int{}, time.Duration(0)
	n := 0
	for info := range s.Walk(func(ConnectionInfo) bool { return true }) {
		n++
		oldest = max(oldest, info.Age)
		if info.Backend != "" {
			backends[info.Backend]++
		} else {
			stages[info.Stage]++
		}
	}
	s.Log.Info().Int("connections", n).Dict("backends", counts(backends)).Dict("stages", counts(stages)).
		Stringer("oldest", oldest.Round(time.Second)).Stringer("left", time.Until(until).Round(time.Second)).Msg("draining still")
}

func counts(of map[string]int) *zerolog.Event {
	dict := zerolog.Dict()
	for _, name := range slices.Sorted(maps.Keys(of)) {
		dict.Int(name, of[name])
	}
	return dict
}

// cutAll resets every connection that is left, and counts them.
func (s *Server) cutAll() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for c := range s.open {
		c.strand.Cut()
	}
	return len(s.open)
}

// Opening reports whether a connection may ask for a certificate yet: one that is open, or one that may be accepted.
func (s *Server) Opening() bool {
	s.accepting.Lock()
	over := s.over && len(s.acceptors) == 0
	s.accepting.Unlock()
	return !over || slices.ContainsFunc(s.openConnections(), func(c *connection) bool { return stage(c.seen.Load()) < stageSplice })
}

// Well returns true when nobody holds for good what every connection needs for a moment. Else it hangs, too.
func (s *Server) Well() bool {
	s.accepting.Lock()
	defer s.accepting.Unlock()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.open != nil
}
