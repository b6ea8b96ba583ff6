package terminate

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// splice moves bytes between a client and a backend until both directions are over.
type splice struct {
	client, backend *stream
	idle            time.Duration // how long nothing may move
	half            time.Duration // the same once one direction is over, and how long a closing side may take
	resetTruncated  bool          // a client's FIN without a close_notify resets the backend
	in, out         atomic.Int64  // bytes from the client, to the client

	start  time.Time
	last   atomic.Int64 // when bytes last moved, in nanoseconds since start
	ended  atomic.Int32 // directions that are over
	mutex  sync.Mutex   // guards the two below
	reason Reason       // why it is aborted; empty: it is not
	cause  error
}

// run moves bytes until both sides are done, then closes both as they were closed: a clean end on both sides ends
// cleanly, an abort on one side resets the other once everything read before it has been delivered.
func (s *splice) run() (Reason, error) {
	s.start = time.Now()
	up := s.direction(s.client, s.backend, &s.in)
	down := s.direction(s.backend, s.client, &s.out)
	for _, side := range s.sides() { // before either direction runs: one that ends sets the other's anew
		_ = side.SetReadDeadline(s.start.Add(s.idle))
	}
	var group sync.WaitGroup
	group.Go(up.run)
	down.run()
	group.Wait()
	for _, side := range s.sides() {
		if side.isBroken.Load() {
			s.fail(side.onReset, side.failure)
		}
	}
	if s.reason != "" {
		s.abort()
		return s.reason, s.cause
	}
	if !s.close() {
		return ReasonIdle, errUntaken
	}
	if s.client.truncated() {
		return ReasonTruncated, nil
	}
	return ReasonOK, nil
}

func (s *splice) sides() [2]*stream { return [...]*stream{s.client, s.backend} }

// fail notes that the connection is aborted, the first time with its reason, and wakes whoever waits on either side.
func (s *splice) fail(why Reason, cause error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.reason == "" {
		s.reason, s.cause = why, cause
	}
	for _, side := range s.sides() {
		side.wake()
	}
}

// failed reports whether the connection is aborted.
func (s *splice) failed() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.reason != ""
}

// abort resets both sides: the one that broke at once, the other when it has got what was read for it. One that took
// nothing for the idle time will not take it now.
func (s *splice) abort() {
	for _, side := range s.sides() {
		if side.isBroken.Load() || s.reason == ReasonIdle {
			side.abort()
		}
	}
	for _, side := range s.sides() {
		side.waitSent(s.half)
		side.abort()
	}
}

var errUntaken = errors.New("the end of the stream was not taken")

// close closes both sides, whose ends have been passed on, and reports whether both took all of it: the kernel would hold
// the rest for a peer that doesn't read, megabytes that no limit counts.
func (s *splice) close() bool {
	taken := true
	for _, side := range s.sides() {
		if side.waitSent(s.half) {
			_ = side.Close()
		} else {
			side.abort()
			taken = false
		}
	}
	return taken
}

// touch notes that bytes moved.
func (s *splice) touch() { s.last.Store(int64(time.Since(s.start))) }

// most is how long nothing may move.
func (s *splice) most() time.Duration {
	if s.ended.Load() > 0 {
		return s.half
	}
	return s.idle
}

// patience is how long nothing may move from now on; 0 or less: too long already.
func (s *splice) patience() time.Duration {
	return s.most() - (time.Since(s.start) - time.Duration(s.last.Load()))
}
