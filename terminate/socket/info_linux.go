package socket

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpClose is the state of a connection that is over (net/tcp_states.h).
const tcpClose = 7

// isOver reads the first bytes of a struct tcp_info, the first of which is the state.
func isOver(fd int) bool {
	info, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && firstByte(info) == tcpClose
}

// firstByte is the first byte in memory of an int that the kernel wrote four bytes of.
func firstByte(n int) byte {
	var memory [4]byte
	binary.NativeEndian.PutUint32(memory[:], uint32(n))
	return memory[0]
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
