package socket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Accept ends when it is told to, whether it waits or not.
func TestEndOfAccept(t *testing.T) {
	t.Run("while it waits", func(t *testing.T) {
		l, _ := listenOn(t, startGroup(t), "tcp", "127.0.0.1:0")
		time.AfterFunc(settled, l.End)
		if c, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepted %v: %v", c, err)
		}
	})
	t.Run("before it waits", func(t *testing.T) {
		l, _ := listenOn(t, startGroup(t), "tcp", "127.0.0.1:0")
		l.End()
		if c, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepted %v: %v", c, err)
		}
	})
	// Those who connected before are served; where goroutines do the waiting, the system has closed the listener.
	t.Run("with connections to take", func(t *testing.T) {
		l, at := listenOn(t, startGroup(t), "tcp", "127.0.0.1:0")
		for range 3 {
			peer, err := net.Dial("tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
		}
		l.End()
		accepted := 0
		c, err := l.Accept()
		for ; err == nil; c, err = l.Accept() {
			c.Close()
			accepted++
		}
		if !errors.Is(err, net.ErrClosed) || accepted != 0 && accepted != 3 {
			t.Errorf("accepted %d: %v", accepted, err)
		}
	})
	t.Run("of what is no TCP", func(t *testing.T) {
		l, _ := listenOn(t, startGroup(t), "unix", t.TempDir()+"/s")
		time.AfterFunc(settled, l.End)
		if c, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepted %v: %v", c, err)
		}
	})
}

// Where there are no descriptors left Accept says so, and goes on when there are.
func TestAcceptWithoutDescriptors(t *testing.T) {
	l, at := listenOn(t, startGroup(t), "tcp", "127.0.0.1:0")
	peer, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Skip(err)
	}
	none := before
	none.Cur = 3 // what is open stays so
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Skip(err)
	}
	_, err = l.Accept()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EMFILE) || errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("accept: %v", err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A dial finds what listens, by address and by name.
func TestDial(t *testing.T) {
	for _, test := range []struct{ listen, host string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"127.0.0.1:0", "localhost"},
		{"127.0.0.1:0", "::ffff:127.0.0.1"},
		{"[::1]:0", "::1"},
		{":0", "localhost"},
	} {
		t.Run(test.listen+" as "+test.host, func(t *testing.T) {
			l, err := net.Listen("tcp", test.listen)
			if err != nil {
				t.Skip(err)
			}
			defer l.Close()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			g := startGroup(t)
			s := own(t, g)
			c, err := g.Dial(t.Context(), s, nil, Target{Address: net.JoinHostPort(test.host, port), Within: patience})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			peer, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			if c.LocalAddr().String() != peer.RemoteAddr().String() {
				t.Errorf("from %v, the peer says %v", c.LocalAddr(), peer.RemoteAddr())
			}
			mustWrite(t, peer, "hello")
			if n, err := read(t, s, c, make([]byte, 10)); n != 5 || err != nil {
				t.Errorf("read %d: %v", n, err)
			}
		})
	}
}

