package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

const megabytes4 = 4 << 20

// blanks writes n bytes.
func blanks(w io.Writer, n int64) error {
	_, err := io.CopyN(w, zeros{}, n)
	return err
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// The client sends 4 MB, says that it is done, and then reads: every byte comes back, and a clean end.
func TestClientHalfCloses(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.backend.does(func(p *peer) {
				defer p.Close()
				n, err := io.Copy(io.Discard, p)
				if n != megabytes4 || err != nil {
					t.Errorf("the backend read %d bytes: %v", n, err)
				}
				if err := blanks(p, n); err != nil {
					t.Errorf("the backend sends: %v", err)
				}
			})
			c := w.dial("a.example", maxVersion(version))
			if err := blanks(c, megabytes4); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, c); n != megabytes4 || err != nil || !c.wire.closedCleanly() {
				t.Errorf("read %d bytes: %v; close_notify: %v", n, err, c.wire.closedCleanly())
			}
			if e := w.accessOf(c); e.text("reason") != "ok" || e.number("bytes_in") != megabytes4 || e.number("bytes_out") != megabytes4 {
				t.Errorf("logged %v, %v bytes in, %v out", e["reason"], e["bytes_in"], e["bytes_out"])
			}
		})
	}
}

// The backend sends 4 MB and FIN: the client gets them and close_notify, and what it sends later still arrives.
func TestBackendHalfCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := make(chan int64, 1)
	w.backend.does(func(p *peer) {
		defer p.Close()
		blanks(p, megabytes4)
		p.CloseWrite()
		n, err := io.Copy(io.Discard, p)
		if err != nil {
			t.Errorf("the backend reads: %v", err)
		}
		got <- n
	})
	c := w.dial("a.example")
	if n, err := io.Copy(io.Discard, c); n != megabytes4 || err != nil || !c.wire.closedCleanly() {
		t.Errorf("read %d bytes: %v", n, err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := blanks(c, megabytes4); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := <-got; n != megabytes4 {
		t.Errorf("the backend got %d bytes after it had ended its own side", n)
	}
}

// A reset by the client becomes a reset at the backend, behind what was sent before.
func TestClientResets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.does(leave)
	c := w.dial("a.example")
	io.WriteString(c, "last words")
	p := w.backend.next(t)
	defer p.Close()
	if _, err := io.ReadFull(p, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	c.abort()
	if n, err := io.Copy(io.Discard, p); !isReset(err) {
		t.Errorf("the backend read %d bytes and %v, want a reset", n, err)
	}
	w.access("reason", "client_reset")
}

// A reset by the backend becomes a reset at the client and no close_notify, behind what was sent before, also when the
// client reads that only later.
func TestBackendResets(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]time.Duration{"reading": 0, "reading later": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.backend.does(func(p *peer) {
				blanks(p, 100_000)
				time.Sleep(200 * time.Millisecond) // hellogate reads it
				p.abort()
			})
			c := w.dial("a.example")
			time.Sleep(pause)
			n, err := io.Copy(io.Discard, c)
			if n != 100_000 || !isReset(err) || c.wire.closedCleanly() {
				t.Errorf("read %d bytes and %v, want 100000 and a reset", n, err)
			}
			w.access("reason", "server_reset")
		})
	}
}

// A bare FIN from the client is passed on as FIN and logged as truncated; the backend's answer still gets through.
func TestBareFINIsTruncation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.dial("a.example")
	io.WriteString(c, "unfinished")
	c.wire.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "unfinished" || err != nil {
		t.Errorf("got %q: %v", got, err)
	}
	if e := w.accessOf(c); e.text("reason") != "truncated" {
		t.Errorf("reason %q, want truncated", e.text("reason"))
	}
	orderly := w.dial("a.example")
	orderly.wantEcho(t, "finished")
	orderly.Close()
	if e := w.accessOf(orderly); e.text("reason") != "ok" {
		t.Errorf("reason %q after close_notify, want ok", e.text("reason"))
	}
}

