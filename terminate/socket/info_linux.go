package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpClose is the state of a connection that is over (net/tcp_states.h).
const tcpClose = 7

func isOver(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == tcpClose
}

func unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil || n <= 0 || isOver(fd) {
		return 0
	}
	return n
}

// Over reports whether the connection is over in both directions; false for what is no socket.
func (r *relay) Over() (is bool) {
	r.control(func(fd int) { is = isOver(fd) })
	return is
}

// Unsent is the number of bytes that the peer has not acknowledged; 0 for what is no socket.
func (r *relay) Unsent() (n int) {
	r.control(func(fd int) { n = unsent(fd) })
	return n
}

func (r *relay) control(ask func(fd int)) {
	if conn, ok := r.Conn.(syscall.Conn); ok {
		if raw, err := conn.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { ask(int(fd)) })
		}
	}
}
