package terminate

import (
	"context"
	"fmt"
	"time"
)

// drain waits for the connections to end, and resets those that are left after the drain timeout.
func (s *Server) drain(cut context.CancelFunc) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.group.Wait()
	}()
	s.Log.Info().Int64("connections", s.count.Load()).Stringer("timeout", s.Limits.DrainTimeout).Msg("draining")
	timer := time.NewTimer(s.Limits.DrainTimeout)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
	}
	n := s.cutAll() // first: who sees the end of life must know why
	cut()
	<-done
	return fmt.Errorf("drain: %d connections cut after %v", n, s.Limits.DrainTimeout)
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
