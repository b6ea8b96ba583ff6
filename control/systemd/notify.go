package systemd

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	socketVariable      = "NOTIFY_SOCKET"
	watchdogVariable    = "WATCHDOG_USEC"
	watchdogPIDVariable = "WATCHDOG_PID"
)

// sendTimeout bounds a message: a manager that is busy lets its queue fill up.
const sendTimeout = 2 * time.Second

// Notifier tells the service manager how the service is doing. Nil is one without a manager: everything may be called, and
// does nothing. It is safe for concurrent use.
type Notifier struct {
	address  net.UnixAddr
	watchdog time.Duration // 0: the manager does not watch
	silent   atomic.Bool
}

// NewNotifier returns nil if no service manager wants to be told. It takes the variables that say so out of the environment:
// what this process starts is not the service. For one that is, see [Notifier.Environment]. With an error, too, the Notifier
// may be used, for what it can do.
func NewNotifier() (*Notifier, error) {
	path, interval, pid := take(socketVariable), take(watchdogVariable), take(watchdogPIDVariable)
	if path == "" {
		return nil, nil
	}
	// Abstract sockets begin with @, here as in package net. A vsock: address is for virtual machines, not for services.
	if path[0] != '/' && path[0] != '@' || len(path) == 1 {
		return nil, fmt.Errorf("%s: %q is no address of a Unix socket", socketVariable, path)
	}
	n := &Notifier{address: net.UnixAddr{Name: path, Net: "unixgram"}}
	if interval == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n, nil
	}
	microseconds, err := strconv.ParseInt(interval, 10, 64)
	if err != nil || microseconds <= 0 || microseconds > int64(maxWatchdog/time.Microsecond) {
		return n, fmt.Errorf("%s: %q is no number of microseconds", watchdogVariable, interval)
	}
	n.watchdog = time.Duration(microseconds) * time.Microsecond
	return n, nil
}

// maxWatchdog is longer than any watchdog makes sense for.
const maxWatchdog = 365 * 24 * time.Hour

func take(variable string) string {
	value := os.Getenv(variable)
	os.Unsetenv(variable)
	return value
}

// Environment are the variables for a process that is to take over as the service.
func (n *Notifier) Environment() []string {
	if n == nil {
		return nil
	}
	environment := []string{socketVariable + "=" + n.address.Name}
	if n.watchdog > 0 {
		environment = append(environment, fmt.Sprintf("%s=%d", watchdogVariable, n.watchdog.Microseconds()))
	}
	return environment
}

// Ready says that the service has started, or has its new configuration. The status is one line for people.
func (n *Notifier) Ready(status string) error { return n.send("READY=1", statusLine(status)) }

// Reloading says that a new configuration is being read. Ready has to follow, whether it could be used or not.
func (n *Notifier) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return os.NewSyscallError("clock_gettime", err)
	}
	// Both in one message: a manager of Type=notify-reload tells by the time that it is an answer to its signal.
	return n.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/int64(time.Microsecond)))
}

// Stopping says that the service has begun to end.
func (n *Notifier) Stopping(status string) error { return n.send("STOPPING=1", statusLine(status)) }

// Status is one line for people.
func (n *Notifier) Status(status string) error { return n.send(statusLine(status)) }

// ExtendTimeout asks for more time to start, reload or stop, counted from now. It has to be asked again before it is over.
func (n *Notifier) ExtendTimeout(by time.Duration) error {
	return n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", by.Microseconds()))
}

// TakeOver says that this process is the service now, and has started. A manager listens to it if it takes messages of all of
// the service's processes, or was told by the process before this one.
func (n *Notifier) TakeOver(status string) error {
	return n.send(fmt.Sprintf("MAINPID=%d", os.Getpid()), "READY=1", statusLine(status))
}

// HandOver says that another process is the service now, waits until the manager knows, and is silent from then on: whatever
// else this process said would be taken for the other's. A sign of life would hide that the other hangs, and STOPPING=1 would
// stop it.
func (n *Notifier) HandOver(pid int) error {
	if n == nil {
		return nil
	}
	err := n.send(fmt.Sprintf("MAINPID=%d", pid))
	n.silent.Store(true)
	if err != nil {
		return err
	}
	return n.barrier()
}

// statusLine has a status be one line: the next would be a message of its own.
func statusLine(status string) string {
	return "STATUS=" + strings.NewReplacer("\n", " ", "\r", " ").Replace(strings.ToValidUTF8(status, "?"))
}

func (n *Notifier) send(lines ...string) error {
	if n == nil || n.silent.Load() {
		return nil
	}
	return n.sendWith(nil, lines...)
}

func (n *Notifier) sendWith(control []byte, lines ...string) error {
	conn, err := net.DialUnix("unixgram", nil, &n.address)
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if err := sendMessage(conn, []byte(strings.Join(lines, "\n")), control); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

// sendMessage is WriteMsgUnix for a socket that is connected, which that one refuses.
func sendMessage(conn *net.UnixConn, text, control []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) (done bool) {
		failed = unix.Sendmsg(int(fd), text, control, nil, 0)
		for errors.Is(failed, unix.EINTR) {
			failed = unix.Sendmsg(int(fd), text, control, nil, 0)
		}
		return !errors.Is(failed, unix.EAGAIN)
	})
	return cmp.Or(err, failed)
}

// barrier waits until the manager has read what it was told: it closes the descriptor of a barrier when its turn has come. A
// process that ended at once would be gone before its message is looked at, and unknown then.
func (n *Notifier) barrier() error {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close()
	raw, err := theirs.SyscallConn()
	if err != nil {
		theirs.Close()
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = n.sendWith(unix.UnixRights(int(fd)), "BARRIER=1") })
	theirs.Close()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	_ = ours.SetReadDeadline(time.Now().Add(sendTimeout))
	if _, err := ours.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the service manager does not say that it has read what it was told")
	}
	return nil
}
