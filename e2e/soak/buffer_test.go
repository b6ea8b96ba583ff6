package soak

import "syscall"

// smallBuffer sets the size of a socket's receive buffer before it is connected: later it only grows.
func smallBuffer(size int) func(network, address string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		if size == 0 {
			return nil
		}
		var err error
		if other := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		}); other != nil {
			return other
		}
		return err
	}
}
