package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// contains tells whether any field of a line of the log has a text.
func contains(e entry, text string) bool { return strings.Contains(fmt.Sprint(e), text) }

// told counts the lines of the log about an error that have a text.
func (g *gate) told(text string) int {
	return g.lines(func(e entry) bool { return e.text("level") == "error" && contains(e, text) })
}

// Whatever the CA does, the certificate that is there goes on being served, one line says what is wrong in the CA's own words,
// and it is not asked again at once.
func TestACMERenewalFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breaks func(*pebble)
		says   string
		most   int // requests
	}{
		"down": {func(p *pebble) { p.stop() }, "connection refused", 0},
		"unavailable": {
			func(p *pebble) {
				p.on(stepOrder, problem(503, "serverInternal", "down for maintenance until noon", "600"))
			},
			"down for maintenance until noon", 12,
		},
		"rate limit": {
			func(p *pebble) {
				p.on(stepOrder, problem(429, "rateLimited", "too many certificates already issued for a.example", "3600"))
			},
			"too many certificates already issued for a.example", 12,
		},
		"no JSON": {
			func(p *pebble) {
				p.on(stepOrder, func(w http.ResponseWriter, _ *http.Request) {
					http.Error(w, "<html>gateway trouble", http.StatusBadGateway)
				})
			},
			"502", 12,
		},
		"another key's certificate": {
			func(p *pebble) {
				p.on(stepCertificate, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/pem-certificate-chain")
					fmt.Fprint(w, ca().issue([]string{"a.example"}).certPEM())
				})
			},
			"key", 40,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPebble(t)
			g := p.gate("names: [a.example]")
			first := p.awaitServed(g, "a.example")
			before := p.asked("/")
			test.breaks(p)
			got := g.ctl("acme", "renew", "a.example", "--force")
			if wantExit(t, "renew", got, 1); !strings.Contains(got.stderr, test.says) {
				t.Errorf("it does not say %q: %s", test.says, got.stderr)
			}
			state := g.acme("a.example")
			if !strings.Contains(state.Last.Error, test.says) || state.Errors != 1 {
				t.Errorf("%d errors, the last: %s", state.Errors, state.Last.Error)
			}
			time.Sleep(2 * time.Second)
			if got := g.told(test.says); got != 1 {
				t.Errorf("%d lines say %q:\n%s", got, test.says, g.log.tail(20))
			}
			if got := p.asked("/") - before; got > test.most {
				t.Errorf("the CA was asked %d times more", got)
			}
			if leaf := p.leaf(g, "a.example"); !leaf.Equal(first) {
				t.Error("another certificate is served")
			}
			if pairs := p.stored("a.example"); len(pairs) != 1 || !pairs[0].Leaf.Equal(first) {
				t.Error("another certificate is in storage")
			}
		})
	}
}

// Retry-After is honoured.
func TestACMERetryAfter(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	p.on(stepOrder, problem(429, "rateLimited", "too many orders recently", "7200"))
	g := p.gate("names: [a.example]")
	state := g.awaitACME("a.example", "failed")
	if wait := time.Until(state.NextAt); wait < 115*time.Minute || wait > 4*time.Hour {
		t.Errorf("the next try is in %v, want 2h", wait)
	}
	wantText(t, "the error", state.Last.Error, "too many orders recently")
}

// A name that the CA refuses is remembered: clients that go on asking for it cost no order.
func TestACMERefusedName(t *testing.T) {
	t.Parallel()
	p := newPebble(t, caSays("domainBlocklist", []string{"blocked.example"}))
	g := p.gate("on_demand: [.example]")
	for range 5 {
		if g.serves("blocked.example", p.trusted) {
			t.Fatal("it was served")
		}
	}
	if got := p.asked(stepOrder); got != 1 {
		t.Errorf("%d orders, want 1", got)
	}
	state := g.acme("blocked.example")
	wantText(t, "the error", state.Last.Error, "forbidden by policy")
	if wait := time.Until(state.NextAt); wait < 11*time.Hour {
		t.Errorf("the next try is in %v: it will not be taken then either", wait)
	}
	g.eventually("the log says so", func() bool { return g.told("forbidden by policy") > 0 })
	began := time.Now()
	g.serves("blocked.example", p.trusted)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a client waited %v for what is known to fail", took)
	}
	p.leaf(g, "other.example")
	if got := g.told("forbidden by policy"); got != 1 {
		t.Errorf("%d lines say so", got)
	}
}

