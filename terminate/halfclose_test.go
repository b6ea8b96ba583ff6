package terminate

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"
)

// Whoever ends its side, and whenever: everything arrives both ways, and so does each end.
func TestHalfCloseInEachState(t *testing.T) {
	data := filled(2 << 20)
	for _, test := range []struct {
		name    string
		client  func(t *testing.T, client *tls.Conn, peerEnded <-chan struct{})
		backend func(t *testing.T, backend *net.TCPConn, peerEnded <-chan struct{})
		up      []byte
		down    []byte
	}{
		{
			"client, before the backend's first byte",
			func(t *testing.T, c *tls.Conn, _ <-chan struct{}) { c.CloseWrite() },
			func(t *testing.T, b *net.TCPConn, ended <-chan struct{}) {
				<-ended
				mustWrite(t, b, data)
				b.CloseWrite()
			},
			nil, data,
		},
		{
			"backend, before the client's first byte",
			func(t *testing.T, c *tls.Conn, ended <-chan struct{}) { <-ended; mustWrite(t, c, data); c.CloseWrite() },
			func(t *testing.T, b *net.TCPConn, _ <-chan struct{}) { b.CloseWrite() },
			data, nil,
		},
		{
			"client, during bulk down",
			func(t *testing.T, c *tls.Conn, _ <-chan struct{}) { mustWrite(t, c, data[:10]); c.CloseWrite() },
			func(t *testing.T, b *net.TCPConn, ended <-chan struct{}) {
				mustWrite(t, b, data[:1<<20])
				<-ended
				mustWrite(t, b, data[1<<20:])
				b.CloseWrite()
			},
			data[:10], data,
		},
		{
			"backend, during bulk up",
			func(t *testing.T, c *tls.Conn, ended <-chan struct{}) {
				mustWrite(t, c, data[:1<<20])
				<-ended
				mustWrite(t, c, data[1<<20:])
				c.CloseWrite()
			},
			func(t *testing.T, b *net.TCPConn, _ <-chan struct{}) { mustWrite(t, b, data[:10]); b.CloseWrite() },
			data, data[:10],
		},
		{
			"both at once",
			func(t *testing.T, c *tls.Conn, _ <-chan struct{}) { c.CloseWrite() },
			func(t *testing.T, b *net.TCPConn, _ <-chan struct{}) { b.CloseWrite() },
			nil, nil,
		},
		{
			"both at once, behind bulk",
			func(t *testing.T, c *tls.Conn, _ <-chan struct{}) { mustWrite(t, c, data); c.CloseWrite() },
			func(t *testing.T, b *net.TCPConn, _ <-chan struct{}) { mustWrite(t, b, data); b.CloseWrite() },
			data, data,
		},
	} {
		for _, stall := range []time.Duration{0, 150 * time.Millisecond} {
			name := test.name
			if stall > 0 {
				name += ", while nobody reads"
			}
			t.Run(name, func(t *testing.T) {
				b := startServer(t, nil)
				client, backend := b.pair()
				var group sync.WaitGroup
				clientEnded, backendEnded := make(chan struct{}), make(chan struct{})
				group.Go(func() { test.client(t, client, backendEnded) })
				group.Go(func() { test.backend(t, backend, clientEnded) })
				time.Sleep(stall)
				group.Go(func() { wantRead(t, client, test.down, nil); close(backendEnded) })
				group.Go(func() { wantRead(t, backend, test.up, nil); close(clientEnded) })
				group.Wait()
				client.Close()
				backend.Close()
				b.wantReason(ReasonOK)
			})
		}
	}
}
