package handover

import (
	"errors"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// sibling is what is known of a process that is no child of ours, and can't be waited for as one.
type sibling struct{ descriptor int } // -1: the kernel has none for processes

// makeSibling has a command be started as one.
func makeSibling(command *exec.Cmd) *sibling {
	s := &sibling{descriptor: -1}
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT, PidFD: &s.descriptor}
	return s
}

// wait returns true when the process has ended, and false when that can't be told.
func (s *sibling) wait() bool {
	for s.descriptor >= 0 {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(s.descriptor), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
	return false
}

// close forgets the process. Nil is closed.
func (s *sibling) close() {
	if s != nil && s.descriptor >= 0 {
		unix.Close(s.descriptor)
		s.descriptor = -1
	}
}
