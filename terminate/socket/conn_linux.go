//go:build !noepoll

package socket

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a TCP socket that a poller watches.
type conn struct {
	poller     *poller
	strand     *Strand
	fd         int // -1: closed
	slot       uint32
	generation uint32
	ready      atomic.Uint32
	watchesOut bool
	more       bool
	queue      queue
	pipe       *pipe // what is spliced to the socket, ahead of the queue; nil: nothing is
	remote     netip.AddrPort
	local      netip.AddrPort // the zero value: the kernel is asked
}

// What a socket may be ready for, as far as is known: a bit is cleared before the call that may find it wrong, and set by
// the poller. One that is set in vain costs a call, one that is missing would cost the connection.
const (
	readable uint32 = 1 << iota
	writable
	hungUp // the peer has ended its stream, or sent urgent data, at which a read stops short: reads go on until they find nothing
	lost   // the connection may be over, by a reset
)

// happened takes an event, on the poller.
func (c *conn) happened(events uint32) {
	var ready uint32
	if events&unix.EPOLLIN != 0 {
		ready |= readable
	}
	if events&unix.EPOLLOUT != 0 {
		ready |= writable
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0 {
		ready |= readable | writable | hungUp
	}
	if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ready |= lost
	}
	c.ready.Or(ready)
	if c.strand.wake() {
		c.strand.run(false)
	}
}

// Read reads what the socket has. A read that did not fill p has emptied it: the kernel tells of what comes then.
func (c *conn) Read(p []byte) (int, error) {
	if c.ready.Load()&(readable|hungUp) == 0 || len(p) == 0 {
		return 0, ErrNothingYet
	}
	c.ready.And(^readable)
	n, err := receive(c.fd, p)
	switch {
	case err == syscall.EAGAIN:
		return 0, ErrNothingYet
	case err != 0:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		c.ready.Or(hungUp) // asked again, the kernel says so again
		return 0, io.EOF
	case n == len(p):
		c.ready.Or(readable)
	}
	return n, nil
}

// Write sends p, and queues what the kernel does not take.
func (c *conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.Queued() > 0 {
		c.queue.add(p)
		return len(p), c.Flush()
	}
	n, err := c.send(p)
	if err != nil {
		return n, err
	}
	if n < len(p) {
		c.queue.add(p[n:])
	}
	return len(p), nil
}

func (c *conn) Queued() int { return c.queue.size() + c.piped() }

// piped is how much waits in the pipe.
func (c *conn) piped() int {
	if c.pipe == nil {
		return 0
	}
	return c.pipe.held
}

// Flush sends what is queued, as far as the kernel takes it.
func (c *conn) Flush() error {
	if c.piped() > 0 {
		if err := c.drain(); err != nil || c.piped() > 0 {
			return err
		}
	}
	if c.queue.size() == 0 {
		return nil
	}
	n, err := c.send(c.queue.rest())
	c.queue.took(n)
	return err
}

// send sends what the kernel takes.
func (c *conn) send(p []byte) (int, error) {
	if c.ready.Load()&writable == 0 {
		return 0, nil
	}
	c.ready.And(^writable)
	n, err := transmit(c.fd, p, c.more)
	switch {
	case err == syscall.EAGAIN:
		return 0, c.watchOut()
	case err != 0:
		c.ready.Or(lost | writable) // asked again, the kernel says so again
		return 0, os.NewSyscallError("write", err)
	case n < len(p):
		return n, c.watchOut()
	}
	c.ready.Or(writable)
	return n, nil
}

// More says whether another write follows at once: the kernel then need not send what makes no full segment.
func (c *conn) More(follows bool) { c.more = follows }

// watchOut begins to watch for room in the send buffer. Most sockets never need it, and are spared the events.
func (c *conn) watchOut() error {
	if c.watchesOut {
		return nil
	}
	c.watchesOut = true
	return c.poller.change(c, unix.EPOLLIN|unix.EPOLLOUT)
}

func (c *conn) KeepAlive(every time.Duration) { setKeepAlive(c.fd, every) }

func (c *conn) SetUserTimeout(timeout time.Duration) {
	if timeout > 0 {
		setUserTimeout(c.fd, timeout)
	}
}

func (c *conn) CloseWrite() error { return systemError("shutdown", shutdownWrite(c.fd)) }

func (c *conn) Close() error {
	if c.fd < 0 {
		return nil
	}
	if c.strand != nil {
		c.poller.remove(c)
	}
	c.queue.drop()
	if c.pipe != nil {
		c.pipe.drop()
		c.pipe = nil
	}
	failed := closeFD(c.fd)
	c.fd = -1
	return systemError("close", failed)
}

// systemError is nil where nothing failed.
func systemError(call string, failed syscall.Errno) error {
	if failed == 0 {
		return nil
	}
	return os.NewSyscallError(call, failed)
}

func (c *conn) Abort() {
	if c.fd >= 0 {
		setNoLinger(c.fd)
	}
	_ = c.Close()
}

// Over needs not ask where nothing has told of it, neither the poller nor a write. A reset that came a moment ago is told
// to the next read or write.
func (c *conn) Over() bool { return c.ready.Load()&lost != 0 && isOver(c.fd) }

func (c *conn) Unsent() int { return unsent(c.fd) }

func (c *conn) Remote() netip.AddrPort { return c.remote }

func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *conn) LocalAddr() net.Addr {
	if c.local.IsValid() {
		return net.TCPAddrFromAddrPort(c.local)
	}
	return net.TCPAddrFromAddrPort(localName(c.fd))
}

func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
