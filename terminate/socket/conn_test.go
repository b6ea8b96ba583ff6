package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// settled gives the kernel and the pollers time to tell of what was sent.
const settled = 30 * time.Millisecond

// What was sent is read piece by piece, then there is nothing, and what comes later wakes the strand: whether a read took
// less than it could, or exactly all there was.
func TestReads(t *testing.T) {
	for _, test := range []struct {
		name string
		size int // of a read
	}{
		{"one byte", 1},
		{"less than there is", 3},
		{"exactly what there is", 8},
		{"more than there is", 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s, peer := pair(t)
			p := make([]byte, test.size)
			for round := range 50 {
				if n, err := c.Read(p); err != ErrNothingYet {
					t.Fatalf("round %d: read %d bytes of nothing: %v", round, n, err)
				}
				text := []byte("12345678")
				if _, err := peer.Write(text); err != nil {
					t.Fatal(err)
				}
				for len(text) > 0 {
					n, err := read(t, s, c, p)
					if err != nil || n == 0 || !bytes.HasPrefix(text, p[:n]) {
						t.Fatalf("round %d: read %q of %q: %v", round, p[:n], text, err)
					}
					text = text[n:]
				}
			}
			nothingFor(t, s, settled)
		})
	}
}

// A read of nothing takes nothing.
func TestEmptyReadAndWrite(t *testing.T) {
	c, s, peer := pair(t)
	mustWrite(t, peer, "x")
	time.Sleep(settled)
	if n, err := c.Read(nil); n != 0 || err != nil && err != ErrNothingYet {
		t.Errorf("read %d: %v", n, err)
	}
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("wrote %d: %v", n, err)
	}
	if n, err := read(t, s, c, make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("read %d: %v", n, err)
	}
}

// The end of the stream is found however it comes: with the last bytes, behind a read that took them, before the first.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes int
		pause time.Duration // before the FIN
		first bool          // a read takes the bytes before the FIN comes
	}{
		{"nothing but a FIN", 0, 0, false},
		{"with the bytes", 10, 0, false},
		{"behind the bytes", 10, settled, false},
		{"behind a short read", 10, 0, true},
		{"behind an exact read", 100, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s, peer := pair(t)
			want := filled(test.bytes)
			mustWrite(t, peer, string(want))
			if test.first {
				if n, err := read(t, s, c, make([]byte, 100)); n != len(want) || err != nil {
					t.Fatalf("read %d: %v", n, err)
				}
				want = nil
			}
			time.Sleep(test.pause)
			if err := peer.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(t, s, c); !bytes.Equal(got, want) || err != nil {
				t.Errorf("read %q: %v", got, err)
			}
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the end is forgotten: %v", err)
			}
			if c.Over() {
				t.Error("half of it is still there")
			}
			nothingFor(t, s, settled)
		})
	}
}

// When a FIN has come with the bytes, the read behind them finds it at once: nothing would wake the strand for it.
func TestEndNeedsNoFurtherEvent(t *testing.T) {
	c, s, peer := pair(t)
	mustWrite(t, peer, "last words")
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(settled)
	p := make([]byte, 100)
	if n, err := read(t, s, c, p); n != 10 || err != nil {
		t.Fatalf("read %d: %v", n, err)
	}
	if _, err := read(t, s, c, p); err != io.EOF {
		t.Errorf("found %v", err)
	}
}

// Urgent data interrupts a read; what is behind it must not wait for more to come.
func TestBytesBehindUrgentData(t *testing.T) {
	c, s, peer := pair(t)
	mustWrite(t, peer, "before")
	sendUrgent(t, peer)
	mustWrite(t, peer, "behind")
	time.Sleep(settled)
	got := make([]byte, 0, 12)
	for len(got) < 12 {
		p := make([]byte, 100)
		n, err := read(t, s, c, p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p[:n]...)
	}
	if string(got) != "beforebehind" {
		t.Errorf("got %q", got)
	}
}

