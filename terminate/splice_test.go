package terminate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What the client sends arrives, and its close_notify becomes a FIN; what the backend then still sends arrives, and its
// FIN becomes a close_notify.
func TestHalfCloseByClient(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			b := startServer(t, nil)
			client, err := b.dial("a.test", func(c *tls.Config) { c.MaxVersion = version })
			if err != nil {
				t.Fatal(err)
			}
			backend := b.accept()
			data := filled(4 << 20)
			var group sync.WaitGroup
			group.Go(func() {
				mustWrite(t, client, data)
				if err := client.CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			wantRead(t, backend, data, nil)
			group.Go(func() {
				mustWrite(t, backend, data)
				backend.Close()
			})
			wantRead(t, client, data, nil)
			group.Wait()
			line := b.line()
			if line["reason"] != "ok" || line["bytes_in"] != float64(len(data)) || line["bytes_out"] != float64(len(data)) {
				t.Errorf("line %v", line)
			}
		})
	}
}

// The backend ends first; the client goes on.
func TestHalfCloseByBackend(t *testing.T) {
	b := startServer(t, nil)
	client, backend := b.pair()
	mustWrite(t, backend, []byte("bye"))
	if err := backend.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, client, []byte("bye"), nil)
	data := filled(1 << 20)
	go func() {
		mustWrite(t, client, data)
		client.Close()
	}()
	wantRead(t, backend, data, nil)
	b.wantReason(ReasonOK)
}

// A client's reset crosses as a reset, behind everything that was read before it.
func TestResetByClient(t *testing.T) {
	b := startServer(t, nil)
	client, backend := b.pair()
	data := filled(100_000)
	mustWrite(t, client, data)
	got := make([]byte, len(data))
	if _, err := io.ReadFull(backend, got); err != nil {
		t.Fatal(err)
	}
	abort(t, tcp(client))
	wantRead(t, backend, nil, syscall.ECONNRESET)
	b.wantReason(ReasonClientReset)
}

// A backend's reset crosses as a reset, never as a close_notify, behind everything that was read before it, however
// slowly the client takes it.
func TestResetByBackend(t *testing.T) {
	b := startServer(t, nil)
	client, backend := b.pair()
	data := filled(300_000)
	mustWrite(t, backend, data)
	time.Sleep(200 * time.Millisecond)
	abort(t, backend)
	time.Sleep(500 * time.Millisecond)
	wantRead(t, client, data, syscall.ECONNRESET)
	b.wantReason(ReasonServerReset)
}

// The same where the write towards the backend is told of the reset, and a read from it then finds an orderly end.
func TestResetByBackendWhileClientSends(t *testing.T) {
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			b := startServer(t, nil)
			client, backend := b.pair()
			go func() {
				for range 1000 {
					if _, err := client.Write(filled(1000)); err != nil {
						return
					}
				}
			}()
			_, _ = io.ReadFull(backend, make([]byte, 50_000))
			abort(t, backend)
			if _, err := io.ReadAll(client); err == nil {
				t.Error("the client was told of an orderly end")
			}
			b.wantReason(ReasonServerReset)
		})
	}
}

// A FIN without close_notify ends the backend's stream with a FIN, and the log says that it was truncated.
func TestBareFIN(t *testing.T) {
	b := startServer(t, nil)
	client, backend := b.pair()
	mustWrite(t, client, []byte("half a sent"))
	if err := tcp(client).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, backend, []byte("half a sent"), nil)
	mustWrite(t, backend, []byte("what?"))
	backend.Close()
	wantRead(t, client, []byte("what?"), nil)
	b.wantReason(ReasonTruncated)
}

// Where the route wants it so, the backend is reset instead.
func TestBareFINResets(t *testing.T) {
	b := startServer(t, nil)
	route := b.route
	route.ResetOnTruncation = true
	client, backend := b.pair()
	mustWrite(t, client, []byte("half a sent"))
	time.Sleep(100 * time.Millisecond)
	_ = tcp(client).CloseWrite()
	wantRead(t, backend, []byte("half a sent"), syscall.ECONNRESET)
	b.wantReason(ReasonTruncated)
}

