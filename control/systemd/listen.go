package systemd

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hellogate/control/handover"
)

const (
	pidVariable   = "LISTEN_PID"
	countVariable = "LISTEN_FDS"
	namesVariable = "LISTEN_FDNAMES"
	// pidIDVariable is a second LISTEN_PID, which newer managers set.
	pidIDVariable = "LISTEN_PIDFDID"
	// firstDescriptor is the first of the sockets, behind standard error.
	firstDescriptor = 3
	maxDescriptors  = 1024
)

// Sockets returns the listening sockets that the service manager has opened for this process, nil if there are none. It is for
// the start of the process, before any other is started, and takes the variables out of the environment. The caller asks
// for those that it wants, and has the others closed.
func Sockets() (*handover.Sockets, error) { return sockets(firstDescriptor) }

func sockets(first int) (*handover.Sockets, error) {
	pid, text, names := take(pidVariable), take(countVariable), take(namesVariable)
	take(pidIDVariable)
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // for nobody, or for a process before this one, which did not clean up
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 0 || count > maxDescriptors {
		return nil, fmt.Errorf("%s: %q is no number of sockets", countVariable, text)
	}
	for fd := first; fd < first+count; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, fmt.Errorf("%s=%d: descriptor %d: %w", countVariable, count, fd, err)
		}
	}
	given := new(handover.Sockets)
	for i, name := range namesOf(names, count) {
		given.Add(name, os.NewFile(uintptr(first+i), name))
	}
	return given, nil
}

// namesOf are as many names as there are sockets.
func namesOf(text string, count int) []string {
	names := strings.Split(text, ":")
	if text == "" {
		names = nil
	}
	for len(names) < count {
		names = append(names, fmt.Sprintf("socket %d", len(names)+1))
	}
	return names[:count]
}
