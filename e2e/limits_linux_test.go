package e2e

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Connections beyond limits.connections are refused and logged; when one ends the next is served.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {connections: 10}")
	open := make([]*client, 10)
	for i := range open {
		open[i] = w.dial("a.example")
	}
	if got := w.status().Connections; got.Active != 10 || got.Limit != 10 {
		t.Errorf("%d connections of %d", got.Active, got.Limit)
	}
	if w.serves("a.example", within(time.Second)) {
		t.Error("the 11th connection was served")
	}
	for _, c := range open {
		c.wantEcho(t, "still here")
	}
	w.await("line about the limit", func(e entry) bool {
		return e.text("level") == "warn" && strings.Contains(e.text("message"), "a limit is reached")
	})
	open[0].Close()
	w.eventually("the next one is served", func() bool { return w.serves("a.example") })
}

// With no file descriptors left hellogate neither ends nor spins, and serves again as soon as there are some.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("a.example")
	var before unix.Rlimit
	lowered := unix.Rlimit{Cur: uint64(w.descriptors() + 6)}
	if err := unix.Prlimit(w.pid(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Skip(err)
	}
	lowered.Max = before.Max
	if err := unix.Prlimit(w.pid(), unix.RLIMIT_NOFILE, &lowered, nil); err != nil {
		t.Skip(err)
	}
	crowd := make([]net.Conn, 40)
	for i := range crowd {
		conn, err := net.Dial("tcp", w.address) // the kernel takes it: hellogate does not get around to accepting it
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		crowd[i] = conn
	}
	used := w.processorTime()
	time.Sleep(2 * time.Second)
	if used = w.processorTime() - used; used > time.Second {
		t.Errorf("used %v of processor time in 2s without a descriptor", used)
	}
	if w.hasEnded() {
		t.Fatal("hellogate ended")
	}
	for _, conn := range crowd {
		conn.Close()
	}
	if err := unix.Prlimit(w.pid(), unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.visit("a.example")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("recovered after %v", took)
	}
}

// No core dump holds keys: they are off.
func TestNoCoreDumps(t *testing.T) {
	t.Parallel()
	g := newWorld(t).gate
	if soft := g.proc("limits", "Max core file size"); soft != 0 {
		t.Errorf("core dumps of up to %d bytes", soft)
	}
}