// A stream cut inside a record is not an end at all.
func TestCutRecord(t *testing.T) {
	b := startServer(t, nil)
	client, backend := b.pair()
	mustWrite(t, client, []byte("whole"))
	mustWrite(t, client.NetConn(), []byte{23, 3, 3, 0, 100, 1, 2, 3})
	got := make([]byte, 5)
	if _, err := io.ReadFull(backend, got); err != nil {
		t.Fatal(err)
	}
	_ = tcp(client).CloseWrite()
	wantRead(t, backend, nil, syscall.ECONNRESET)
	b.wantReason(ReasonTruncated)
}

// A reader that stalls at the end of the stream, longer than crypto/tls would wait to send its close_notify, gets
// everything and the close_notify.
func TestStalledReader(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 7 s")
	}
	t.Parallel()
	b := startServer(t, nil)
	client, backend := b.pair()
	data := filled(12 << 20)
	var group sync.WaitGroup
	group.Go(func() {
		n, err := backend.Write(data)
		if err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
		backend.Close()
	})
	time.Sleep(7 * time.Second)
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	_ = backend.SetDeadline(time.Now().Add(10 * time.Second))
	wantRead(t, client, data, nil)
	group.Wait()
	client.Close()
	b.wantReason(ReasonOK)
}

// Silence in both directions ends a connection, bytes in one keep it.
func TestIdle(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Timeouts.Idle = 400 * time.Millisecond })
	client, backend := b.pair()
	go func() { _, _ = io.Copy(io.Discard, client) }()
	start := time.Now()
	for range 8 {
		mustWrite(t, backend, []byte("."))
		time.Sleep(100 * time.Millisecond)
	}
	wantRead(t, backend, nil, syscall.ECONNRESET)
	if took := time.Since(start); took < time.Second {
		t.Errorf("ended after %v", took)
	}
	b.wantReason(ReasonIdle)
}

// Once one direction is over, the other may be silent for the half-close timeout only.
func TestHalfCloseTimeout(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Timeouts.HalfClose = 300 * time.Millisecond })
	client, backend := b.pair()
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, backend, nil, nil)
	wantRead(t, client, nil, syscall.ECONNRESET)
	b.wantReason(ReasonIdle)
}

// A write that stalls for too long ends the connection, also while bytes flow the other way: what was to be written can't
// be left out.
func TestStalledWrite(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Timeouts.Idle = 400 * time.Millisecond })
	client, backend := b.pair()
	go func() { _, _ = client.Write(make([]byte, 64<<20)) }() // which the backend does not read
	go func() { _, _ = io.Copy(io.Discard, client) }()
	over := make(chan struct{})
	var ticks sync.WaitGroup
	defer ticks.Wait()
	defer close(over)
	ticks.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(50 * time.Millisecond):
				_, _ = backend.Write([]byte("."))
			}
		}
	})
	b.wantReason(ReasonIdle)
}

// The same for a client that stops reading.
func TestHalfCloseTimeoutOfReader(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Timeouts.HalfClose = 400 * time.Millisecond })
	client, backend := b.pair()
	go func() { _, _ = backend.Write(make([]byte, 64<<20)) }()
	time.Sleep(300 * time.Millisecond) // the way to the client is full
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	b.wantReason(ReasonIdle)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// An end that the client does not take is no orderly end, and is not left to the kernel.
func TestUntakenEnd(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Timeouts.HalfClose = 400 * time.Millisecond })
	client, backend := b.pair()
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = tcp(client).SetReadBuffer(4096)
	mustWrite(t, backend, filled(1<<20))
	backend.Close()
	b.wantReason(ReasonIdle)
	if _, err := io.ReadAll(client); err == nil {
		t.Error("an orderly end")
	}
}

// A backend that does not read holds the client back, and costs no memory for it.
func TestBackpressure(t *testing.T) {
	b := startServer(t, nil)
	client, backend := b.pair()
	_ = backend.SetReadBuffer(4096)
	_ = client.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := client.Write(make([]byte, 64<<20))
	if err == nil || n > 32<<20 {
		t.Errorf("wrote %d bytes to nobody: %v", n, err)
	}
}

func abort(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	if err := errors.Join(conn.SetLinger(0), conn.Close()); err != nil {
		t.Error(err)
	}
}
