package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	roleVariable    = "HANDOVER_TEST_ROLE"
	addressVariable = "HANDOVER_TEST_ADDRESS"
	noLinger        = "GORACE=atexit_sleep_ms=0" // a second each, with -race
)

// TestMain has the test binary be the new program, too: the role says which.
func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		goleak.VerifyTestMain(m)
	}
	time.AfterFunc(30*time.Second, func() { os.Exit(99) }) // nothing outlives a test that went wrong
	roles[role]()
	os.Exit(0)
}

// bench is an old process under test: this one.
type bench struct {
	t        *testing.T
	front    net.Listener
	address  string
	released atomic.Int32
	resumed  atomic.Int32
	state    State // besides the front
	options  Options
}

func newBench(t *testing.T, role string, change func(*bench)) *bench {
	t.Helper()
	program, err := ThisProgram()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, front: listenTCP(t, "127.0.0.1:0")}
	b.address = b.front.Addr().String()
	b.options = Options{
		Program:     program,
		Environment: append(os.Environ(), roleVariable+"="+role, addressVariable+"="+b.address, noLinger),
		Release:     b.release,
		Resume:      func() { b.resumed.Add(1) },
	}
	if change != nil {
		change(b)
	}
	return b
}

func (b *bench) release(context.Context) (State, error) {
	b.released.Add(1)
	state := b.state
	state.Listeners = append(slices.Clone(state.Listeners), Listener{b.address, b.front})
	state.Sections = maps.Clone(state.Sections)
	return state, nil
}

// upgrade hands over to a process that answers with what it was told to, and closes the front here.
func (b *bench) upgrade() (pid int) {
	b.t.Helper()
	pid, err := NewUpgrader(b.options).Upgrade(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	b.front.Close()
	b.t.Cleanup(func() { ask(b.address, "stop") })
	return pid
}

func listenTCP(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// ask sends a question and returns the answer.
func ask(address, question string) (string, error) {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	conn, err := net.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return exchange(conn, question)
}

func exchange(conn net.Conn, question string) (string, error) {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintln(conn, question); err != nil {
		return "", err
	}
	var answer []byte
	var one [1]byte
	for {
		if _, err := io.ReadFull(conn, one[:]); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(answer), nil
		}
		answer = append(answer, one[0])
	}
}

// descriptors counts those of this process.
func descriptors() int {
	directory, err := os.Open("/dev/fd")
	if err != nil {
		return -1
	}
	defer directory.Close()
	names, _ := directory.Readdirnames(-1)
	return len(names)
}

// alive reports whether a process runs. One that nobody has waited for does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) {
		return syscall.Kill(pid, 0) == nil && !haveProc()
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

func haveProc() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}
