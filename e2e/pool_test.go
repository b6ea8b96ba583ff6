package e2e

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// queueOf is YAML for a backend of one server that takes one connection at a time.
func queueOf(b *backend, queue string) string {
	return fmt.Sprintf("backends: {main: {servers: [{address: %q, max_connections: 1}], queue: {%s}}}", b.address, queue)
}

// Connections beyond what a server may have wait, and are served in the order they came in.
func TestPoolQueueInOrder(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 1)
	g := start(t, usesStore(newStore(t)), queueOf(servers[0], "length: 10, timeout: 10s"))
	first := g.dial("a.example")
	first.wantTold(t)
	var waiting []*client
	for i := range 3 {
		waiting = append(waiting, g.dial("a.example"))
		g.eventually("it waits", func() bool { return g.pool().Queued == i+1 })
	}
	if got := g.pool().Servers[0]; got.Connections != 1 || len(servers[0].accepted) != 1 {
		t.Errorf("%d connections to a server that takes 1, %d came", got.Connections, len(servers[0].accepted))
	}
	first.Close()
	for i, c := range waiting {
		c.wantTold(t)
		if queued := g.pool().Queued; queued != len(waiting)-1-i {
			t.Errorf("%d wait when number %d has its turn", queued, i)
		}
		c.Close()
	}
}

// Who has waited for too long is reset, and the log says that it was the queue. So is who comes when it is full, at once.
func TestPoolQueueIsBounded(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 1)
	g := start(t, usesStore(newStore(t)), queueOf(servers[0], "length: 1, timeout: 700ms"))
	first := g.dial("a.example")
	first.wantTold(t)
	began := time.Now()
	waits := g.dial("a.example")
	g.eventually("it waits", func() bool { return g.pool().Queued == 1 })
	tooMany := g.dial("a.example")
	if _, err := tooMany.told(); !isReset(err) || time.Since(began) > 600*time.Millisecond {
		t.Errorf("the queue is full: %v after %v, want a reset at once", err, time.Since(began))
	}
	if _, err := waits.told(); !isReset(err) || time.Since(began) < 600*time.Millisecond {
		t.Errorf("waiting ended with %v after %v, want a reset after 700ms", err, time.Since(began))
	}
	for _, c := range []*client{tooMany, waits} {
		if e := g.accessOf(c); e.text("reason") != "queue" || e.text("stage") != "connect" {
			t.Errorf("logged %v", e)
		}
	}
	if n := g.refusals("queue"); n != 2 {
		t.Errorf("%d are counted, want 2", n)
	}
	first.wantEcho(t, "still here")
}

// A full server's connections go to another that has room; backups are no overflow.
func TestPoolFullServerIsPassedOver(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 3)
	g := start(t, usesStore(newStore(t)), serversOf(servers, "max_connections: 1", "", "backup: true"))
	open := g.holdTo(7)
	if a, b, c := len(open[servers[0].address]), len(open[servers[1].address]), len(open[servers[2].address]); a != 1 || b != 6 || c != 0 {
		t.Errorf("%d, %d and %d connections, want 1, 6 and 0", a, b, c)
	}
}

// Backups get nothing while another server can be used, everything while none can, and nothing again from then on.
func TestPoolBackup(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 2)
	g := start(t, usesStore(newStore(t)), serversOf(servers, "", "backup: true"), checked)
	usual, spare := servers[0], servers[1]
	want := func(b *backend) {
		t.Helper()
		for range 4 {
			if got := g.reached("a.example"); got != b.address {
				t.Errorf("got to %s, want %s", got, b.address)
			}
		}
	}
	g.awaitState("up", usual.address, spare.address)
	want(usual)
	usual.stop()
	want(spare) // by a second attempt, until the checks notice
	g.awaitState("down", usual.address)
	failed := g.serverAt(usual.address).Failures
	want(spare)
	if now := g.serverAt(usual.address).Failures; now != failed {
		t.Errorf("a server that is down was tried %d times", now-failed)
	}
	usual.start()
	g.awaitState("up", usual.address)
	want(usual)
}

// A server that came back begins with a tenth of its weight, which grows to the whole within slow_start.
func TestPoolSlowStart(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 2)
	g := start(t, usesStore(newStore(t)), serversOf(servers, "weight: 100", "weight: 100"), inMain("slow_start: 3s"), checked)
	g.awaitState("up", servers[0].address, servers[1].address)
	if weight := g.serverAt(servers[1].address).Weight; weight != 100 {
		t.Errorf("weight %d at the start: nothing is slow when all begin together", weight)
	}
	servers[1].stop()
	g.awaitState("down", servers[1].address)
	servers[1].start()
	g.awaitState("up", servers[1].address)
	began := time.Now()
	weights := []int{g.serverAt(servers[1].address).Weight}
	counts := map[string]int{}
	for range 12 {
		counts[g.reached("a.example")]++
	}
	if took := time.Since(began); took < time.Second && (counts[servers[1].address] > 4 || weights[0] > 40) {
		t.Errorf("%d of 12 connections in the first %v, weight %d", counts[servers[1].address], took, weights[0])
	}
	g.eventually("it has its whole weight", func() bool {
		weights = append(weights, g.serverAt(servers[1].address).Weight)
		return weights[len(weights)-1] == 100
	})
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("its whole weight after %v: %v", took, weights)
	}
	for i, weight := range weights[1:] {
		if weight < weights[i] {
			t.Errorf("the weight falls: %v", weights)
			break
		}
	}
}

// A server may be a Unix socket: it gets the PROXY header, and is checked.
func TestPoolUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortFolder(t), "app.sock")
	headers := make(chan proxyHeader, 100)
	listener, address := listenUnix(t, path, headers), "unix:"+path
	g := start(t, usesStore(newStore(t)), usesBackend(address), checked)
	g.awaitState("up", address)
	c := g.dial("a.example")
	c.wantEcho(t, "over a Unix socket")
	wantAddresses(t, <-headers, c)
	c.Close()
	if got := g.accessOf(c); got.text("server") != address || got.text("reason") != "ok" {
		t.Errorf("logged %v", got)
	}
	listener.Close()
	g.awaitState("down", address)
}

// listenUnix echoes on a Unix socket, behind the PROXY header, which it hands on unless a check sent it.
func listenUnix(t testing.TB, path string, headers chan<- proxyHeader) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				header, err := readProxyHeader(conn)
				if err != nil {
					t.Errorf("header over a Unix socket: %v", err)
					return
				}
				if !header.Local {
					headers <- header
				}
				io.Copy(conn, conn)
			}()
		}
	}()
	return listener
}

// The time in the queue is none of the dial's: who waited for longer than dial_timeout is connected all the same.
func TestPoolQueueIsNotDialing(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 1)
	g := start(t, usesStore(newStore(t)), queueOf(servers[0], "timeout: 10s"), inMain("connect_timeout: 100ms, dial_timeout: 200ms"))
	first := g.dial("a.example")
	first.wantTold(t)
	waits := g.dial("a.example")
	g.eventually("it waits", func() bool { return g.pool().Queued == 1 })
	time.Sleep(500 * time.Millisecond)
	first.Close()
	waits.wantTold(t)
}
