package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SIGTERM during transfers: no new connection is taken, those that are open go on to their end, exit code 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {drain_timeout: 20s}")
	c := w.dial("a.example")
	c.wantEcho(t, "before")
	w.terminate()
	w.eventually("nobody listens any more", func() bool {
		conn, err := net.Dial("tcp", w.address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	go func() { blanks(c, megabytes4); c.CloseWrite() }()
	if n, err := io.Copy(io.Discard, c); n != megabytes4 || err != nil || !c.wire.closedCleanly() {
		t.Errorf("after SIGTERM %d bytes came back: %v", n, err)
	}
	w.stop()
}

// What does not end within drain_timeout is cut, with a reset, and the exit code is still 0.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {drain_timeout: 1s}")
	c := w.dial("a.example")
	c.wantEcho(t, "hello")
	began := time.Now()
	w.terminate()
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	w.stop()
	if took := time.Since(began); took < 900*time.Millisecond || took > 5*time.Second {
		t.Errorf("ended after %v, want 1s", took)
	}
}

// A second signal ends it at once. One right behind the first is taken for the same: supervisors send it twice.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {drain_timeout: 1m}")
	w.dial("a.example").wantEcho(t, "hello")
	w.terminate()
	w.await("start of the drain", func(e entry) bool { return e.text("message") == "draining" })
	w.command.Process.Signal(syscall.SIGTERM)
	time.Sleep(2 * time.Second)
	if w.hasEnded() {
		t.Error("it took one signal that was sent twice for two")
	}
	w.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.ended:
		w.stopped.Store(true)
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

// An idle hellogate, and one with a handshake that never comes, ends at once on SIGTERM.
func TestShutdownIsQuick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	w.stop()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := os.Lstat(w.control); !os.IsNotExist(err) {
		t.Errorf("the control socket is still there: %v", err)
	}
}

// SIGTERM ends fetches that are under way.
func TestShutdownDuringFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {lookup_timeout: 60s}", "limits: {drain_timeout: 500ms, handshake_timeout: 60s}")
	w.store.on("slow.example", hang)
	go w.serves("slow.example")
	w.eventually("the store is asked", func() bool { return len(w.store.requests("slow.example")) == 1 })
	began := time.Now()
	w.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// A log that nobody reads does not hold up traffic.
func TestBlockedLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := configured(t, usesStore(w.store), usesBackend(w.backend.address))
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	g.runWith(writer, "run", "--config", g.config)
	writer.Close()
	began := time.Now()
	for range 400 { // of at least 400 bytes each: more than the 64 KB that a pipe holds
		g.visit("a.example", classical)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("400 connections took %v", took)
	}
	go io.Copy(io.Discard, reader)
}

// What can not start says why in one line, and exits with 1.
func TestStartErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fallback := ca().issue([]string{"fallback.invalid"})
	folder := t.TempDir()
	certFile, keyFile := fallback.write(t, folder, "fallback")
	_, otherKey := ca().issue([]string{"other.invalid"}).write(t, folder, "other")
	missing := filepath.Join(folder, "missing.key")
	for name, test := range map[string]struct{ overrides, want string }{
		"port in use":        {fmt.Sprintf("listeners: [{address: %q}]", w.address), w.address},
		"missing key":        {fmt.Sprintf("fallback: {cert_file: %q, key_file: %q}", certFile, missing), missing},
		"another's key":      {fmt.Sprintf("fallback: {cert_file: %q, key_file: %q}", certFile, otherKey), "fallback"},
		"key for a chain":    {fmt.Sprintf("fallback: {cert_file: %q, key_file: %q}", keyFile, keyFile), keyFile},
		"missing token file": {fmt.Sprintf("stores: [{http: {url: %q, token_file: %q}}]", w.store.url(), missing), missing},
		"missing folder":     {fmt.Sprintf("stores: [{dir: {path: %q}}]", missing), missing},
		"live socket":        {fmt.Sprintf("control: {socket: %q}", w.control), w.control},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := configured(t, usesStore(w.store), usesBackend(w.backend.address), test.overrides)
			got := command(t, "run", "--config", g.config)
			if got.code != 1 || !strings.Contains(got.stderr, test.want) {
				t.Errorf("exit %d, want 1 and %q in:\n%s", got.code, test.want, got.stderr)
			}
			wantNoSecrets(t, "the error", got.stderr)
		})
	}
	t.Cleanup(func() { w.visit("a.example") })
}

// A key file without its certificate is one line about both.
func TestKeyWithoutCertificate(t *testing.T) {
	t.Parallel()
	_, keyFile := ca().issue([]string{"fallback.invalid"}).write(t, t.TempDir(), "fallback")
	g := configured(t, usesStore(newStore(t)), usesBackend("127.0.0.1:9"), fmt.Sprintf("fallback: {key_file: %q}", keyFile))
	got := command(t, "run", "--config", g.config)
	if got.code != 1 || !strings.Contains(got.stderr, "cert_file") {
		t.Errorf("exit %d:\n%s", got.code, got.stderr)
	}
}
