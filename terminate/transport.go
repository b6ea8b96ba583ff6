package terminate

import (
	"io"
	"os"
	"syscall"
	"time"

	"hellogate/terminate/socket"
)

// transport is a socket as the path sees it, the client's beneath TLS or the backend's. It keeps what crypto/tls
// forgets: whether the peer ended its stream with a FIN.
type transport struct {
	socket.Conn
	strand  *socket.Strand
	patient bool   // a read waits until there is something to read
	fin     bool   // the peer's FIN has been read
	ending  bool   // our FIN has been sent
	unread  []byte // what was read too much of, and comes before what the socket has
}

// Read reads from the socket. A patient read waits while too much is queued: see mostQueued.
func (t *transport) Read(p []byte) (int, error) {
	for t.patient && t.Queued() > mostQueued {
		if err := t.wait(); err != nil {
			return 0, err
		}
	}
	if len(t.unread) > 0 {
		n := copy(p, t.unread)
		if t.unread = t.unread[n:]; len(t.unread) == 0 {
			t.unread = nil
		}
		return n, nil
	}
	n, err := t.Conn.Read(p)
	for err == socket.ErrNothingYet && t.patient {
		if err = t.wait(); err == nil {
			n, err = t.Conn.Read(p)
		}
	}
	if err == io.EOF {
		return n, t.end()
	}
	return n, err
}

// spliceTo has the kernel move what the socket has to another: see socket.Conn.
func (t *transport) spliceTo(to *transport) (n int, readErr, writeErr error) {
	n, readErr, writeErr = to.Splice(t.Conn)
	if readErr == io.EOF {
		readErr = t.end()
	}
	return n, readErr, writeErr
}

// wait waits until something has happened, and sends what it can of what is queued.
func (t *transport) wait() error {
	if err := t.strand.Wait(); err != nil {
		return err
	}
	return t.Flush()
}

// end tells a FIN from a reset. The kernel tells of a reset once, to the first who asks: when a write was told, a read
// finds an end of stream, and an abort would cross as a clean close. But while our own direction is open, only a reset
// can have closed the whole connection.
func (t *transport) end() error {
	if !t.ending && t.Over() {
		return os.NewSyscallError("read", syscall.ECONNRESET)
	}
	t.fin = true
	return io.EOF
}

// shutdown sends a FIN.
func (t *transport) shutdown() error {
	err := t.CloseWrite()
	t.ending = err == nil
	return err
}

// lingerBytes bounds what finish throws away.
const lingerBytes = 256 << 10

// finish closes the connection so that what was written still arrives. Closing a socket that holds unread bytes
// resets it, and the reset overtakes what the peer has not read yet (RFC 1122, section 4.2.2.13): so the stream is
// ended, and what the peer may still send is thrown away, for at most the time given.
func (t *transport) finish(within time.Duration) {
	defer t.Close()
	t.strand.SetDeadline(time.Now().Add(within))
	for t.Queued() > 0 {
		if err := t.wait(); err != nil {
			return
		}
	}
	if err := t.shutdown(); err != nil {
		return
	}
	t.patient = true
	_, _ = io.CopyN(io.Discard, t, lingerBytes)
}
