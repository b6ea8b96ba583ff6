package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Certificates that live for seconds are renewed while clients come and go: each handshake succeeds.
func TestACMERenewalUnderLoad(t *testing.T) {
	t.Parallel()
	p := newPebble(t, lifetime(15*time.Second))
	g := p.gate("names: [a.example]")
	p.awaitServed(g, "a.example")
	held := g.dial("a.example", p.trusted)
	clients := p.visited(g, 4, "a.example")
	g.within(40*time.Second, "three certificates", func() bool { return clients.certificates() >= 3 })
	held.wantEcho(t, "a connection from before goes on")
	clients.wantNoFailure(t)
	if orders := len(p.ordered("a.example")); orders > 2*len(clients.seen) {
		t.Errorf("%d orders for %d certificates", orders, len(clients.seen))
	}
}

// A certificate is renewed when two thirds of its life are over, before it ends, and the order says which one it replaces.
func TestACMERenewalAtAThird(t *testing.T) {
	t.Parallel()
	p := newPebble(t, lifetime(15*time.Second))
	p.on(stepRenewalInfo, problem(http.StatusInternalServerError, "serverInternal", "no renewal information today", ""))
	g := p.gate("names: [a.example]")
	first := p.awaitServed(g, "a.example")
	second := p.awaitOther(g, "a.example", first)
	if at := second.NotBefore.Sub(first.NotBefore); at < 8*time.Second || at > 12*time.Second {
		t.Errorf("renewed after %v of 15s", at)
	}
	orders := p.ordered("a.example")
	if len(orders) < 2 || orders[0].Replaces != "" || orders[1].Replaces == "" {
		t.Errorf("orders: %+v", orders)
	}
}

// When the CA says that a certificate is to be renewed at once, it is, though not before a tenth of its life is over.
func TestACMERenewalInfo(t *testing.T) {
	t.Parallel()
	p := newPebble(t, lifetime(50*time.Second))
	p.on(stepRenewalInfo, func(w http.ResponseWriter, r *http.Request) {
		p.works(stepRenewalInfo) // of certificates to come
		_, serial, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, stepRenewalInfo), ".")
		number := new(big.Int).SetBytes(must(base64.RawURLEncoding.DecodeString(serial)))
		if err := p.suggests(number, time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)); err != nil {
			t.Error(err)
		}
		p.pass(w, r)
	})
	g := p.gate("names: [a.example]")
	first := p.awaitServed(g, "a.example")
	second := p.awaitOther(g, "a.example", first)
	if at := second.NotBefore.Sub(first.NotBefore); at < 4*time.Second || at > 12*time.Second {
		t.Errorf("renewed after %v of 50s", at)
	}
	orders := p.ordered("a.example")
	if len(orders) != 2 || orders[0].Replaces != "" || orders[1].Replaces == "" {
		t.Errorf("orders: %+v", orders)
	}
	state := g.acme("a.example")
	if state.ARI == nil || state.DueAt.After(state.ARI.End) || !state.NotAfter.Equal(second.NotAfter) {
		t.Errorf("%+v", state)
	}
}

// A certificate that can not be renewed is served to its end and no longer; the script is told ahead, and the name is served
// again when the CA is there again.
func TestACMEExpires(t *testing.T) {
	t.Parallel()
	p := newPebble(t, lifetime(12*time.Second))
	script, calls := messageScript(t, "")
	g := p.gate(fmt.Sprintf("names: [a.example], message: [%q]", script))
	leaf := p.awaitServed(g, "a.example")
	p.stop()
	for time.Until(leaf.NotAfter) > time.Second {
		if !p.leaf(g, "a.example").Equal(leaf) {
			t.Fatal("another certificate is served")
		}
		time.Sleep(200 * time.Millisecond)
	}
	g.eventually("the script is told", func() bool { return slices.Contains(calls(), "expiring a.example") })
	g.eventually("it is served no more", func() bool { return !g.serves("a.example", p.trusted, anyCertificate) })
	g.awaitACME("a.example", "expired")
	p.start()
	wantExit(t, "renew", g.ctl("acme", "renew", "a.example"), 0)
	p.awaitServed(g, "a.example")
}

// Whoever holds a ticket from before a renewal comes back with it, or makes a whole handshake: never an error; connections
// that were open go on.
func TestACMERenewalKeepsConnections(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.gate("names: [a.example]")
	first := p.awaitServed(g, "a.example")
	open := g.dial("a.example", p.trusted)
	held := map[uint16]*wallet{tls.VersionTLS12: {}, tls.VersionTLS13: {}}
	for version, tickets := range held {
		p.leaf(g, "a.example", sessions(tickets), maxVersion(version))
	}
	wantExit(t, "renew --force", g.ctl("acme", "renew", "a.example", "--force"), 0, "a.example")
	second := p.awaitOther(g, "a.example", first)
	for version, tickets := range held {
		p.leaf(g, "a.example", sessions(tickets), maxVersion(version))
		p.leaf(g, "a.example", sessions(tickets), maxVersion(version))
	}
	open.wantEcho(t, "still here")
	if fresh := p.leaf(g, "a.example"); !fresh.Equal(second) {
		t.Error("a new handshake got neither the old nor the new certificate")
	}
	p.wantOrders(t, "a.example", 2)
}

// A renewal that is not due is not made unless it is forced; each certificate has a key of its own.
func TestACMERenewByHand(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.gate("names: [a.example]")
	first := p.awaitServed(g, "a.example")
	wantExit(t, "renew of what is not due", g.ctl("acme", "renew", "a.example"), 0, "not due")
	p.wantOrders(t, "a.example", 1)
	wantExit(t, "renew --force", g.ctl("acme", "renew", "a.example", "--force"), 0, "renewed")
	second := p.leaf(g, "a.example")
	if second.Equal(first) {
		t.Error("the old certificate is served when the command is through")
	}
	if string(second.RawSubjectPublicKeyInfo) == string(first.RawSubjectPublicKeyInfo) {
		t.Error("the new certificate has the old key")
	}
	wantExit(t, "renew of a name that is not there", g.ctl("acme", "renew", "nobody.example", "--force"), 1)
	p.wantOrders(t, "nobody.example", 0)
}

// A revoked certificate is revoked at the CA, is served no more, and another one is got in its place.
func TestACMERevoke(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.gate("names: [a.example]")
	first := p.awaitServed(g, "a.example")
	wantExit(t, "revoke", g.ctl("acme", "revoke", "a.example"), 0, "a.example")
	if status, _ := p.statusOf(first); status != "Revoked" {
		t.Errorf("the CA says: %s", status)
	}
	g.eventually("it is served no more", func() bool {
		c, err := handshake(g.address, "a.example", p.trusted)
		if c != nil {
			defer c.wire.TCPConn.Close()
		}
		return err != nil || !c.ConnectionState().PeerCertificates[0].Equal(first)
	})
	wantExit(t, "revoke of a name that is not there", g.ctl("acme", "revoke", "nobody.example"), 1)
}
