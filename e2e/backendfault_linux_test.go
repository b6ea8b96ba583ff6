package e2e

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// fullServer is the address of a listener whose queue is full: connecting hangs.
func fullServer(t testing.TB) string {
	t.Helper()
	address := freeAddress(t)
	parsed, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(descriptor) })
	if err := syscall.Bind(descriptor, &syscall.SockaddrInet4{Port: parsed.Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(descriptor, 0); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if isTimeout(err) {
			return address
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("the queue of a listener does not fill up here")
	return ""
}

// A server that takes no connection is given up after connect_timeout.
func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	full := fullServer(t)
	w := newWorld(t)
	g := start(t, usesStore(w.store), usesBackend(full, w.backend.address), "backends: {main: {connect_timeout: 300ms}}")
	for range 2 {
		began := time.Now()
		g.visit("a.example")
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	}
}