// A dial that comes to nothing says what it dialed and why that failed, within its time.
func TestDialFails(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	full := fullListener(t)
	const within = 200 * time.Millisecond
	for _, test := range []struct {
		name, address string
		cut           bool
		want          func(error) bool
	}{
		{"refused", closed.Addr().String(), false, func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{"no answer", full, false, isTimeout},
		{"cut", full, true, func(err error) bool { return err != nil }},
		{"no such host", "nobody.invalid:1", false, func(err error) bool { return err != nil }},
		{"no port", "127.0.0.1", false, func(err error) bool { return err != nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := startGroup(t)
			s := own(t, g)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			limit := within
			if test.cut {
				limit = patience
				time.AfterFunc(settled, func() { s.Cut(); cancel() })
			}
			began := time.Now()
			c, err := g.Dial(ctx, s, nil, Target{Address: test.address, Within: limit})
			if err == nil {
				c.Close()
			}
			if took := time.Since(began); !test.want(err) || took > within+2*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
			if test.address == full && !strings.Contains(err.Error(), full) {
				t.Errorf("%v does not name %s", err, full)
			}
		})
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// fullListener is the address of a listener that takes no further connections.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("its backlog is never full")
	return ""
}

// echoer is a strand that sends back what it reads, with what it is told to begin with: whose it is.
type echoer struct {
	Strand
	conn Conn
	open *sync.WaitGroup
}

func (e *echoer) step(bool) Progress {
	p := make([]byte, 512)
	for {
		if err := e.conn.Flush(); err != nil {
			return e.end()
		}
		n, err := e.conn.Read(p)
		if err == ErrNothingYet {
			return Pause
		}
		if err != nil || e.IsCut() {
			return e.end()
		}
		if _, err := e.conn.Write(p[:n]); err != nil {
			return e.end()
		}
	}
}

func (e *echoer) end() Progress {
	_ = e.conn.Close()
	e.open.Done()
	return Done
}

// Connections that come and go, in order and not, while others are at work: each gets what is its own, descriptors and
// slots are used again and again.
func TestChurn(t *testing.T) {
	g := startGroup(t)
	l, at := listenOn(t, g, "tcp", "127.0.0.1:0")
	var accepting, open, clients sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e := &echoer{conn: c, open: &open}
			open.Add(1)
			g.Begin(&e.Strand, e.step)
			if err := Attach(c, &e.Strand); err != nil {
				t.Error(err)
			}
			e.Rest()
			if rand.IntN(5) == 0 {
				go func() { time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond); e.Cut() }()
			}
		}
	})
	var whole atomic.Int64
	for n := range uint64(16) {
		clients.Go(func() {
			for i := range uint64(60) {
				whole.Add(visit(t, at.String(), n<<32|i))
			}
		})
	}
	clients.Wait()
	l.End()
	accepting.Wait()
	open.Wait()
	if whole.Load() == 0 {
		t.Error("no connection went through")
	}
	t.Logf("%d connections went through", whole.Load())
}

// visit is a client of an echoer. It counts 1 when all came back; other bytes than were sent must never.
func visit(t *testing.T, address string, id uint64) int64 {
	peer, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer peer.Close()
	_ = peer.SetDeadline(time.Now().Add(patience))
	if rand.IntN(4) == 0 {
		_ = peer.(*net.TCPConn).SetLinger(0)
	}
	want := bytes.Repeat(binary.BigEndian.AppendUint64(nil, id), 1+rand.IntN(1000))
	go func() { _, _ = peer.Write(want) }()
	got := make([]byte, len(want))
	if rand.IntN(3) == 0 {
		got = got[:len(got)/2]
	}
	n, err := io.ReadFull(peer, got)
	if isTimeout(err) || !bytes.Equal(got[:n], want[:n]) {
		t.Errorf("%x: %d bytes came back, or others: %v", id, n, err)
	}
	if n < len(want) {
		return 0
	}
	return 1
}

// Which addresses may be connected to is asked about those that a name stands for.
func TestDialPermit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, test := range []struct {
		host, permitted string
		dialled         bool
	}{
		{"127.0.0.1", "127.0.0.0/8", true},
		{"127.0.0.1", "10.0.0.0/8", false},
		{"::ffff:127.0.0.1", "127.0.0.0/8", true},
		{"::ffff:127.0.0.1", "::/0", false},
		{"localhost", "127.0.0.0/8", true},
		{"localhost", "10.0.0.0/8", false},
	} {
		t.Run(test.host+" in "+test.permitted, func(t *testing.T) {
			g := startGroup(t)
			s := own(t, g)
			to := Target{
				Address: net.JoinHostPort(test.host, port), Within: patience,
				Permit: netip.MustParsePrefix(test.permitted).Contains,
			}
			c, err := g.Dial(t.Context(), s, nil, to)
			if err == nil {
				c.Close()
			}
			if dialled := err == nil; dialled != test.dialled {
				t.Errorf("dialled %v: %v", dialled, err)
			}
		})
	}
}
