package e2e

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
)

// A server that is down is passed over: the connection goes to the next one.
func TestNextServer(t *testing.T) {
	t.Parallel()
	down := freeAddress(t)
	w := newWorld(t)
	g := start(t, usesStore(w.store), usesBackend(down, w.backend.address))
	for range 4 {
		c := g.dial("a.example")
		c.wantEcho(t, "hello")
		c.Close()
		if got := g.accessOf(c).text("server"); got != w.backend.address {
			t.Errorf("server %q in the log, want %q", got, w.backend.address)
		}
	}
}

// With no server left the client gets a reset, and the log says which were tried and why they failed.
func TestNoServerLeft(t *testing.T) {
	t.Parallel()
	first, second := freeAddress(t), freeAddress(t)
	g := start(t, usesStore(newStore(t)), usesBackend(first, second))
	c := g.dial("a.example")
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	text := fmt.Sprint(g.access("reason", "no_backend"))
	for _, want := range []string{first, second, syscall.ECONNREFUSED.Error()} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}

// A backend that comes back is used again.
func TestBackendComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("a.example")
	w.backend.stop()
	if _, err := io.ReadAll(w.dial("a.example")); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	w.backend.start()
	w.visit("a.example")
}

// Connections go round the servers.
func TestRoundRobin(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newBackend(t, echo)
	g := start(t, usesStore(w.store), usesBackend(w.backend.address, other.address))
	for range 10 {
		g.visit("a.example")
	}
	if first, second := len(w.backend.accepted), len(other.accepted); first != 5 || second != 5 {
		t.Errorf("%d and %d connections, want 5 and 5", first, second)
	}
}

// A backend that dies with unread data in the middle of a transfer: the client gets an error and no clean end.
func TestBackendDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.does(func(p *peer) {
		io.ReadFull(p, make([]byte, 1))
		blanks(p, 1<<20)
		p.Close() // what the client sent is unread: the kernel resets, as it does for a process that was killed
	})
	c := w.dial("a.example")
	io.WriteString(c, strings.Repeat("x", 100_000))
	if n, err := io.Copy(io.Discard, c); !isReset(err) || c.wire.closedCleanly() {
		t.Errorf("read %d bytes and %v, want a reset", n, err)
	}
}
