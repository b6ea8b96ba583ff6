package terminate

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Clients and backends that go away at any moment, while their connection passes from poller to worker and back, leave
// nothing behind.
func TestGoneAtAnyMoment(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Access = nil })
	serving := serveAtRandom(t, b.backend)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 40 {
				b.visitAtRandom()
			}
		})
	}
	clients.Wait()
	b.wantNoneLeft()
	b.backend.Close()
	serving.Wait()
}

// A server that ends while connections are in every state cuts them all, and leaves nothing behind.
func TestCutAtAnyMoment(t *testing.T) {
	for range 25 {
		b := startServer(t, func(o *setup) {
			o.Access = nil
			o.Drain = time.Duration(rand.IntN(2000)) * time.Microsecond
		})
		serving := serveAtRandom(t, b.backend)
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(b.visitAtRandom)
		}
		time.Sleep(time.Duration(rand.IntN(15_000)) * time.Microsecond)
		over := make(chan struct{})
		go func() { _ = b.stop(); close(over) }()
		select {
		case <-over:
		case <-time.After(10 * time.Second):
			t.Fatal("it does not end")
		}
		b.wantNoneLeft()
		clients.Wait()
		b.backend.Close()
		serving.Wait()
	}
}

// serveAtRandom is a backend that echoes, and goes away at random. It ends when its listener is closed.
func serveAtRandom(t *testing.T, l net.Listener) *sync.WaitGroup {
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			serving.Go(func() {
				defer leaveAtRandom(conn.(*net.TCPConn))
				if rand.IntN(2) == 0 {
					_, _ = io.Copy(conn, conn)
					return
				}
				_, _ = io.CopyN(conn, conn, rand.Int64N(100_000))
			})
		}
	})
	return &serving
}

// visitAtRandom is a client that goes away at random. What it gets must be what it sent.
func (b *bench) visitAtRandom() {
	raw, err := net.Dial("tcp", b.address)
	if err != nil {
		return
	}
	defer leaveAtRandom(raw.(*net.TCPConn))
	_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
	if rand.IntN(3) == 0 {
		time.AfterFunc(time.Duration(rand.IntN(8000))*time.Microsecond, func() { raw.Close() })
	}
	client := tls.Client(raw, &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool(), CurvePreferences: []tls.CurveID{tls.X25519}})
	if client.Handshake() != nil {
		return
	}
	data := filled(rand.IntN(200_000))
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		_, _ = client.Write(data)
		if rand.IntN(2) == 0 {
			_ = client.CloseWrite()
		}
	})
	got := make([]byte, rand.IntN(len(data)+1))
	n, _ := io.ReadFull(client, got)
	if !bytes.Equal(got[:n], data[:n]) {
		b.t.Error("other bytes came back than were sent")
	}
	if rand.IntN(2) == 0 {
		_ = raw.Close() // the rest of what it sends is not waited for
	}
}

func leaveAtRandom(conn *net.TCPConn) {
	if rand.IntN(2) == 0 {
		_ = conn.SetLinger(0)
	}
	_ = conn.Close()
}
