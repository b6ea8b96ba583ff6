//go:build !noepoll

package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A peer that reads just fast enough to leave something does not have the queue grow by all that it ever got.
func TestQueueNeverEmpty(t *testing.T) {
	const kept, through = 512 << 10, 16 << 20
	accepted, _, peer := pair(t)
	c := accepted.(*conn)
	_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10)
	_ = peer.SetReadBuffer(64 << 10)
	piece, buffer := make([]byte, 20_000), make([]byte, 64<<10)
	for sent := 0; sent < through; {
		for c.Queued() < kept {
			n, err := c.Write(piece)
			if err != nil {
				t.Fatal(err)
			}
			sent += n
		}
		for c.Queued() >= kept {
			_ = peer.SetReadDeadline(time.Now().Add(time.Millisecond)) // the poller tells of room a moment later
			_, _ = peer.Read(buffer)
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if c.Queued() == 0 {
			t.Fatal("the queue ran empty: this test is in vain")
		}
	}
	if holds := cap(*c.queue.bytes); holds > through/4 {
		t.Errorf("a queue of %d bytes holds %d", c.Queued(), holds)
	}
}

// The end of the stream is told again to who asks again, also where the poller has not told of it: a read that went on
// behind others found it.
func TestEndToldAgain(t *testing.T) {
	accepted, _, peer := pair(t)
	c := accepted.(*conn)
	c.poller.serving.Lock() // it tells of nothing
	defer c.poller.serving.Unlock()
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.ready.Or(readable)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		_, err := c.Read(make([]byte, 10))
		if err == io.EOF {
			break
		}
		if err != ErrNothingYet || time.Now().After(end) {
			t.Fatal(err)
		}
		c.ready.Or(readable)
	}
	for range 3 {
		if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Errorf("read %d: %v", n, err)
		}
	}
}

// Connections inherit what Go would set on each of them from their listener, also those that came about before it was
// given to Listen, where Control made it.
func TestInheritedOptions(t *testing.T) {
	for _, test := range []struct {
		name   string
		open   net.ListenConfig
		before bool // the connection is made before Listen
	}{
		{"before Listen", net.ListenConfig{Control: Control}, true},
		{"behind Listen", net.ListenConfig{Control: Control}, false},
		{"behind Listen, without Control", net.ListenConfig{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.open.SetMultipathTCP(false)
			raw, err := test.open.Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			dial := func() {
				peer, err := net.Dial("tcp", raw.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				prepare(t, peer)
			}
			if test.before {
				dial()
			}
			l, err := startGroup(t).Listen(raw)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			defer l.End()
			if !test.before {
				dial()
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			wantOptions(t, c.(*conn).fd)
		})
	}
}

func wantOptions(t *testing.T, fd int) {
	t.Helper()
	for _, want := range []struct {
		name          string
		level, option int
		value         int
	}{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive / time.Second)},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlive / time.Second)},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
	} {
		if got, err := unix.GetsockoptInt(fd, want.level, want.option); got != want.value || err != nil {
			t.Errorf("%s is %d, want %d: %v", want.name, got, want.value, err)
		}
	}
}

// Those who connected before the end are accepted, and nobody after them.
func TestEndTakesBacklog(t *testing.T) {
	l, at := listenOn(t, startGroup(t), "tcp", "127.0.0.1:0")
	const came = 5
	for range came {
		peer, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
	}
	l.End()
	for range came {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepted: %v", err)
	}
}
