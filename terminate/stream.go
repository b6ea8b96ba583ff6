package terminate

import (
	"crypto/tls"
	"sync/atomic"
	"time"
)

// stream is one side of a connection: a transport, the client's with a TLS session on it.
type stream struct {
	*transport
	session  *tls.Conn // nil: the bytes go as they are
	onReset  Reason    // what a reset by this side is called
	failure  error     // what made a write fail: the peer is gone, although a read may still find an orderly end
	isBroken atomic.Bool
}

// Read reads plaintext.
func (s *stream) Read(p []byte) (int, error) {
	if s.session != nil {
		return s.session.Read(p)
	}
	return s.transport.Read(p)
}

// Write writes plaintext.
func (s *stream) Write(p []byte) (int, error) {
	if s.session != nil {
		return s.session.Write(p)
	}
	return s.transport.Write(p)
}

// closeWrite tells the peer that nothing more comes: close_notify where there is TLS, then FIN. tls.Conn gives its
// close_notify five seconds to get behind a full send buffer, and a reader that pauses longer would find its stream cut:
// the time given holds instead.
func (s *stream) closeWrite(within time.Duration) error {
	_ = s.transport.SetWriteDeadline(time.Now().Add(within))
	s.keepsDeadline = true
	if s.session != nil {
		if err := s.session.CloseWrite(); err != nil {
			return err
		}
	}
	return s.shutdown()
}

// truncated reports whether the peer ended its stream without a close_notify, which crypto/tls does not tell apart.
func (s *stream) truncated() bool { return s.session != nil && s.fin }

// breaks notes that the peer is gone.
func (s *stream) breaks(err error) {
	s.failure = err
	s.isBroken.Store(true)
}

// wake makes every read and write on the socket return, and all later ones.
func (s *stream) wake() { _ = s.Conn.SetDeadline(time.Unix(1, 0)) }
