package terminate

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A deadline fires in each state that has one, and the connection ends for that reason.
func TestDeadlineInEachState(t *testing.T) {
	const short = 300 * time.Millisecond
	for _, test := range []struct {
		name   string
		limit  func(*setup)
		client func(t *testing.T, b *bench)
		reason Reason
	}{
		{
			"nothing is sent", func(o *setup) { o.Limits.Hello = short },
			func(t *testing.T, b *bench) { b.raw() }, ReasonTimeout,
		},
		{
			"half a hello", func(o *setup) { o.Limits.Hello = short },
			func(t *testing.T, b *bench) { mustWrite(t, b.raw(), []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}) }, ReasonTimeout,
		},
		{
			"a hello and no more", func(o *setup) { o.Timeouts.Handshake = short },
			func(t *testing.T, b *bench) {
				client := b.dialOver(func(raw net.Conn) net.Conn { return &onceWriter{Conn: raw} }, nil)
				go func() { _ = client.Handshake() }()
			}, ReasonTimeout,
		},
		{
			"idle", func(o *setup) { o.Timeouts.Idle = short },
			func(t *testing.T, b *bench) { b.pair() }, ReasonIdle,
		},
		{
			"idle, in the middle of a record", func(o *setup) { o.Timeouts.Idle = short },
			func(t *testing.T, b *bench) {
				client, _ := b.pair()
				mustWrite(t, client.NetConn(), []byte{23, 3, 3, 0, 100, 1, 2, 3})
			}, ReasonIdle,
		},
		{
			"half closed by the client", func(o *setup) { o.Timeouts.HalfClose = short },
			func(t *testing.T, b *bench) { c, _ := b.pair(); _ = c.CloseWrite() }, ReasonIdle,
		},
		{
			"half closed by the backend", func(o *setup) { o.Timeouts.HalfClose = short },
			func(t *testing.T, b *bench) { _, s := b.pair(); _ = s.CloseWrite() }, ReasonIdle,
		},
		{
			"the client takes nothing", func(o *setup) { o.Timeouts.Idle = short },
			func(t *testing.T, b *bench) {
				_, s := b.pair()
				go func() { _, _ = s.Write(make([]byte, 64<<20)) }()
			}, ReasonIdle,
		},
		{
			"the backend takes nothing", func(o *setup) { o.Timeouts.Idle = short },
			func(t *testing.T, b *bench) {
				c, _ := b.pair()
				go func() { _, _ = c.Write(make([]byte, 64<<20)) }()
			}, ReasonIdle,
		},
		{
			"the backend takes nothing, while the client takes bulk", func(o *setup) { o.Timeouts.Idle = short },
			func(t *testing.T, b *bench) {
				c, s := b.pair()
				go func() { _, _ = c.Write(make([]byte, 64<<20)) }()
				go func() { _, _ = io.Copy(s, endless{}) }()
				go func() { _, _ = io.Copy(io.Discard, tcp(c)) }()
			}, ReasonIdle,
		},
		{
			"the end is not taken", func(o *setup) { o.Timeouts.HalfClose = short },
			func(t *testing.T, b *bench) {
				c, s := b.pair()
				_ = tcp(c).SetReadBuffer(4096)
				_ = c.CloseWrite()
				mustWrite(t, s, make([]byte, 1<<20))
				s.Close()
			}, ReasonIdle,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startServer(t, func(o *setup) { test.limit(o) })
			test.client(t, b)
			began := time.Now()
			b.wantReason(test.reason)
			if took := time.Since(began); took > short+4*time.Second {
				t.Errorf("it took %v", took)
			}
			b.wantNoneLeft()
		})
	}
}

// endless reads as zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// onceWriter lets one write through, and loses the others.
type onceWriter struct {
	net.Conn
	wrote bool
}

func (o *onceWriter) Write(p []byte) (int, error) {
	if o.wrote {
		return len(p), nil
	}
	o.wrote = true
	return o.Conn.Write(p)
}

// wantNoneLeft waits until no connection is counted any more.
func (b *bench) wantNoneLeft() {
	b.t.Helper()
	route := b.route
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		stats := b.server.Stats()
		open := route.Backend.Pool.Status().Servers[0].Connections
		switch {
		case stats.Active == 0 && stats.Handshaking == 0 && open == 0:
			return
		case time.Now().After(deadline):
			b.t.Fatalf("left: %+v, %d to the backend", stats, open)
		}
	}
}

// A backend that does not answer costs its connect timeout, and one that is gone nothing.
func TestConnectTimeout(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, _ := syscall.Getsockname(fd)
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	b := startServer(t, nil)
	route := b.route
	route.Backend = backendOf(t, "full", address)
	route.Backend.ConnectTimeout = 300 * time.Millisecond
	client, err := b.dial("a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	wantRead(t, client, nil, syscall.ECONNRESET)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if line := b.line(); line["reason"] != string(ReasonNoBackend) || !strings.Contains(line["error"].(string), "timeout") {
		t.Errorf("line %v", line)
	}
}
