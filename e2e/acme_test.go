package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A managed name is obtained at the start, unasked: hellogate serves at once, and the name as soon as it can.
func TestACMEManaged(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	open := p.gated(stepOrder)
	certs := newStore(t)
	began := time.Now()
	g := p.gate("names: [a.example]", p.uses("names: [a.example]", fmt.Sprintf("{http: {url: %q}}", certs.url())))
	if took := time.Since(began); took > 5*time.Second && !withRace {
		t.Errorf("it took %v to start", took)
	}
	g.visit("other.example") // of the other store
	if state := g.acme("a.example"); state.State != "ordering" || !state.Managed {
		t.Errorf("before the order is through: %+v", state)
	}
	open()
	if state := g.awaitACME("a.example", "valid"); state.NotAfter.Before(time.Now().Add(80 * 24 * time.Hour)) {
		t.Errorf("afterwards: %+v", state)
	}
	if leaf := p.leaf(g, "a.example"); keyKind(leaf) != "p256" || len(leaf.DNSNames) != 1 {
		t.Errorf("%s for %v", keyKind(leaf), leaf.DNSNames)
	}
	p.wantOrders(t, "a.example", 1)
	if pairs := p.stored("a.example"); len(pairs) != 1 {
		t.Errorf("%d pairs in storage", len(pairs))
	}
	filepath.WalkDir(p.storage, func(path string, entry fs.DirEntry, err error) error {
		if mode := must(entry.Info()).Mode(); mode.Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, mode)
		}
		return err
	})
}

// A name on demand is ordered by its first handshake, which waits; what is in storage is served by the next process unordered.
func TestACMEOnDemand(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.gate("on_demand: [.customers.example]")
	first := p.leaf(g, "a.customers.example")
	if again := p.leaf(g, "a.customers.example"); !again.Equal(first) {
		t.Error("the second connection got another certificate")
	}
	g.stop()
	g = p.again(g)
	if again := p.leaf(g, "a.customers.example"); !again.Equal(first) {
		t.Error("another certificate after a restart")
	}
	p.leaf(g, "b.customers.example")
	if got := p.asked(stepAccount); got != 1 {
		t.Errorf("the CA was asked for an account %d times, want 1", got)
	}
	p.wantOrders(t, "a.customers.example", 1)
	if state := g.acme("a.customers.example"); state.State != "valid" || state.Managed {
		t.Errorf("%+v", state)
	}
}

// What is neither managed, nor below a suffix, nor permitted is never ordered, whoever asks for it.
func TestACMEOrdersNoOtherName(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.gate("names: [managed.example], on_demand: [.customers.example]")
	p.awaitServed(g, "managed.example")
	for _, name := range []string{"a.example", "notcustomers.example", "x.managed.example", "customers.example.net"} {
		g.refused(name, alertUnrecognizedName)
	}
	p.leaf(g, "b.customers.example")
	for _, name := range []string{"a.example", "notcustomers.example", "x.managed.example", "customers.example.net"} {
		p.wantOrders(t, name, 0)
	}
	if got := p.asked(stepOrder); got != 2 {
		t.Errorf("%d orders, want those for 2 names", got)
	}
}

// With a permission service, names are ordered that it lets through, and no others.
func TestACMEPermission(t *testing.T) {
	t.Parallel()
	p, allowed := newPebble(t), newPermits(t)
	allowed.on("no.example", status(http.StatusForbidden))
	g := p.gate("", allowed.setting())
	p.leaf(g, "yes.example")
	if g.serves("no.example", p.trusted) {
		t.Error("a name that is not permitted was served")
	}
	p.wantOrders(t, "yes.example", 1)
	p.wantOrders(t, "no.example", 0)
	if got := p.asked(stepOrder); got != 1 {
		t.Errorf("%d orders, want 1", got)
	}
	allowed.wantQuestions(t, "yes.example", 1)
}

// Who would order for anybody is told so, and does not start.
func TestACMEForAnybody(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	for name, settings := range map[string]string{
		"nothing":   "",
		"any name":  `on_demand: ["*"]`,
		"no terms":  "names: [a.example], accept_terms: false",
		"wildcards": `names: ["*.a.example"]`, // without dns01
	} {
		g := p.configured(p.listener, settings)
		got := command(t, "check", "-c", g.config)
		if got.code != 1 || !strings.Contains(got.stderr, "acme") {
			t.Errorf("%s: exit %d\n%s%s", name, got.code, got.stdout, got.stderr)
		}
	}
	if got := p.asked("/"); got != 0 {
		t.Errorf("the CA was asked %d times", got)
	}
}

