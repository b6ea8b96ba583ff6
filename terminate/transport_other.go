//go:build !linux

package terminate

import (
	"errors"
	"net"
	"syscall"
)

// rawConn gives nothing: reads block, and hold their buffer.
func rawConn(net.Conn) syscall.RawConn { return nil }

func readNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func unsent(syscall.RawConn) int { return 0 }

func over(syscall.RawConn) bool { return false }
