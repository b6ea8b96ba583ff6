//go:build !noepoll

package terminate

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A client's abort that a close_notify is told of crosses as a reset, too: nobody reads from the client then, since the
// backend takes nothing.
func TestResetToldToCloseNotify(t *testing.T) {
	b := startServer(t, nil)
	client, backend := b.pair()
	_ = client.SetWriteDeadline(time.Now().Add(400 * time.Millisecond))
	if n, err := client.Write(make([]byte, 64<<20)); err == nil {
		t.Fatalf("%d bytes were taken: this test is in vain", n)
	}
	abort(t, tcp(client))
	time.Sleep(50 * time.Millisecond)
	if err := backend.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if _, err := io.Copy(io.Discard, backend); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the backend's stream ended with %v", err)
	}
	b.wantReason(ReasonClientReset)
}

// slowConn is a connection that is read from slowly.
type slowConn struct {
	net.Conn
	from slowly
}

func (s *slowConn) Read(p []byte) (int, error) { return s.from.Read(p) }

// waitDelivered waits until the peer's kernel has all that was written.
func waitDelivered(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for left := 1; left > 0; time.Sleep(time.Millisecond) {
		_ = raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A side that is gone has nothing to take any more: what waited for it does not end the other direction, which still has
// what it sent.
func TestDeadReceiver(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 4 s")
	}
	t.Parallel()
	const idle = 600 * time.Millisecond
	b := startTiny(t, func(o *setup) {
		o.Timeouts.Idle = idle
		setBuffer(t, o.Listeners[0].Socket.(*net.TCPListener), syscall.SO_SNDBUF, tinyBuffer)
	})
	var slow *slowConn
	client, backend := b.tinyPair(func(raw net.Conn) net.Conn {
		slow = &slowConn{raw, slowly{Reader: raw, piece: 1 << 10, pause: 40 * time.Millisecond}}
		return slow
	})
	data := filled(80_000) // more than the server takes at once, and less than its kernel holds besides
	mustWrite(t, backend, data)
	_ = client.SetWriteDeadline(time.Now().Add(idle / 3))
	if n, err := client.Write(make([]byte, 64<<20)); err == nil { // which the backend does not read
		t.Fatalf("%d bytes were taken: this test is in vain", n)
	}
	waitDelivered(t, backend) // a reset takes along what is still on its way
	abort(t, backend)
	const first = 10_000 // taken at once: the client has not stood still
	wantRead(t, io.LimitReader(client, first), data[:first], nil)
	began := time.Now()
	slow.from.until = began.Add(5 * idle)
	wantRead(t, client, data[first:], syscall.ECONNRESET)
	if took := time.Since(began); took < 4*idle {
		t.Errorf("it took %v: this test is in vain", took)
	}
	b.wantReason(ReasonServerReset)
}