// A client that stops reading for 30 s at the end of the stream gets all of it then, and close_notify behind it.
func TestStalledReaderGetsEverything(t *testing.T) {
	t.Parallel()
	stall := 30 * time.Second
	if testing.Short() {
		stall = 7 * time.Second
	}
	w := newWorld(t)
	const size = 8 << 20
	w.backend.does(func(p *peer) {
		defer p.Close()
		blanks(p, size)
	})
	c := w.dial("a.example", within(stall+2*patience), func(_ *tls.Config, w *wire) { w.SetReadBuffer(256 << 10) })
	time.Sleep(stall)
	if n, err := io.Copy(io.Discard, c); n != size || err != nil || !c.wire.closedCleanly() {
		t.Errorf("read %d bytes of %d: %v; close_notify: %v", n, size, err, c.wire.closedCleanly())
	}
	c.Close()
	if e := w.accessOf(c); e.text("reason") != "ok" {
		t.Errorf("reason %q, want ok", e.text("reason"))
	}
}

// Neither a client nor a backend that does not read makes hellogate hold what the other sends.
func TestBackpressure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.does(leave)
	c := w.dial("a.example")
	p := w.backend.next(t)
	defer p.Close()
	before := w.memory()
	for _, sender := range []net.Conn{c, p} {
		sender.SetWriteDeadline(time.Now().Add(time.Second))
		if err := blanks(sender, 1<<30); !isTimeout(err) {
			t.Errorf("sending to one who does not read: %v", err)
		}
	}
	if grown := w.memory() - before; grown > 16<<20 && !withRace {
		t.Errorf("memory grew by %d bytes", grown)
	}
	c.abort()
}

// A backend that speaks first is heard by a client that says nothing.
func TestBackendSpeaksFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.does(func(p *peer) {
		defer p.Close()
		io.WriteString(p, "* OK ready\r\n")
	})
	if got, err := io.ReadAll(w.dial("a.example")); string(got) != "* OK ready\r\n" || err != nil {
		t.Errorf("got %q: %v", got, err)
	}
}

// Bytes that the client sends right behind its Finished, and its end, in one go, all arrive.
func TestDataBehindHandshake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := make(chan string, 1)
	w.backend.does(func(p *peer) {
		defer p.Close()
		text, _ := io.ReadAll(p)
		got <- string(text)
	})
	c := w.dial("a.example")
	io.WriteString(c, "all at once")
	c.Close()
	if text := <-got; text != "all at once" {
		t.Errorf("the backend got %q", text)
	}
}

// A connection on which nothing happens is closed after idle_timeout, one that half of is closed after half_close_timeout.
func TestIdleTimeouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {idle_timeout: 1s, half_close_timeout: 500ms}")
	w.backend.does(func(p *peer) { io.Copy(io.Discard, p); time.Sleep(patience); p.Close() })
	for name, end := range map[string]func(*client){"idle": func(*client) {}, "half closed": func(c *client) { c.CloseWrite() }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := w.dial("a.example")
			end(c)
			began := time.Now()
			io.Copy(io.Discard, c)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("closed after %v", took)
			}
			if e := w.accessOf(c); e.text("reason") != "idle" {
				t.Errorf("reason %q, want idle", e.text("reason"))
			}
		})
	}
}

// Connections leave nothing behind: after 200 of every kind, as many files are open as before.
func TestNoDescriptorLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.on("gone.example", status(404))
	w.visit("a.example")
	before := w.descriptors()
	for i := range 200 {
		switch i % 4 {
		case 0:
			w.visit("a.example")
		case 1:
			w.dial("a.example").abort()
		case 2:
			w.refused("gone.example", alertUnrecognizedName)
		case 3:
			exchange(t, w.address, []byte("hello?\n"))
		}
	}
	w.eventually("the files are closed", func() bool { return w.descriptors() <= before+2 })
	w.eventually("no connection is counted as open", func() bool { return w.status().Connections.Active == 0 })
}