// A CA that refuses a third of all nonces is no hindrance.
func TestACMENonces(t *testing.T) {
	t.Parallel()
	p := newPebble(t, rejectsNonces(30))
	g := p.gate("names: [a.example, b.example, c.example]")
	for _, name := range []string{"a.example", "b.example", "c.example"} {
		p.awaitServed(g, name)
		if state := g.acme(name); state.Errors != 0 {
			t.Errorf("%s: %d errors, %s", name, state.Errors, state.Last.Error)
		}
	}
}

// A CA that never answers costs a client no more than acme.wait, and other names nothing.
func TestACMESilentCA(t *testing.T) {
	t.Parallel()
	p, certs := newPebble(t), newStore(t)
	defer p.gated(stepDirectory)()
	fallback, overrides := withFallback(t)
	g := p.gate("", overrides, p.uses("on_demand: [.customers.example], wait: 2s",
		fmt.Sprintf("{http: {url: %q}, names: [.other.example]}", certs.url())))
	began := time.Now()
	if !g.gets("a.customers.example", fallback, anyCertificate) {
		t.Error("no fallback")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it waited %v", took)
	}
	began = time.Now()
	g.visit("b.other.example")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("another name waited %v", took)
	}
	g.stop() // with the order still under way
}

// When one CA can not be had, the next of the list is taken.
func TestACMEFailOver(t *testing.T) {
	t.Parallel()
	down, p := newPebble(t), newPebble(t)
	down.stop()
	g := p.gate(fmt.Sprintf("names: [a.example], directories: [%q, %q]", down.directory(), p.directory()))
	p.awaitServed(g, "a.example")
	if state := g.acme("a.example"); !strings.Contains(state.CA, p.address) {
		t.Errorf("%+v", state)
	}
}

// An account is bound to one that the CA's customer has already; without that the CA's refusal is told.
func TestACMEExternalAccount(t *testing.T) {
	t.Parallel()
	const key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	p := newPebble(t, caSays("externalAccountBindingRequired", true), caSays("externalAccountMACKeys", map[string]string{"kid-1": key}))
	file := p.storage + ".hmac"
	writeFile(t, file, key+"\n")
	g := p.gate(fmt.Sprintf("names: [a.example], eab: {kid: kid-1, hmac_file: %q}", file))
	p.awaitServed(g, "a.example")
	if strings.Contains(g.log.String(), key[:20]) {
		t.Error("the log holds the key")
	}
	g.stop()
	p.storage += "-other"
	g = p.gate("names: [b.example]")
	wantText(t, "the error", g.awaitACME("b.example", "failed").Last.Error, "externalAccountBinding")
}

// The profile that is configured is asked for; one that the CA does not have is an error in its words.
func TestACMEProfile(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.gate("names: [a.example], profile: shortlived")
	leaf := p.awaitServed(g, "a.example")
	if life := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour); life != 6*24*time.Hour {
		t.Errorf("it is good for %v", life)
	}
	if due := time.Until(g.acme("a.example").DueAt); due > 4*24*time.Hour+time.Hour {
		t.Errorf("due in %v", due)
	}
	g.stop()
	p.storage += "-other"
	g = p.gate("names: [b.example], profile: nonesuch")
	wantText(t, "the error", g.awaitACME("b.example", "failed").Last.Error, "nonesuch")
}
