package e2e

import (
	"testing"
	"time"
)

// Two processes that share a storage make one order for a managed name, and both serve it within seconds.
func TestACMESharedManaged(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	one := p.gate("names: [a.example]")
	two := p.gateAt(freeAddress(t), "names: [a.example]")
	first := p.awaitServed(one, "a.example")
	two.within(6*time.Second, "the other one serves it", func() bool { return two.serves("a.example", p.trusted) })
	if !p.leaf(two, "a.example").Equal(first) {
		t.Error("the two serve different certificates")
	}
	p.wantOrders(t, "a.example", 1)
}

// A name on demand that clients of two processes ask for at once is one order, whose result both have.
func TestACMESharedOnDemand(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	gates := []*gate{p.gate("on_demand: [.example]"), p.gateAt(freeAddress(t), "on_demand: [.example]")}
	served := make(chan string, len(gates))
	for _, g := range gates {
		go func() {
			certificate, err := p.visit(g, "a.example")
			if err != nil {
				certificate = err.Error()
			}
			served <- certificate
		}()
	}
	if one, two := <-served, <-served; one != two || len(one) != 64 {
		t.Errorf("the two served %s and %s", one, two)
	}
	p.wantOrders(t, "a.example", 1)
}

// What one process renews, the other serves within seconds, without a request of its own.
func TestACMESharedRenewal(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	one := p.gate("names: [a.example]")
	two := p.gateAt(freeAddress(t), "names: [a.example]")
	p.awaitServed(one, "a.example")
	p.awaitServed(two, "a.example")
	clients := p.visited(two, 2, "a.example")
	for range 2 { // the first time it may be that two looks because it has just begun to
		wantExit(t, "renew", one.ctl("acme", "renew", "a.example", "--force"), 0)
		renewed := p.leaf(one, "a.example")
		two.within(6*time.Second, "the other one serves it", func() bool { return p.leaf(two, "a.example").Equal(renewed) })
	}
	clients.wantNoFailure(t)
	p.wantOrders(t, "a.example", 3)
}

// A challenge is answered by any of the processes that share a storage: here by the one that did not make the order.
func TestACMESharedChallenge(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	p.gate("names: [elsewhere.example]")
	orders := p.gateAt(freeAddress(t), "on_demand: [.example]") // the CA does not look here
	p.leaf(orders, "a.example")
	p.wantOrders(t, "a.example", 1)
}
