package terminate

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawConn gives access to the readiness of a TCP or Unix socket.
func rawConn(conn net.Conn) syscall.RawConn {
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// readNow reads what the socket has.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, errNothingYet
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// tcpClose is the state of a connection that is over (net/tcp_states.h).
const tcpClose = 7

// over reports whether the connection is over in both directions, as after a reset.
func over(raw syscall.RawConn) (is bool) {
	if raw == nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { is = isOver(fd) })
	return is
}

func isOver(fd uintptr) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == tcpClose
}

// unsent is how many bytes the peer has not acknowledged; 0 when it can't be told, or when the connection is over: the
// queue is then as long as it was, but nobody will take from it.
func unsent(raw syscall.RawConn) (n int) {
	_ = raw.Control(func(fd uintptr) {
		if queue, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil && queue > 0 && !isOver(fd) {
			n = queue
		}
	})
	return n
}
