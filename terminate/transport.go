package terminate

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// transport is a socket as the path sees it, the client's beneath TLS or the backend's. It keeps what crypto/tls and
// io.Copy forget: whether the peer ended its stream with a FIN, and that bytes can be waited for without holding a
// buffer for them. One goroutine reads, one writes.
type transport struct {
	net.Conn
	raw           syscall.RawConn // nil where readiness can't be waited for: reads then block
	fd            uintptr         // valid while instant
	instant       bool            // a read takes what is there and never waits
	fin           bool            // the peer's FIN has been read
	ending        atomic.Bool     // our FIN has been sent, or is about to be
	keepsDeadline bool            // SetWriteDeadline does nothing: see stream.closeWrite
}

// newTransport wraps conn, whose ownership it takes.
func newTransport(conn net.Conn) *transport {
	return &transport{Conn: conn, raw: rawConn(conn)}
}

// errNothingYet is what an instant read returns when there is nothing to read. crypto/tls remembers a read's error and
// fails from then on, unless it is a net.Error that calls itself temporary.
var errNothingYet net.Error = nothingYet{}

type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read yet" }
func (nothingYet) Timeout() bool   { return false }
func (nothingYet) Temporary() bool { return true }

// Read reads from the socket.
func (t *transport) Read(p []byte) (n int, err error) {
	if t.instant {
		n, err = readNow(t.fd, p)
	} else {
		n, err = t.Conn.Read(p)
	}
	if err == io.EOF {
		return n, t.end()
	}
	return n, err
}

// end tells a FIN from a reset. The kernel tells of a reset once, to the first who asks: when a write was told, a read
// finds an end of stream, and an abort would cross as a clean close. But while our own direction is open, only a reset
// can have closed the whole connection.
func (t *transport) end() error {
	if over(t.raw) && !t.ending.Load() { // in this order: ending is set before the FIN that may close the connection
		return os.NewSyscallError("read", syscall.ECONNRESET)
	}
	t.fin = true
	return io.EOF
}

// SetWriteDeadline does as net.Conn's, except while the stream is being closed.
func (t *transport) SetWriteDeadline(at time.Time) error {
	if t.keepsDeadline {
		return nil
	}
	return t.Conn.SetWriteDeadline(at)
}

// readable makes of read, which returns false when there was nothing to read, what whenReadable takes.
func (t *transport) readable(read func() bool) func(fd uintptr) bool {
	return func(fd uintptr) bool {
		t.fd, t.instant = fd, true
		defer func() { t.instant = false }()
		return read()
	}
}

// whenReadable runs read once there is something to read, or an end or an error to be told of. While it waits, nothing
// is held: read is where a buffer is borrowed.
//
// The reads happen inside the callback of syscall.RawConn's Read. An edge that comes in between a read outside of it
// and the wait inside would be lost: each call of RawConn.Read forgets the edges before it.
func (t *transport) whenReadable(read func(fd uintptr) bool) error {
	return t.raw.Read(read)
}

// abort ends the connection with a reset, at once: what is still in the send queue is thrown away.
func (t *transport) abort() {
	if tcp, ok := t.Conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = t.Close()
}

// finish closes the connection so that what was written still arrives. Closing a socket that holds unread bytes
// resets it, and the reset overtakes what the peer has not read yet (RFC 1122, section 4.2.2.13): so the stream is
// ended, and what the peer may still send is thrown away, for at most the time given.
func (t *transport) finish(within time.Duration) {
	defer t.Close()
	if err := t.shutdown(); err != nil {
		return
	}
	_ = t.Conn.SetReadDeadline(time.Now().Add(within))
	_, _ = io.CopyN(io.Discard, t.Conn, lingerBytes)
}

// lingerBytes bounds what finish throws away.
const lingerBytes = 256 << 10

// shutdown sends a FIN.
func (t *transport) shutdown() error {
	t.ending.Store(true)
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// The pauses between two looks at a send queue.
const (
	shortestLook = time.Millisecond
	longestLook  = 100 * time.Millisecond
)

// waitSent waits until the peer has acknowledged everything, or is gone, and reports whether that came about before the
// peer had taken nothing for the time given. The kernel gives up on a closed socket whose peer reads slowly much sooner
// than on an open one, and a reset throws its queue away.
func (t *transport) waitSent(within time.Duration) bool {
	if t.raw == nil {
		return true
	}
	left, end := unsent(t.raw), time.Now().Add(within)
	for pause := shortestLook; left > 0; pause = min(2*pause, longestLook) {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(pause)
		if n := unsent(t.raw); n < left {
			left, end = n, time.Now().Add(within)
		}
	}
	return true
}

// bufferSize was measured best for bulk: two TLS records.
const bufferSize = 32 << 10

type buffer [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}
