package systemd

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const roleVariable = "SYSTEMD_TEST_ROLE"

// TestMain has the test binary be a service that was given sockets, too.
func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		service()
		return
	}
	goleak.VerifyTestMain(m)
}

// service answers what it was given for the addresses that are its arguments: it reads its own process id, which it can't be
// given before it is there, as a shell would.
func service() {
	if os.Getenv(roleVariable) == "mine" {
		os.Setenv(pidVariable, fmt.Sprint(os.Getpid()))
	}
	given, err := Sockets()
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	for _, variable := range []string{pidVariable, countVariable, namesVariable, pidIDVariable} {
		if _, left := os.LookupEnv(variable); left {
			fmt.Println("left:", variable)
		}
	}
	for _, address := range strings.Fields(os.Getenv("SYSTEMD_TEST_ADDRESSES")) {
		network := "tcp"
		if address[0] == '/' {
			network = "unix"
		}
		if listener, found := given.Listener(network, address); found {
			fmt.Println("found:", listener.Addr())
			listener.Close()
		}
	}
	for fd := firstDescriptor; fd < firstDescriptor+3; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fmt.Println("inherited by what it starts:", fd)
		}
	}
	for _, unused := range given.CloseUnused() {
		fmt.Println("unused:", unused)
	}
}

// manager is a service manager that takes messages.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	name string
}

func newManager(t *testing.T, abstract bool) *manager {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	if abstract {
		name = fmt.Sprintf("@hellogate-test-%d-%s", os.Getpid(), t.Name())
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv(socketVariable, name)
	return &manager{t: t, conn: conn, name: name}
}

// notifier is one that was told of the manager.
func (m *manager) notifier() *Notifier {
	m.t.Helper()
	n, err := NewNotifier()
	if err != nil || n == nil {
		m.t.Fatal(n, err)
	}
	return n
}

// next is the next message, "" if there is none for a while. Descriptors that come with it are closed when close says so.
func (m *manager) next(wait time.Duration, closes bool) string {
	m.t.Helper()
	m.conn.SetReadDeadline(time.Now().Add(wait))
	text, control := make([]byte, 4096), make([]byte, 64)
	n, controls, _, _, err := m.conn.ReadMsgUnix(text, control)
	if err != nil {
		return ""
	}
	messages, _ := unix.ParseSocketControlMessage(control[:controls])
	for _, message := range messages {
		descriptors, _ := unix.ParseUnixRights(&message)
		for _, fd := range descriptors {
			if closes {
				unix.Close(fd)
			} else {
				m.t.Cleanup(func() { unix.Close(fd) })
			}
		}
	}
	return string(text[:n])
}

func lines(text string) (all []string) {
	for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
		all = append(all, scanner.Text())
	}
	return all
}
