//go:build !noepoll

package socket

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipe carries bytes from one socket to another within the kernel (splice(2)). They are not copied, most often not even
// looked at.
type pipe struct {
	out, in int // descriptors
	held    int // bytes
}

// pipeSize is what a pipe holds where the kernel lets it: in bulk, a quarter of a megabyte moves with two calls.
const pipeSize = 256 << 10

var pipesOpen atomic.Int64

// pipes are kept for the next in bulk: making one takes three calls. What is beyond is closed.
var pipes = make(chan *pipe, 64)

// takePipe returns an empty pipe, nil where there are too many or no descriptors are left.
func takePipe() *pipe {
	select {
	case p := <-pipes:
		return p
	default:
	}
	var ends [2]int
	if pipesOpen.Add(1) > MostPipes || unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		pipesOpen.Add(-1)
		return nil
	}
	// Where many are in use, an unprivileged user gets none so large. The size that it has then does, too.
	_, _ = unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, pipeSize)
	return &pipe{out: ends[0], in: ends[1]}
}

// drop gives the pipe to the next; one that holds bytes is closed, and they are lost.
func (p *pipe) drop() {
	if p.held == 0 {
		select {
		case pipes <- p:
			return
		default:
		}
	}
	_ = closeFD(p.out)
	_ = closeFD(p.in)
	pipesOpen.Add(-1)
}

// Splice takes what from has. What the kernel does not take at once waits in a pipe.
func (c *conn) Splice(from Conn) (n int, readErr, writeErr error) {
	source, ok := from.(*conn)
	if !ok || c.queue.size() > 0 {
		return 0, errors.ErrUnsupported, nil
	}
	if c.pipe == nil {
		if c.pipe = takePipe(); c.pipe == nil {
			return 0, errors.ErrUnsupported, nil
		}
	}
	if n, readErr = source.fill(c.pipe); n > 0 {
		writeErr = c.Flush()
	}
	if c.pipe.held == 0 && readErr != nil {
		c.pipe.drop()
		c.pipe = nil
	}
	return n, readErr, writeErr
}

// fill moves what the socket has into a pipe, which is empty.
func (c *conn) fill(p *pipe) (int, error) {
	if c.ready.Load()&(readable|hungUp) == 0 {
		return 0, ErrNothingYet
	}
	c.ready.And(^readable)
	n, err := spliceNow(c.fd, p.in, pipeSize, false)
	switch {
	case err == syscall.EAGAIN:
		return 0, ErrNothingYet
	case err == syscall.EINVAL:
		c.ready.Or(readable)
		return 0, errors.ErrUnsupported
	case err != 0:
		return 0, os.NewSyscallError("splice", err)
	case n == 0:
		c.ready.Or(hungUp) // asked again, the kernel says so again
		return 0, io.EOF
	}
	c.ready.Or(readable) // a splice may stop short of what there is
	p.held = n
	return n, nil
}

// drain moves what the pipe holds into the socket, as far as the kernel takes it.
func (c *conn) drain() error {
	if c.ready.Load()&writable == 0 {
		return nil
	}
	c.ready.And(^writable)
	n, err := spliceNow(c.pipe.out, c.fd, c.pipe.held, c.more)
	switch {
	case err == syscall.EAGAIN:
		return c.watchOut()
	case err != 0:
		c.ready.Or(lost | writable) // asked again, the kernel says so again
		return os.NewSyscallError("splice", err)
	}
	if c.pipe.held -= n; c.pipe.held > 0 {
		return c.watchOut()
	}
	c.ready.Or(writable)
	return nil
}

// spliceNow moves bytes between a socket and a pipe.
func spliceNow(from, to, most int, more bool) (int, syscall.Errno) {
	flags := uintptr(unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK)
	if more {
		flags |= unix.SPLICE_F_MORE
	}
	n, _, err := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), flags)
	return int(n), err
}
