package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// relayed are connections of kinds that a relay carries.
func relayed(t *testing.T) map[string]func(*testing.T) (Conn, *Strand, net.Conn) {
	return map[string]func(*testing.T) (Conn, *Strand, net.Conn){
		"pipe": func(t *testing.T) (Conn, *Strand, net.Conn) {
			near, far := net.Pipe()
			return relayOf(t, near, prepare(t, far))
		},
		"unix socket": func(t *testing.T) (Conn, *Strand, net.Conn) {
			return pairOf(t, startGroup(t), "unix", t.TempDir()+"/s")
		},
		"TCP": func(t *testing.T) (Conn, *Strand, net.Conn) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			far, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			near, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return relayOf(t, near, prepare(t, far))
		},
	}
}

func relayOf(t *testing.T, near, far net.Conn) (Conn, *Strand, net.Conn) {
	r := &relay{Conn: near}
	t.Cleanup(func() { r.Close() })
	s := own(t, startGroup(t))
	if err := Attach(r, s); err != nil {
		t.Fatal(err)
	}
	return r, s, far
}

// eachRelayed runs a test on a connection of each kind.
func eachRelayed(t *testing.T, test func(t *testing.T, c Conn, s *Strand, peer net.Conn)) {
	for name, make := range relayed(t) {
		t.Run(name, func(t *testing.T) {
			c, s, peer := make(t)
			test(t, c, s, peer)
		})
	}
}

// Bytes go both ways, in order and all of them, and the end of the stream behind them.
func TestRelay(t *testing.T) {
	eachRelayed(t, func(t *testing.T, c Conn, s *Strand, peer net.Conn) {
		data := filled(1 << 20)
		go func() { _, _ = io.Copy(peer, peer); peer.Close() }()
		if n, err := c.Write(data); n != len(data) || err != nil {
			t.Fatalf("wrote %d: %v", n, err)
		}
		c.More(true)
		c.More(false)
		c.KeepAlive(time.Second)
		c.SetUserTimeout(time.Second)
		got := make([]byte, len(data))
		for n := 0; n < len(got); {
			k, err := read(t, s, c, got[n:min(n+1000, len(got))])
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
		if !bytes.Equal(got, data) {
			t.Error("other bytes came back")
		}
		flushed(t, s, c)
		if c.Over() || c.Unsent() != 0 && !isTCP(peer) {
			t.Errorf("over %v, %d unsent", c.Over(), c.Unsent())
		}
		if err := errors.Join(c.SetDeadline(time.Unix(1, 0)), c.SetReadDeadline(time.Unix(1, 0)), c.SetWriteDeadline(time.Unix(1, 0))); err != nil {
			t.Error(err)
		}
		if err := c.CloseWrite(); err != nil {
			_ = c.Close() // a pipe has no halves
			return
		}
		if rest, err := readAll(t, s, c); len(rest) > 0 || err != nil {
			t.Errorf("at the end %q: %v", rest, err)
		}
	})
}

func isTCP(conn net.Conn) bool { _, ok := conn.(*net.TCPConn); return ok }

// Closing sets free who waits in a read or in a write, and waits for them.
func TestCloseOfRelay(t *testing.T) {
	for name, end := range map[string]func(Conn){"Close": func(c Conn) { c.Close() }, "Abort": func(c Conn) { c.Abort() }} {
		t.Run(name, func(t *testing.T) {
			eachRelayed(t, func(t *testing.T, c Conn, s *Strand, peer net.Conn) {
				if n, err := c.Write(make([]byte, 32<<20)); n != 32<<20 || err != nil {
					t.Fatal(n, err)
				}
				if n, err := c.Read(make([]byte, 1)); err != ErrNothingYet {
					t.Fatalf("read %d: %v", n, err)
				}
				if c.Queued() == 0 {
					t.Fatal("nothing is queued: this test is in vain")
				}
				end(c)
				if err := c.Close(); err != nil {
					t.Errorf("closing again: %v", err)
				}
				if n, err := io.Copy(io.Discard, peer); n == 32<<20 || name == "Abort" && isTCP(peer) && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the peer read %d bytes: %v", n, err)
				}
			})
		})
	}
}

// What is asked of a closed relay fails, rather than the program, also where its reader had found something before.
func TestRelayAfterClose(t *testing.T) {
	eachRelayed(t, func(t *testing.T, c Conn, s *Strand, peer net.Conn) {
		go func() { _, _ = peer.Write([]byte("x")) }()
		if n, err := read(t, s, c, make([]byte, 1)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		_ = c.Close() // its reader has not been asked again
		if n, err := c.Read(make([]byte, 1)); err == nil || err == ErrNothingYet {
			t.Errorf("read %d: %v", n, err)
		}
		_, _ = c.Write([]byte("x"))
		_, _, _, _ = c.Flush(), c.Queued(), c.Unsent(), c.Over()
	})
}

// A peer that goes away is told to who writes and who reads, and what is queued for it is forgotten.
func TestPeerOfRelayCloses(t *testing.T) {
	eachRelayed(t, func(t *testing.T, c Conn, s *Strand, peer net.Conn) {
		_, _ = c.Write(make([]byte, 8<<20))
		peer.Close()
		until(t, s, func() bool { return c.Flush() != nil })
		if c.Queued() != 0 {
			t.Errorf("%d bytes are still queued", c.Queued())
		}
		if n, err := c.Write([]byte("x")); err == nil {
			t.Errorf("wrote %d", n)
		}
		if n, err := read(t, s, c, make([]byte, 1)); err == nil {
			t.Errorf("read %d", n)
		}
	})
}

// One that was never attached, as beyond the limit of connections, closes as well.
func TestRelayNeverAttached(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	r := &relay{Conn: near}
	r.Abort()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
