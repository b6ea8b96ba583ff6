package terminate

import (
	"crypto/tls"
	"time"

	"hellogate/terminate/socket"
)

// stream is one side of a splice: a transport, the client's with a TLS session on it.
type stream struct {
	transport
	session  *tls.Conn // nil: the bytes go as they are
	onReset  Reason    // what a reset by this side is called
	failure  error     // what made a write fail: the peer is gone, although a read may still find an orderly end
	isBroken bool
	closing  closing
}

// Read reads plaintext.
func (s *stream) Read(p []byte) (int, error) {
	if s.session != nil {
		return s.session.Read(p)
	}
	return s.transport.Read(p)
}

// fullRecord is the plaintext of a full TLS record.
const fullRecord = 16 << 10

// Write writes plaintext, all of it. tls.Conn writes each record by itself: all but the last need not be sent by
// themselves.
func (s *stream) Write(p []byte) (n int, err error) {
	if s.session == nil {
		return s.transport.Write(p)
	}
	for len(p) > fullRecord && err == nil {
		var k int
		s.More(true)
		k, err = s.session.Write(p[:fullRecord])
		n, p = n+k, p[fullRecord:]
		s.More(false)
	}
	if err == nil {
		var k int
		k, err = s.session.Write(p)
		n += k
	}
	return n, err
}

// mostQueued bounds what may be queued for a side while more is read from it: a client can make crypto/tls answer, by
// KeyUpdates between its data, and not take the answers. The other direction never queues as much.
const mostQueued = 2 * socket.BufferSize

// burdened reports whether too much is queued for the side to read more from it.
func (s *stream) burdened() bool {
	if s.Queued() <= mostQueued {
		return false
	}
	_ = s.Flush() // an error is a read's to find, too
	return s.Queued() > mostQueued
}

// sayEnd says that nothing more comes, where there is TLS to say it; the FIN comes when all has been sent.
func (s *stream) sayEnd() error {
	if s.session == nil {
		return nil
	}
	return s.session.CloseWrite()
}

// truncated reports whether the peer ended its stream without a close_notify, which crypto/tls does not tell apart.
func (s *stream) truncated() bool { return s.session != nil && s.fin }

// breaks notes that the peer is gone.
func (s *stream) breaks(err error) { s.failure, s.isBroken = err, true }

// closing is the end of one side: it stays open until its peer has taken everything. The kernel gives up on a closed
// socket whose peer reads slowly much sooner than on an open one, and a reset throws its queue away.
type closing struct {
	left  int           // bytes not taken
	until time.Time     // when it is given up, unless some are taken before
	pause time.Duration // until the next look
	over  bool
}

// The pauses between two looks at a send queue.
const (
	shortestLook = time.Millisecond
	longestLook  = 100 * time.Millisecond
)

// settle closes the side when its peer has taken everything, or nothing for the time given: orderly or by a reset. It
// reports whether the side is closed; until then it is to be called again at the time returned.
func (s *stream) settle(now time.Time, within time.Duration, orderly bool) (look time.Time, taken, over bool) {
	c := &s.closing
	if c.over {
		return now, true, true
	}
	gone := s.Flush() != nil
	left := 0
	if !gone {
		left = s.Queued() + s.Unsent()
	}
	switch {
	case left == 0 && orderly && !gone:
		_ = s.Close()
	case left == 0:
		s.Abort()
	case c.until.IsZero() || left < c.left:
		c.left, c.until = left, now.Add(within)
		fallthrough
	case now.Before(c.until):
		c.pause = min(max(2*c.pause, shortestLook), longestLook)
		return now.Add(c.pause), false, false
	default:
		s.Abort()
		c.over = true
		return now, false, true
	}
	c.over = true
	return now, true, true
}
