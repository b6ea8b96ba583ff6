package handover

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUpgradeAgainAfterFailure(t *testing.T) {
	b := newBench(t, "refuses late", nil)
	upgrader := NewUpgrader(b.options)
	if _, err := upgrader.Upgrade(t.Context()); err == nil {
		t.Fatal("no error")
	}
	upgrader.options.Environment = append(upgrader.options.Environment, roleVariable+"=good")
	pid, err := upgrader.Upgrade(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.front.Close()
	defer ask(b.address, "stop")
	if answer, err := ask(b.address, "pid"); answer != strconv.Itoa(pid) {
		t.Errorf("answered by process %q (%v), want %d", answer, err, pid)
	}
	if _, err := upgrader.Upgrade(t.Context()); !errors.Is(err, ErrDone) {
		t.Errorf("a further upgrade: %v, want ErrDone", err)
	}
}

func TestUpgradeOneAtATime(t *testing.T) {
	b := newBench(t, "hangs", nil)
	upgrader := NewUpgrader(b.options)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := upgrader.Upgrade(ctx)
		first <- err
	}()
	eventually(t, "busy", func() bool {
		if upgrader.running.TryLock() {
			upgrader.running.Unlock()
			return false
		}
		return true
	})
	if _, err := upgrader.Upgrade(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("a second upgrade: %v, want ErrBusy", err)
	}
	cancel()
	err := <-first
	if err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("cancelled: %v", err)
	}
	if pid := pidIn(err); pid == 0 || alive(pid) {
		t.Errorf("process %d lives on", pid)
	}
}

// The end of the context between two steps ends the upgrade, too.
func TestUpgradeEndsDuringRelease(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := newBench(t, "good", nil)
	b.options.Release = func(context.Context) (State, error) {
		cancel()
		return b.release(ctx)
	}
	if _, err := NewUpgrader(b.options).Upgrade(ctx); err == nil {
		t.Error("no error")
	}
	if resumed := b.resumed.Load(); resumed != 1 {
		t.Errorf("resumed %d times", resumed)
	}
	acceptsHere(t, b)
}

func TestStateArrives(t *testing.T) {
	small, large := []byte("a secret"), bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	want := map[string]string{
		"state small": fmt.Sprintf("%x", sha256.Sum256(small)),
		"state large": fmt.Sprintf("%x", sha256.Sum256(large)),
		"state empty": fmt.Sprintf("%x", sha256.Sum256(nil)),
		"state after": "true",
		"file":        "kept",
		"unused":      `["other" "spare"]`,
	}
	path := filepath.Join(t.TempDir(), "note")
	if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	note, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer note.Close()
	other := listenTCP(t, "127.0.0.1:0")
	want["unused"] = fmt.Sprintf("%q", []string{"other: " + other.Addr().String(), "spare"})
	spare, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer spare.Close()
	b := newBench(t, "good", func(b *bench) {
		b.state = State{
			Listeners: []Listener{{"other", other}},
			Files:     map[string]*os.File{"note": note, "spare": spare},
			Sections:  map[string][]byte{"small": small, "large": large, "empty": {}},
		}
	})
	pid := b.upgrade()
	want["pid"] = strconv.Itoa(pid)
	want["parent"] = strconv.Itoa(os.Getpid())
	for question, answer := range want {
		if got, err := ask(b.address, question); got != answer {
			t.Errorf("%s: %q (%v), want %q", question, got, err, answer)
		}
	}
	if !bytes.Equal(small, make([]byte, len(small))) || !bytes.Equal(large, make([]byte, len(large))) {
		t.Error("a section was not cleared in the old process")
	}
}

// What waits in the accept queue of a listener is served by the new process.
func TestAcceptQueueIsKept(t *testing.T) {
	b := newBench(t, "good", nil)
	var waiting []net.Conn
	for range 50 {
		conn, err := net.Dial("tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		waiting = append(waiting, conn)
	}
	pid := b.upgrade()
	for i, conn := range waiting {
		if answer, err := exchange(conn, "pid"); answer != strconv.Itoa(pid) {
			t.Fatalf("connection %d: answer %q, %v", i, answer, err)
		}
	}
}

// A descriptor that is passed on must not become a blocking one: it would be so in both processes.
func TestSocketsStayNonblocking(t *testing.T) {
	ours, theirs, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.close()
	defer theirs.Close()
	front := listenTCP(t, "127.0.0.1:0")
	if err := ours.sendState(&State{Listeners: []Listener{{"front", front}}}); err != nil {
		t.Fatal(err)
	}
	raw, err := front.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %x, %v", flags, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoDescriptorsAreLeft(t *testing.T) {
	b := newBench(t, "", nil)
	run := func(role string) {
		options := b.options
		options.Environment = append(options.Environment, roleVariable+"="+role)
		if _, err := NewUpgrader(options).Upgrade(t.Context()); err == nil {
			for answer := ""; answer != "stopped"; {
				answer, _ = ask(b.address, "stop")
			}
		}
	}
	run("exits")
	before := descriptors()
	for _, role := range []string{"exits", "refuses", "refuses late", "exits late", "deaf", "good", "good"} {
		run(role)
		if after := descriptors(); after != before {
			t.Errorf("%s: %d descriptors, had %d", role, after, before)
		}
	}
}

// The new process has open what it asked for, and nothing else.
func TestUnusedDescriptorsAreClosed(t *testing.T) {
	counts := map[int]string{}
	for _, more := range []int{0, 5} {
		b := newBench(t, "good", func(b *bench) {
			for range more {
				l := listenTCP(t, "127.0.0.1:0")
				b.state.Listeners = append(b.state.Listeners, Listener{l.Addr().String(), l})
			}
			if more > 0 {
				b.state.Files = map[string]*os.File{"null": os.Stderr}
			}
		})
		b.upgrade()
		count, err := ask(b.address, "descriptors")
		if err != nil {
			t.Fatal(err)
		}
		counts[more] = count
	}
	if counts[0] != counts[5] {
		t.Errorf("descriptors of the new process: %v", counts)
	}
}

func TestProcessOne(t *testing.T) {
	if err := possible(1); err == nil {
		t.Error("no error for process 1")
	}
	if err := possible(2); err != nil {
		t.Error(err)
	}
}
