//go:build !noepoll && race

package socket

import (
	"errors"
	"syscall"
)

// The race detector is told what the kernel writes, and that what is received was sent before, by package syscall alone.

func receive(fd int, p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(fd, p)
	return n, errno(err)
}

func transmit(fd int, p []byte, _ bool) (int, syscall.Errno) {
	n, err := syscall.Write(fd, p)
	return n, errno(err)
}

func errno(err error) syscall.Errno {
	code, _ := errors.AsType[syscall.Errno](err)
	return code
}
