package socket

import (
	"bytes"
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// An end comes before what waits to be accepted, also between two of a crowd.
func TestEndOfAcceptBetweenTwo(t *testing.T) {
	l, at := listenOn(t, startGroup(t), "tcp", "127.0.0.1:0")
	for range 5 {
		peer, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
	}
	for range 2 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	l.End()
	left := 0
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		left++
	}
	if left != 0 && left != 3 {
		t.Errorf("%d were accepted after the end", left)
	}
	if c, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepted %v: %v", c, err)
	}
}

// A port that nobody listens on is refused, although the kernel now and then picks that same port for our own end, and
// the socket is then connected to itself.
func TestDialOfItself(t *testing.T) {
	const tries = 20_000 // one in some 14,000 meets itself, in the kernel's usual range
	g := startGroup(t)
	s := own(t, g)
	address := freePort(t)
	for began, i := time.Now(), 0; i < tries && time.Since(began) < 1500*time.Millisecond; i++ {
		c, err := g.Dial(t.Context(), s, nil, Target{Address: address, Within: patience})
		if err == nil {
			t.Errorf("try %d: %v is connected to %v", i, c.LocalAddr(), c.RemoteAddr())
			c.Close()
			return
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
}

// freePort is an address that nobody listens on, and that the kernel may pick for who dials: Linux takes even ports for
// them, odd ones for listeners.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		any, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := any.Addr().(*net.TCPAddr).Port &^ 1
		any.Close()
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if free, err := net.Listen("tcp", address); err == nil {
			free.Close()
			return address
		}
	}
	t.Skip("no port is free")
	return ""
}

// A write that failed fails again: nothing is queued for a peer that is gone.
func TestFailedWriteFailsAgain(t *testing.T) {
	for name, make := range map[string]func(*testing.T) (Conn, *Strand, *net.TCPConn){"accepted": pair, "dialed": dialPair} {
		t.Run(name, func(t *testing.T) {
			c, s, peer := make(t)
			abort(t, peer)
			time.Sleep(settled) // the poller has told of it
			until(t, s, func() bool {
				_, err := c.Write([]byte("x"))
				if err == nil {
					time.Sleep(time.Millisecond)
				}
				return err != nil
			})
			for range 3 {
				if n, err := c.Write([]byte("x")); err == nil {
					t.Errorf("wrote %d bytes to nobody", n)
				}
			}
			if c.Queued() != 0 {
				t.Errorf("%d bytes are queued", c.Queued())
			}
		})
	}
}

// What grew beyond the usual is not kept for other queues.
func TestGrownQueueIsDropped(t *testing.T) {
	for range 20 {
		var q queue
		q.add(make([]byte, 10*BufferSize))
		q.took(q.size())
	}
	for range 20 {
		next := queues.Get().(*[]byte)
		if cap(*next) > 2*BufferSize {
			t.Fatalf("a queue begins with %d bytes", cap(*next))
		}
	}
}

// Bytes before, between and behind urgent ones arrive, and the end of the stream behind them, whether the strand was
// told of them one by one or all at once.
func TestBytesAroundUrgentData(t *testing.T) {
	for _, test := range []struct {
		name   string
		pieces []string // urgent data between them
		ends   bool
	}{
		{"at first", []string{"", "behind"}, false},
		{"at last", []string{"before", ""}, true},
		{"in the middle", []string{"before", "behind"}, false},
		{"in the middle, with the end", []string{"before", "behind"}, true},
		{"behind more than a read takes", []string{string(filled(1000)), "behind"}, false},
	} {
		for _, pause := range []time.Duration{0, settled} {
			name := test.name
			if pause > 0 {
				name += ", one by one"
			}
			t.Run(name, func(t *testing.T) {
				c, s, peer := pair(t)
				var want []byte
				go func() {
					for i, piece := range test.pieces {
						if i > 0 {
							sendUrgent(t, peer)
							time.Sleep(pause)
						}
						mustWrite(t, peer, piece)
						time.Sleep(pause)
					}
					if test.ends {
						_ = peer.CloseWrite()
					}
				}()
				for _, piece := range test.pieces {
					want = append(want, piece...)
				}
				if pause == 0 {
					time.Sleep(settled)
				}
				wantBytes(t, s, c, want, test.ends)
			})
		}
	}
}

// wantBytes reads what is wanted, and the end of the stream behind it where it is to come.
func wantBytes(t *testing.T, s *Strand, c Conn, want []byte, ends bool) {
	t.Helper()
	if ends {
		if got, err := readAll(t, s, c); !bytes.Equal(got, want) || err != nil {
			t.Errorf("read %q, want %q: %v", got, want, err)
		}
		return
	}
	var got []byte
	for p := make([]byte, 100); len(got) < len(want); {
		n, err := read(t, s, c, p)
		if err != nil {
			t.Fatalf("behind %q: %v", got, err)
		}
		got = append(got, p[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}
