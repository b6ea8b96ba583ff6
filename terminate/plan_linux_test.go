//go:build !noepoll

package terminate

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Everybody who connected to a listener is served, although it goes.
func TestUseWhileClientsCome(t *testing.T) {
	b := startServer(t, nil)
	go func() { _ = serveEcho(b.backend) }()
	var group sync.WaitGroup
	over := make(chan struct{})
	var mutex sync.Mutex
	address := b.address
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				mutex.Lock()
				at := address
				raw, err := net.Dial("tcp", at) // under the lock: it is open
				mutex.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
				client, err := b.handshake(raw, &tls.Config{ServerName: "a.test"})
				if err != nil {
					t.Errorf("who connected was not served: %v", err)
				} else {
					mustWrite(t, client, []byte("ping"))
					if _, err := io.ReadFull(client, make([]byte, 4)); err != nil {
						t.Error(err)
					}
				}
				raw.Close()
			}
		})
	}
	for range 10 {
		time.Sleep(30 * time.Millisecond)
		moved := listen(t)
		both, next := b.planOf(), b.planOf()
		both.Listeners = append(both.Listeners, Listener{Socket: moved, Name: "moved"})
		next.Listeners = []Listener{{Socket: moved, Name: "moved"}}
		if err := b.server.Use(both); err != nil {
			t.Fatal(err)
		}
		mutex.Lock()
		address = moved.Addr().String()
		mutex.Unlock()
		if err := b.server.Use(next); err != nil {
			t.Fatal(err)
		}
	}
	close(over)
	group.Wait()
	b.want("all are over", func() bool { return b.server.Stats().Active == 0 })
	for reason, n := range b.server.Stats().Refused {
		if reason != string(ReasonClientReset) && reason != string(ReasonTruncated) {
			t.Errorf("%d %s", n, reason)
		}
	}
	b.backend.Close()
}
