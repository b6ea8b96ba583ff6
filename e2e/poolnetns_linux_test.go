package e2e

import (
	"testing"
	"time"
)

// A server that vanishes, whose packets are dropped: each connection that it would get goes to another when connect_timeout
// is over, and after a few nobody waits for that any more. When it is back it is used again.
func TestPoolServerThatVanishes(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.echoes("127.0.1.1:9000", "127.0.1.2:9000")
	g := n.start(usesBackend("127.0.1.1:9000", "127.0.1.2:9000"), inMain("connect_timeout: 200ms, ejection: {failures: 3, time: 2s}"))
	n.reached(g)
	n.filter("ip daddr 127.0.1.1 tcp dport 9000 drop")
	slow := 0
	g.eventually("it is ejected", func() bool {
		server, took := n.reached(g)
		if took > 180*time.Millisecond {
			slow++
		}
		return server != "" && g.serverAt("127.0.1.1:9000").State == "ejected"
	})
	if slow < 3 {
		t.Errorf("%d connections waited for the server that is gone, want 3", slow)
	}
	for range 4 {
		if server, took := n.reached(g); server != "127.0.1.2:9000" || took > 180*time.Millisecond && !withRace {
			t.Errorf("got to %s after %v", server, took)
		}
	}
	n.filter()
	g.eventually("it is used again", func() bool { server, _ := n.reached(g); return server == "127.0.1.1:9000" })
	if refused := g.refusals("no_backend"); refused != 0 {
		t.Errorf("%d found no server", refused)
	}
}

// Checks find out that a server has vanished before any client does.
func TestHealthServerThatVanishes(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.echoes("127.0.1.1:9000", "127.0.1.2:9000")
	g := n.start(usesBackend("127.0.1.1:9000", "127.0.1.2:9000"),
		inMain("connect_timeout: 200ms, health: {interval: 50ms, timeout: 100ms, rise: 1, fall: 2}, on_down: reset"))
	var held *client
	for server := ""; server != "127.0.1.1:9000"; {
		c, err := n.client("127.0.0.1", g.address, "a.example")
		if err != nil {
			t.Fatal(err)
		}
		defer c.wire.Close()
		server, held = c.wantTold(t), c
	}
	n.filter("ip daddr 127.0.1.1 tcp dport 9000 drop")
	g.awaitState("down", "127.0.1.1:9000")
	if _, err := held.told(); !isReset(err) {
		t.Errorf("the connection to it: %v, want a reset", err)
	}
	for range 6 {
		if server, took := n.reached(g); server != "127.0.1.2:9000" || took > 180*time.Millisecond && !withRace {
			t.Errorf("got to %s after %v", server, took)
		}
	}
	if failed := g.serverAt("127.0.1.1:9000").Failures; failed != 0 {
		t.Errorf("%d connections were tried in vain", failed)
	}
	n.filter()
	g.awaitState("up", "127.0.1.1:9000")
}
