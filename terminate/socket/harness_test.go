package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that should happen at once.
const patience = 10 * time.Second

func startGroup(t *testing.T) *Group {
	t.Helper()
	g, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// own makes a strand of the group that the test's goroutine runs.
func own(t *testing.T, g *Group) *Strand {
	s := &Strand{}
	g.Begin(s, func(bool) Progress { panic("the test runs this strand") })
	t.Cleanup(s.end)
	return s
}

// until waits on the strand until done is true.
func until(t *testing.T, s *Strand, done func() bool) {
	t.Helper()
	s.SetDeadline(time.Now().Add(patience))
	defer s.SetDeadline(time.Time{})
	for !done() {
		if err := s.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// read reads once, as soon as there is something.
func read(t *testing.T, s *Strand, c Conn, p []byte) (n int, err error) {
	t.Helper()
	until(t, s, func() bool { n, err = c.Read(p); return err != ErrNothingYet })
	return n, err
}

// readAll reads to the end of the stream, or to an error.
func readAll(t *testing.T, s *Strand, c Conn) (got []byte, err error) {
	t.Helper()
	p := make([]byte, 100)
	for err == nil {
		var n int
		n, err = read(t, s, c, p)
		got = append(got, p[:n]...)
	}
	if err == io.EOF {
		err = nil
	}
	return got, err
}

// flushed waits until nothing is queued.
func flushed(t *testing.T, s *Strand, c Conn) {
	t.Helper()
	until(t, s, func() bool {
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		return c.Queued() == 0
	})
}

// listenOn returns a Listener and the address that it is reached at.
func listenOn(t *testing.T, g *Group, network, address string) (*Listener, net.Addr) {
	t.Helper()
	raw, err := net.Listen(network, address)
	if err != nil {
		t.Skip(err)
	}
	l, err := g.Listen(raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.End(); l.Close() })
	return l, raw.Addr()
}

// pair is a connection under test, its strand, which the test's goroutine runs, and its peer.
func pair(t *testing.T) (Conn, *Strand, *net.TCPConn) {
	t.Helper()
	g := startGroup(t)
	c, s, peer := pairOf(t, g, "tcp", "127.0.0.1:0")
	return c, s, peer.(*net.TCPConn)
}

// dialPair is a pair whose connection was dialed.
func dialPair(t *testing.T) (Conn, *Strand, *net.TCPConn) {
	t.Helper()
	g := startGroup(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := own(t, g)
	c, err := g.Dial(t.Context(), s, nil, Target{Address: l.Addr().String(), Within: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c, s, prepare(t, peer).(*net.TCPConn)
}

func pairOf(t *testing.T, g *Group, network, address string) (Conn, *Strand, net.Conn) {
	t.Helper()
	l, at := listenOn(t, g, network, address)
	peer, err := net.Dial(network, at.String())
	if err != nil {
		t.Fatal(err)
	}
	prepare(t, peer)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s := own(t, g)
	if err := Attach(c, s); err != nil {
		t.Fatal(err)
	}
	return c, s, peer
}

func prepare(t *testing.T, peer net.Conn) net.Conn {
	t.Cleanup(func() { peer.Close() })
	_ = peer.SetDeadline(time.Now().Add(patience))
	return peer
}

// abort resets the connection.
func abort(t *testing.T, peer *net.TCPConn) {
	t.Helper()
	if err := errors.Join(peer.SetLinger(0), peer.Close()); err != nil {
		t.Error(err)
	}
}

// filled is n bytes that are not all alike.
func filled(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7 >> 3)
	}
	return p
}

// nothingFor checks that the strand is not woken for a while, in which nothing happens to it.
func nothingFor(t *testing.T, s *Strand, while time.Duration) {
	t.Helper()
	s.SetDeadline(time.Now().Add(while))
	defer s.SetDeadline(time.Time{})
	for woken := 0; ; woken++ {
		switch err := s.Wait(); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil:
			t.Fatal(err)
		case woken > 3: // a few are the timer's, and what was told before
			t.Fatal("woken again and again")
		}
	}
}
