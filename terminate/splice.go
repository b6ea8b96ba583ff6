package terminate

import (
	"errors"
	"time"

	"hellogate/terminate/socket"
)

// splice moves bytes between a client and a backend until both directions are over. It never waits: step does what can
// be done, and the strand calls it again when something has happened. Wherever bytes move, they move here.
type splice struct {
	strand          *socket.Strand
	client, backend *stream
	up, down        direction
	idle            time.Duration // how long nothing may move
	half            time.Duration // the same once the end of one direction was passed on, and how long a closing side may take
	keepAlive       time.Duration // after how long a silent server is asked whether it is there; 0: it is not
	until           time.Time     // when it ends, whatever moves; zero: never
	resetTruncated  bool          // a client's FIN without a close_notify resets the backend

	now      time.Time // of this step
	last     time.Time // when bytes last moved
	halved   bool      // the end of one direction was passed on
	gaveBack time.Time // the same, when the session's memory was given back
	reason   Reason    // why it is aborted; empty: it is not
	cause    error
	settling bool // both directions are over, or it is aborted
	untaken  bool // a side did not take all that it was sent
}

// start makes a splice's two directions. header goes to the backend before everything else, greeting to the client.
func (s *splice) start(header, greeting []byte) {
	s.up.splice, s.up.from, s.up.to, s.up.header = s, s.client, s.backend, header
	s.down.splice, s.down.from, s.down.to, s.down.header = s, s.backend, s.client, greeting
	s.last = time.Now()
}

// step moves what there is to move, for a moment.
func (s *splice) step() socket.Progress {
	s.now = time.Now()
	if s.strand.IsCut() {
		s.cut()
		return socket.Done
	}
	if !s.settling && s.outlived() {
		s.fail(ReasonLifetime, errLifetime)
		s.settling = true
	}
	if !s.settling && s.move() {
		return socket.More
	}
	if s.settling {
		return s.settle()
	}
	return socket.Pause
}

// outlived reports whether the time of the splice is over.
func (s *splice) outlived() bool { return !s.until.IsZero() && !s.now.Before(s.until) }

var errLifetime = errors.New("the connection lived for as long as it may")

// cut resets both sides at once.
func (s *splice) cut() {
	s.reason = ReasonDrained
	s.client.Abort()
	s.backend.Abort()
}

// move moves bytes both ways, and reports whether there are more. When both ways are over, it is time to settle.
func (s *splice) move() (more bool) {
	buffer := socket.Buffers.Get().(*socket.Buffer)
	defer socket.Buffers.Put(buffer)
	upMore := s.up.turn(buffer)
	downMore := s.down.turn(buffer)
	switch {
	case s.reason != "":
		s.settling = true
	case s.up.at == over && s.down.at == over:
		s.settling = true
		s.findBroken()
	case upMore || downMore:
		return true
	default:
		s.expect()
	}
	return false
}

// expect sets how long the splice may be silent from now on, and fails it when it has been for too long.
func (s *splice) expect() {
	s.up.takes()
	s.down.takes()
	until := earliest(s.last, s.up.stalled(), s.down.stalled()).Add(s.most())
	if s.now.Before(until) {
		s.strand.SetDeadline(earliest(s.look(s.quiet(until)), s.until))
		return
	}
	s.fail(s.stallReason(), errIdle)
	s.settling = true
}

// look has the splice woken soon where something waits: how much its receiver has taken by then is not told otherwise.
func (s *splice) look(until time.Time) time.Time {
	if s.up.stalled().IsZero() && s.down.stalled().IsZero() {
		return until
	}
	return earliest(until, s.now.Add(min(time.Second, s.most()/4)))
}

// quietAfter is how long nothing moves before a connection is taken for idle.
const quietAfter = 5 * time.Second

// quiet sees to a splice that went idle: the session gives back its memory, the backend is asked now and then whether it
// is still there. Before that it has the splice woken when that may be so.
func (s *splice) quiet(until time.Time) time.Time {
	if s.gaveBack.Equal(s.last) {
		return until
	}
	if at := s.last.Add(quietAfter); s.now.Before(at) {
		return earliest(at, until)
	}
	for _, side := range s.sides() {
		if side.session != nil {
			tlsBuffers.giveBack(side.session)
		}
	}
	s.backend.KeepAlive(s.keepAlive)
	s.gaveBack = s.last
	return until
}

var errIdle = errors.New("nothing moved for too long")

// earliest is the first of some times, the zero ones left out.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// most is how long nothing may move.
func (s *splice) most() time.Duration {
	if s.halved {
		return s.half
	}
	return s.idle
}

// stallReason says who is to blame for a splice that stands still. A side may be gone, which can't be seen while the
// other side takes nothing.
func (s *splice) stallReason() Reason {
	for _, side := range s.sides() {
		if side.Over() {
			return side.onReset
		}
	}
	return ReasonIdle
}

// fail notes that the splice is aborted, the first time with its reason.
func (s *splice) fail(why Reason, cause error) {
	if s.reason == "" {
		s.reason, s.cause = why, cause
	}
}

// findBroken fails a splice whose directions ended with a peer that is gone.
func (s *splice) findBroken() {
	for _, side := range s.sides() {
		if side.isBroken {
			s.fail(side.onReset, side.failure)
		}
	}
}

func (s *splice) sides() [2]*stream { return [...]*stream{s.client, s.backend} }

// settle closes both sides as they were closed: a clean end on both sides ends cleanly, an abort on one side resets the
// other when it has got what was read for it. One that took nothing for the idle time will not take it now.
func (s *splice) settle() socket.Progress {
	progress := socket.Done
	var next time.Time
	for _, side := range s.sides() {
		if s.reason != "" && (side.isBroken || s.reason == ReasonIdle) {
			side.Abort()
			side.closing.over = true
			continue
		}
		look, taken, over := side.settle(s.now, s.half, s.reason == "")
		s.untaken = s.untaken || over && !taken
		if !over {
			progress, next = socket.Pause, earliest(next, look)
		}
	}
	s.strand.SetDeadline(next)
	return progress
}

var errUntaken = errors.New("the end of the stream was not taken")

// result says how it ended.
func (s *splice) result() (Reason, error) {
	switch {
	case s.reason != "":
		return s.reason, s.cause
	case s.untaken:
		return ReasonIdle, errUntaken
	case s.client.truncated():
		return ReasonTruncated, nil
	default:
		return ReasonOK, nil
	}
}