// A reset is told to a read, and that the connection is over; to the second that asks, too, when a write was told first.
func TestResets(t *testing.T) {
	t.Run("told to a read", func(t *testing.T) {
		c, s, peer := pair(t)
		abort(t, peer)
		if got, err := readAll(t, s, c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %q: %v", got, err)
		}
		if !c.Over() || c.Unsent() != 0 {
			t.Errorf("over %v, %d unsent", c.Over(), c.Unsent())
		}
	})
	t.Run("told to a write", func(t *testing.T) {
		c, s, peer := pair(t)
		abort(t, peer)
		until(t, s, func() bool {
			time.Sleep(time.Millisecond)
			_, err := c.Write([]byte("x"))
			if err == nil {
				err = c.Flush()
			}
			return err != nil
		})
		if !c.Over() {
			t.Error("not over")
		}
		if _, err := read(t, s, c, make([]byte, 1)); err == nil {
			t.Error("a read found something")
		}
	})
}

// A write takes everything; what the kernel doesn't take is queued, and goes when the peer reads.
func TestWriteUntilFull(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(*testing.T) (Conn, *Strand, *net.TCPConn)
		size int // of a write
	}{
		{"accepted, in large pieces", pair, 1 << 20},
		{"accepted, in small pieces", pair, 777},
		{"dialed", dialPair, 100_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s, peer := test.make(t)
			data := filled(16 << 20)
			for rest := data; len(rest) > 0; {
				n, err := c.Write(rest[:min(test.size, len(rest))])
				if err != nil || n == 0 {
					t.Fatalf("wrote %d: %v", n, err)
				}
				rest = rest[n:]
			}
			if c.Queued() == 0 {
				t.Fatal("nothing is queued: this test is in vain")
			}
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			got := make(chan []byte)
			go func() {
				all, err := io.ReadAll(peer)
				if err != nil {
					t.Error(err)
				}
				got <- all
			}()
			flushed(t, s, c)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if all := <-got; !bytes.Equal(all, data) {
				t.Errorf("%d bytes came, or others", len(all))
			}
		})
	}
}

// A peer that sees to it that the queue never runs empty does not make it grow with all that went through it.
func TestQueueOfSlowReader(t *testing.T) {
	var q queue
	q.add(filled(10_000))
	piece := make([]byte, 1000)
	for range 100_000 {
		q.add(piece)
		q.took(len(piece))
	}
	if q.size() != 10_000 {
		t.Errorf("%d bytes are queued", q.size())
	}
	if holds := cap(*q.bytes); holds > 1<<20 {
		t.Errorf("the queue of 10 KB holds %d bytes", holds)
	}
	q.drop()
}

// Bytes leave a queue in the order they came, and its memory is given back when it is empty.
func TestQueue(t *testing.T) {
	var q queue
	data := filled(300_000)
	var got []byte
	for in := 0; len(got) < len(data); {
		for range 3 {
			n := min(997, len(data)-in)
			if n > 0 {
				q.add(data[in : in+n])
			}
			in += n
		}
		n := min(1500, q.size())
		got = append(got, q.rest()[:n]...)
		q.took(n)
		if q.size() != in-len(got) {
			t.Fatalf("%d bytes are queued, %d came and %d went", q.size(), in, len(got))
		}
	}
	if !bytes.Equal(got, data) {
		t.Error("other bytes went than came")
	}
	if q.bytes != nil {
		t.Error("an empty queue holds memory")
	}
}

// What follows at once may be held back by the kernel, but not the last piece.
func TestMore(t *testing.T) {
	c, _, peer := pair(t)
	c.More(true)
	_, _ = c.Write([]byte("first "))
	c.More(false)
	_, _ = c.Write([]byte("last"))
	got := make([]byte, 10)
	began := time.Now()
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "first last" {
		t.Errorf("got %q: %v", got, err)
	}
	if took := time.Since(began); took > 150*time.Millisecond {
		t.Logf("it took %v", took)
	}
}