// A first handshake does not wait for longer than acme.wait: it gets the fallback while the order goes on, and the next
// connections get the certificate as soon as it is there.
func TestACMEFallbackWhileOrdering(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	open := p.gated(stepFinalize)
	defer open()
	fallback, overrides := withFallback(t)
	g := p.gate("on_demand: [.example], wait: 1s", overrides)
	began := time.Now()
	if !g.gets("a.example", fallback, anyCertificate) {
		t.Fatal("no fallback while the order is slow")
	}
	if took := time.Since(began); took < 900*time.Millisecond || took > 6*time.Second {
		t.Errorf("it waited %v, want 1s", took)
	}
	if !g.gets("a.example", fallback, anyCertificate) {
		t.Error("no fallback for the second one")
	}
	open()
	g.within(5*time.Second, "the certificate is served", func() bool { return g.serves("a.example", p.trusted) })
	p.wantOrders(t, "a.example", 1)
}

// However many clients ask for a new name at once, it is one order, and all get its certificate.
func TestACMEManyHandshakesOneOrder(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.gate("on_demand: [.example]")
	var clients sync.WaitGroup
	var served atomic.Int64
	for range 300 {
		clients.Go(func() {
			if g.serves("a.example", p.trusted, classical) {
				served.Add(1)
			}
		})
	}
	clients.Wait()
	if served.Load() != 300 {
		t.Errorf("%d of 300 were served", served.Load())
	}
	p.wantOrders(t, "a.example", 1)
}

// No more orders are begun in a second, beyond a burst, and no more run at once than is allowed, however many new names are
// asked for; nor are there more for the names of one domain.
func TestACMEOrdersAreLimited(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits, names string
		least, most   int // orders within 3 seconds
	}{
		"rate":       {"{rate: 1, burst: 2}", "n.domain%d.example", 3, 6},
		"at once":    {"{at_once: 2}", "n.domain%d.example", 2, 2},
		"per domain": {"{per_domain: 3}", "n%d.domain.example", 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPebble(t)
			open := p.gated(stepFinalize)
			defer open()
			g := p.gate("on_demand: [.example], wait: 3s, limits: " + test.limits)
			var clients sync.WaitGroup
			for i := range 10 {
				clients.Go(func() { g.serves(fmt.Sprintf(test.names, i), p.trusted) })
			}
			time.Sleep(3 * time.Second)
			if got := p.asked(stepOrder); got < test.least || got > test.most {
				t.Errorf("%d orders, want %d to %d", got, test.least, test.most)
			}
			open()
			clients.Wait()
		})
	}
}

// Several key types are several certificates of one name, each client gets one that it can use, and no key is used twice.
func TestACMEKeyTypes(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.gate("names: [a.example], key_types: [p256, rsa2048]")
	g.awaitACME("a.example", "valid")
	if leaf := p.leaf(g, "a.example"); keyKind(leaf) != "p256" {
		t.Errorf("a modern client got %s", keyKind(leaf))
	}
	if leaf := p.leaf(g, "a.example", withoutECDSA); keyKind(leaf) != "rsa2048" {
		t.Errorf("a client that knows nothing but RSA got %s", keyKind(leaf))
	}
	before := p.stored("a.example")
	if len(before) != 2 {
		t.Fatalf("%d pairs in storage", len(before))
	}
	wantExit(t, "renew", g.ctl("acme", "renew", "a.example", "--force"), 0)
	g.eventually("both are renewed", func() bool {
		after := p.stored("a.example")
		return !after[0].Leaf.Equal(before[0].Leaf) && !after[1].Leaf.Equal(before[1].Leaf)
	})
	keys := map[string]bool{}
	for _, pair := range append(before, p.stored("a.example")...) {
		keys[string(pair.Leaf.RawSubjectPublicKeyInfo)] = true
	}
	if len(keys) != 4 {
		t.Errorf("%d keys in 4 certificates", len(keys))
	}
}
