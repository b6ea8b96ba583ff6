package socket

import (
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// Progress is what a step of a strand says.
type Progress uint8

// What a step can say.
const (
	Pause Progress = iota // nothing can be done until something happens
	More                  // there is more to do, and it deserves a goroutine
	Done                  // the strand is over
)

// Strand is the thread of execution that owns a connection's sockets. It runs on a goroutine of its own while there is
// something to do in sequence or in bulk, on a poller while there is little, and nowhere while it rests. It is woken by
// its sockets and its deadline, and by whoever calls Wake. It is made by a Group's Begin, and not copied.
type Strand struct {
	workers *workers
	// step does what can be done without waiting, except on a goroutine of its own, where it may call Wait. It is called
	// again when something has happened.
	step     func(alone bool) Progress
	state    atomic.Uint32
	isCut    atomic.Bool
	resume   chan struct{} // tells the goroutine that waits
	deadline time.Time     // zero: none
	fires    time.Time     // when the timer does, if that is still to come
	timer    *time.Timer
}

// The states of a strand. Whoever takes it from parked or resting to running lets it run; for what happens while it runs
// it is left notified, and will look again before it waits.
const (
	running uint32 = iota
	notified
	parked  // a goroutine waits in Wait
	resting // nobody waits
	over
)

// Begin makes s a strand of the group that runs: the caller's, until it calls Rest.
func (g *Group) Begin(s *Strand, step func(alone bool) Progress) {
	s.workers, s.step = &g.workers, step
}

// Wake tells the strand that something happened. It may be called by anyone at any time.
func (s *Strand) Wake() {
	if s.wake() {
		s.workers.run(s)
	}
}

// wake reports whether the caller now owns the strand, and must run it.
func (s *Strand) wake() bool {
	for {
		switch state := s.state.Load(); state {
		case running:
			if s.state.CompareAndSwap(running, notified) {
				return false
			}
		case parked:
			if s.state.CompareAndSwap(parked, running) {
				s.resume <- struct{}{}
				return false
			}
		case resting:
			if s.state.CompareAndSwap(resting, running) {
				return true
			}
		default:
			return false
		}
	}
}

// Cut makes Wait fail from now on, and wakes the strand. It may be called by anyone.
func (s *Strand) Cut() {
	s.isCut.Store(true)
	s.Wake()
}

// IsCut reports whether Cut was called.
func (s *Strand) IsCut() bool { return s.isCut.Load() }

// Rest lets the strand go that the caller owns: it goes on when it is woken, on another goroutine.
func (s *Strand) Rest() {
	if !s.rest() {
		s.workers.run(s)
	}
}

// fairTurns is how many steps a strand in bulk makes, some 50 microseconds each, before it lets others come first.
const fairTurns = 16

// run steps until the strand rests or is over. alone says whether this goroutine is for the strand only.
func (s *Strand) run(alone bool) {
	for turn := 1; ; turn++ {
		switch s.step(alone) {
		case Pause:
			if s.rest() {
				return
			}
		case More:
			if !alone {
				s.workers.run(s)
				return
			}
			if turn%fairTurns == 0 {
				s.workers.relieve()
				runtime.Gosched()
			}
		case Done:
			s.end()
			return
		}
	}
}

// rest reports whether the strand rests now; otherwise something has happened meanwhile.
func (s *Strand) rest() bool {
	s.resume = nil
	s.arm()
	if s.state.CompareAndSwap(running, resting) {
		return true
	}
	s.state.Store(running)
	return false
}

func (s *Strand) end() {
	s.state.Store(over)
	if s.timer != nil {
		s.timer.Stop()
	}
}

// Wait waits until something happens, perhaps in vain. It fails with os.ErrDeadlineExceeded when the deadline has passed
// and with net.ErrClosed when the strand was cut.
func (s *Strand) Wait() error {
	switch {
	case s.isCut.Load():
		return net.ErrClosed
	case s.Expired(time.Now()):
		return os.ErrDeadlineExceeded
	}
	s.arm()
	if s.resume == nil {
		s.resume = make(chan struct{}, 1)
	}
	if s.state.CompareAndSwap(running, parked) {
		<-s.resume
	} else {
		s.state.Store(running)
	}
	return nil
}

// SetDeadline sets when the strand is woken at the latest, and Wait fails. A zero time means never.
func (s *Strand) SetDeadline(at time.Time) { s.deadline = at }

// Expired reports whether the deadline has passed.
func (s *Strand) Expired(now time.Time) bool { return !s.deadline.IsZero() && !now.Before(s.deadline) }

// arm makes sure that the timer fires at the deadline or before. Deadlines move far more often than they pass, nearly
// always into the future: a timer that fires too early costs one look, and one moved with every byte costs more than
// the byte.
func (s *Strand) arm() {
	if s.deadline.IsZero() {
		return
	}
	if !s.fires.IsZero() && !s.fires.After(s.deadline) {
		if !s.fired() {
			return
		}
	}
	s.fires = s.deadline
	wait := time.Until(s.deadline)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.Wake)
	} else {
		s.timer.Reset(wait)
	}
}

// fired reports whether the timer's time has come. If it fires a moment later still, that is one look more.
func (s *Strand) fired() bool { return !time.Now().Before(s.fires) }
