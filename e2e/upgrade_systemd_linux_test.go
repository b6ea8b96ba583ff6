package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager as far as a service can tell: it has sockets for it, and hears how it is doing.
type manager struct {
	t     testing.TB
	conn  *net.UnixConn
	path  string
	mutex sync.Mutex
	heard []string // messages, with a comma between their lines
}

func newManager(t testing.TB) *manager {
	t.Helper()
	m := &manager{t: t, path: filepath.Join(shortFolder(t), "notify")}
	var err error
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.listen()
	}()
	t.Cleanup(func() { m.conn.Close(); <-done })
	return m
}

// listen keeps what is said, and closes the descriptors of barriers: it has read all that came before.
func (m *manager) listen() {
	text, control := make([]byte, 4096), make([]byte, 256)
	for {
		n, controls, _, _, err := m.conn.ReadMsgUnix(text, control)
		if err != nil {
			return
		}
		messages, _ := syscall.ParseSocketControlMessage(control[:controls])
		for _, message := range messages {
			descriptors, _ := syscall.ParseUnixRights(&message)
			for _, fd := range descriptors {
				syscall.Close(fd)
			}
		}
		m.mutex.Lock()
		m.heard = append(m.heard, strings.ReplaceAll(strings.TrimSpace(string(text[:n])), "\n", ","))
		m.mutex.Unlock()
	}
}

func (m *manager) all() []string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Clone(m.heard)
}

// count is how many messages begin with a text.
func (m *manager) count(start string) (count int) {
	for _, message := range m.all() {
		if strings.HasPrefix(message, start) {
			count++
		}
	}
	return count
}

// A service of systemd: its sockets are open before it is there, and it says how it is doing, from the start over reloads and
// upgrades to the end of its drain.
func TestUpgradeUnderSystemd(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	l := prepareLineage(t, "limits: {drain_timeout: 20s}")
	l.more = []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=600000", "LISTEN_FDS=2"}
	l.wrap = `export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"`
	unused := freeAddress(t)
	for _, address := range []string{l.address, unused} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		file, err := listener.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		t.Cleanup(func() { file.Close() })
		l.extra = append(l.extra, file)
	}
	early := make(chan error, 1)
	go func() { early <- wholeConnection(l.address, "a.example") }() // waits in the socket
	l.start()
	if err := <-early; err != nil {
		t.Errorf("who came before it was there: %v", err)
	}
	l.eventually("it says that it is ready, and well", func() bool { return m.count("READY=1,STATUS=1 listeners") == 1 && m.count("WATCHDOG=1") > 2 })
	l.await("what is not used", func(e entry) bool { return strings.Contains(e.text("socket"), unused) })

	l.reload("limits: {idle_timeout: 20m}")
	l.eventually("it says that it has reloaded", func() bool { return m.count("RELOADING=1,MONOTONIC_USEC=") == 1 && m.count("READY=1") == 2 })
	good := l.config
	l.rewrite("listeners: []")
	l.reloadFails("a bad file", "listeners")
	l.eventually("it says that it goes on", func() bool { return m.count("RELOADING=1") == 2 && m.count("READY=1") == 3 })
	l.config = good
	l.rewrite(fmt.Sprintf("listeners: [{address: %q}]", l.address))

	stays := l.dial("a.example")
	stays.wantEcho(t, "before")
	l.upgrade()
	pid := fmt.Sprintf("MAINPID=%d", l.pid())
	l.eventually("both say which process it is now", func() bool {
		return slices.Contains(m.all(), pid) && m.count(pid+",READY=1,STATUS=1 listeners") == 1 && m.count("BARRIER=1") == 1
	})
	l.visit("a.example")
	stays.wantEcho(t, "in the old process")

	// Hung, the new process is not covered by the old one.
	syscall.Kill(l.pid(), syscall.SIGSTOP)
	time.Sleep(50 * time.Millisecond)
	before := m.count("WATCHDOG=1")
	time.Sleep(time.Second)
	if more := m.count("WATCHDOG=1") - before; more > 0 {
		t.Errorf("%d signs of life of a process that hangs", more)
	}
	syscall.Kill(l.pid(), syscall.SIGCONT)
	l.eventually("the new process is well again", func() bool { return m.count("WATCHDOG=1") > before })

	waits := l.dial("a.example")
	waits.wantEcho(t, "hello")
	syscall.Kill(l.pid(), syscall.SIGTERM)
	l.eventually("it asks for time, and says for what", func() bool {
		return m.count("STOPPING=1,EXTEND_TIMEOUT_USEC=") > 0 && strings.HasSuffix(strings.Join(m.all(), ";"), "STATUS=draining: 1 connections")
	})
	waits.Close()
	stays.Close()
	l.gone(l.pid())
	l.gone(l.pids[0])
}
