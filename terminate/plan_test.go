package terminate

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// planOf is the plan of a server, to be changed.
func (b *bench) planOf() *Plan {
	p := b.server.Plan()
	return &Plan{Listeners: append([]Listener(nil), p.Listeners...), Routes: p.Routes, Backends: p.Backends, Fallback: p.Fallback, Limits: p.Limits}
}

// at is the bench as it is reached elsewhere.
func (b *bench) at(address string) *bench {
	moved := *b
	moved.address = address
	return &moved
}

func echoes(t *testing.T, client *tls.Conn, backend net.Conn) {
	t.Helper()
	go func() { _, _ = io.CopyN(backend, backend, 4) }()
	mustWrite(t, client, []byte("ping"))
	if _, err := io.ReadFull(client, make([]byte, 4)); err != nil {
		t.Error(err)
	}
}

// A plan that takes effect adds listeners, closes others, and has those that stay go by other rules; connections go on.
func TestUse(t *testing.T) {
	b := startServer(t, nil)
	before, backend := b.pair()
	added := listen(t)
	next := b.planOf()
	next.Listeners = append(next.Listeners, Listener{Socket: added, Name: "second"})
	if err := b.server.Use(next); err != nil {
		t.Fatal(err)
	}
	client, err := b.at(added.Addr().String()).dial("a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	b.accept()
	b.want("it is told where it came in", func() bool {
		return len(b.server.Connections(func(i ConnectionInfo) bool { return i.Listener == "second" })) == 1
	})
	last := b.planOf()
	last.Listeners = []Listener{{Socket: added, Name: "renamed", DefaultName: "b.test"}}
	last.Routes = routesTo(t, &Route{Action: Reject})
	if err := b.server.Use(last); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", b.address); err == nil {
		conn.Close()
		t.Error("a listener that is gone is open")
	}
	_, err = b.at(added.Addr().String()).dial("a.test", nil)
	wantAlert(t, err, alertAccessDenied)
	if line := b.line(); line["listener"] != "renamed" {
		t.Errorf("line %v", line)
	}
	echoes(t, before, backend)
	client.Close()
}

func serveEcho(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.Copy(conn, conn)
		}()
	}
}

// A plan that can't be used leaves everything as it was.
func TestUseFails(t *testing.T) {
	b := startServer(t, nil)
	closed := listen(t)
	closed.Close()
	good := listen(t)
	next := b.planOf()
	next.Listeners = []Listener{{Socket: good, Name: "good"}, {Socket: closed, Name: "closed"}}
	next.Routes = routesTo(t, &Route{Action: Reject})
	if err := b.server.Use(next); err == nil {
		t.Skip("the system does not tell here")
	}
	client, backend := b.pair()
	echoes(t, client, backend)
}

// A server that has ended takes no plan, whose listeners nobody would serve.
func TestUseAfterEnd(t *testing.T) {
	b := startServer(t, nil)
	b.pair()
	_ = b.stop()
	if err := b.server.Use(b.planOf()); err == nil {
		t.Error("it took one")
	}
}

// A smaller limit holds for those who come, and takes nothing from those who are there.
func TestUseOfLimits(t *testing.T) {
	b := startServer(t, nil)
	first, backend := b.pair()
	b.pair()
	next := b.planOf()
	next.Limits.Connections = 1
	if err := b.server.Use(next); err != nil {
		t.Fatal(err)
	}
	if _, err := b.dial("a.test", nil); err == nil {
		t.Error("a third was served")
	}
	echoes(t, first, backend)
}

// What is known of open connections may be asked for at any time.
func TestConnectionsAtAnyMoment(t *testing.T) {
	b := behindProxy(t, func(o *setup) { o.Listeners[0].Proxy.Required = false; o.Access = nil })
	b.route.Backend.Proxy = nil
	serving := serveAtRandom(t, b.backend)
	over := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		servers, _ := b.route.Backend.Pool.Watch()
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			default:
			}
			b.server.Connections(func(info ConnectionInfo) bool { return info.Name != "" && info.Client.IsValid() })
			b.server.Stats()
			if n%50 == 0 {
				b.server.KillServer(servers[0])
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() {
			for range 15 {
				b.visitAtRandom()
			}
		})
	}
	clients.Wait()
	close(over)
	asking.Wait()
	b.wantNothingCounted()
	b.backend.Close()
	serving.Wait()
}
