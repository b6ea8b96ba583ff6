package e2e

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// A server that connections fail on is left out for a while, and for longer the next time. Nobody checks it: the
// connections of clients, which go on to another server, are what tells.
func TestPoolEjection(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 2)
	g := start(t, usesStore(newStore(t)), serversOf(servers), inMain("ejection: {failures: 3, time: 1s, max_time: 1m}"))
	servers[0].stop()
	var lasts []time.Duration
	for range 2 {
		g.eventually("it is ejected", func() bool {
			g.reached("a.example")
			return g.serverAt(servers[0].address).State == "ejected"
		})
		got := g.serverAt(servers[0].address)
		lasts = append(lasts, time.Until(got.EjectedUntil))
		if !strings.Contains(got.Reason, "connection refused") {
			t.Errorf("ejected for %q", got.Reason)
		}
		for range 4 {
			if server := g.reached("a.example"); server != servers[1].address {
				t.Errorf("got to %s", server)
			}
		}
		if now := g.serverAt(servers[0].address); now.Total != got.Total {
			t.Errorf("tried %d times while it was ejected", now.Total-got.Total)
		}
		g.awaitState("up", servers[0].address)
	}
	if lasts[0] > 1200*time.Millisecond || lasts[1] < 1500*time.Millisecond || lasts[1] > 2300*time.Millisecond {
		t.Errorf("ejected for %v, want some 1s and 2s", lasts)
	}
	servers[0].start()
	g.eventually("it is used again", func() bool { return g.reached("a.example") == servers[0].address })
}

// However many servers connections fail on, no more than max_percent of them are left out.
func TestPoolEjectionIsBounded(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 4)
	g := start(t, usesStore(newStore(t)), serversOf(servers),
		inMain("retries: 3, ejection: {failures: 2, time: 1m, max_percent: 50%}"))
	for _, b := range servers[:3] {
		b.stop()
	}
	for range 40 {
		if got := g.reached("a.example"); got != servers[3].address {
			t.Errorf("got to %s", got)
		}
	}
	states := map[string]int{}
	for _, s := range g.pool().Servers {
		states[s.State]++
	}
	if states["ejected"] != 2 || states["up"] != 2 {
		t.Errorf("%v, want 2 of 4 ejected", states)
	}
}

// A server that resets connections before it has said anything is left out, when several clients meet with it. One client
// alone, who may have provoked it, ejects nobody.
func TestPoolEjectionForResets(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 2)
	bad := servers[0]
	bad.does(func(p *peer) {
		io.ReadFull(p, make([]byte, 1))
		p.abort()
	})
	g := start(t, usesStore(newStore(t)), serversOf(servers), inMain("ejection: {failures: 4, time: 1m}"))
	meet := func(source string) {
		c, err := dialFrom(source, g.address, "a.example")
		if err != nil {
			t.Fatal(err)
		}
		defer c.wire.Close()
		io.WriteString(c, "x")
		io.ReadAtLeast(c, make([]byte, 100), 1)
	}
	for range 20 {
		meet("127.0.3.1")
	}
	if got := g.serverAt(bad.address); got.State != "up" || got.EarlyResets != 10 {
		t.Errorf("one client met with resets, and the server is %+v", got)
	}
	for i := range 12 {
		meet(fmt.Sprintf("127.0.3.%d", 2+i))
	}
	g.awaitState("ejected", bad.address)
	if got := g.serverAt(bad.address); !strings.Contains(got.Reason, "reset") {
		t.Errorf("ejected for %q", got.Reason)
	}
}