// CloseWrite ends one direction only.
func TestCloseWrite(t *testing.T) {
	c, s, peer := pair(t)
	_, _ = c.Write([]byte("bye"))
	flushed(t, s, c)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(peer); string(got) != "bye" || err != nil {
		t.Errorf("peer got %q: %v", got, err)
	}
	mustWrite(t, peer, "and you")
	peer.Close()
	if got, err := readAll(t, s, c); string(got) != "and you" || err != nil {
		t.Errorf("got %q: %v", got, err)
	}
}

// A closed connection is closed once, and fails what is asked of it then, rather than the program.
func TestAfterClose(t *testing.T) {
	for name, end := range map[string]func(Conn){"Close": func(c Conn) { c.Close() }, "Abort": func(c Conn) { c.Abort() }} {
		t.Run(name, func(t *testing.T) {
			c, _, peer := pair(t)
			_, _ = c.Write([]byte("x"))
			_, _ = io.ReadFull(peer, make([]byte, 1))
			end(c)
			if err := c.Close(); err != nil {
				t.Errorf("closing again: %v", err)
			}
			c.Abort()
			if n, err := c.Read(make([]byte, 1)); err == nil {
				t.Errorf("read %d bytes", n)
			}
			_, _ = c.Write([]byte("x"))
			_ = c.Flush()
			_, _, _, _ = c.Queued(), c.Unsent(), c.LocalAddr(), c.RemoteAddr()
			_ = c.CloseWrite()
			_, err := io.ReadAll(peer)
			if reset := errors.Is(err, syscall.ECONNRESET); reset != (name == "Abort") {
				t.Errorf("the peer read %v", err)
			}
		})
	}
}

// Close and Abort throw away what is queued, and don't wait for it.
func TestCloseWithQueue(t *testing.T) {
	for name, end := range map[string]func(Conn){"Close": func(c Conn) { c.Close() }, "Abort": func(c Conn) { c.Abort() }} {
		t.Run(name, func(t *testing.T) {
			c, _, peer := pair(t)
			_, _ = c.Write(make([]byte, 32<<20))
			time.Sleep(settled)
			if c.Queued() == 0 || c.Unsent() == 0 && runtime.GOOS == "linux" {
				t.Fatalf("%d queued, %d unsent: this test is in vain", c.Queued(), c.Unsent())
			}
			end(c)
			n, err := io.Copy(io.Discard, peer)
			if n == 32<<20 || name == "Abort" && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the peer read %d bytes: %v", n, err)
			}
		})
	}
}

func mustWrite(t *testing.T, to io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(to, text); err != nil {
		t.Error(err)
	}
}

// The addresses are those that the peer sees, whatever the listener was bound to.
func TestAddresses(t *testing.T) {
	for _, test := range []struct{ name, network, listen, dial string }{
		{"one address", "tcp", "127.0.0.1:0", "127.0.0.1"},
		{"every IPv4 address", "tcp4", "0.0.0.0:0", "127.0.0.2"},
		{"every address, by IPv4", "tcp", ":0", "127.0.0.3"},
		{"every address, by IPv6", "tcp", ":0", "::1"},
		{"IPv6", "tcp6", "[::1]:0", "::1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := startGroup(t)
			l, at := listenOn(t, g, test.network, test.listen)
			_, port, _ := net.SplitHostPort(at.String())
			peer, err := net.Dial("tcp", net.JoinHostPort(test.dial, port))
			if err != nil {
				t.Skip(err)
			}
			defer peer.Close()
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.LocalAddr().String() != peer.RemoteAddr().String() || c.RemoteAddr().String() != peer.LocalAddr().String() {
				t.Errorf("from %v to %v, the peer says %v and %v", c.RemoteAddr(), c.LocalAddr(), peer.LocalAddr(), peer.RemoteAddr())
			}
			if strings.HasPrefix(c.LocalAddr().String(), "[::ffff") {
				t.Errorf("an IPv4 address as %v", c.LocalAddr())
			}
		})
	}
}

func sendUrgent(t *testing.T, peer *net.TCPConn) {
	t.Helper()
	raw, err := peer.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(raw.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil) }), err); err != nil {
		t.Skip(err)
	}
}
