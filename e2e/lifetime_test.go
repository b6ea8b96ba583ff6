package e2e

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// A renewed certificate comes in at the end of the old one's lifetime in the cache, without a flush and without a failed
// handshake in between; the connection that is open notices nothing.
func TestRotationWithoutFlush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {ttl: 1s, min_ttl: 1s}")
	old := w.dial("a.example")
	renewed := w.store.rotate("a.example")
	w.eventually("the new certificate is served", func() bool {
		c := w.dial("a.example")
		defer c.Close()
		return c.fingerprint() == renewed.fingerprint()
	})
	old.wantEcho(t, "still here")
}

// A refresh shows the validator it was given; on 304 the certificate stays and its lifetime starts anew.
func TestRefreshIsConditional(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {ttl: 1s, min_ttl: 1s}")
	w.store.on("a.example", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("ETag", `"one"`)
		if r.Header.Get("If-None-Match") == `"one"` {
			rw.WriteHeader(http.StatusNotModified)
			return
		}
		w.store.serveIssued(rw, r)
	})
	w.visit("a.example")
	w.eventually("it was asked for again", func() bool { return len(w.store.requests("a.example")) >= 2 })
	if got := w.store.requests("a.example")[1].Header.Get("If-None-Match"); got != `"one"` {
		t.Errorf("asked again with If-None-Match %q", got)
	}
	w.visit("a.example")
	if got := w.status().Names; len(got) != 1 || got[0].LastError != "" {
		t.Errorf("status %+v", got)
	}
}

// With the store down a certificate is served until it expires, and not beyond.
func TestExpiredIsNeverServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	short := ca().issue([]string{"short.example"}, func(c *x509.Certificate) { valid(-time.Hour, 4*time.Second)(c) })
	w.store.on("short.example", bundle(short))
	w.visit("short.example")
	w.store.stop()
	w.visit("short.example")
	time.Sleep(time.Until(short.leaf().NotAfter) + time.Second)
	w.refused("short.example", alertInternalError)
}

// Cache-Control decides when it is asked for again; no-store is for the handshake at hand alone.
func TestCacheControl(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {min_ttl: 1s}")
	for name, control := range map[string]string{"day.example": "max-age=86400", "hour.example": "max-age=60, s-maxage=3600", "never.example": "no-store"} {
		w.store.on(name, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Cache-Control", control)
			w.store.serveIssued(rw, r)
		})
	}
	w.store.rotate("day.example") // valid for 12 hours: that bounds it
	for name, limits := range map[string][2]float64{"day.example": {4 * 3600, 12 * 3600}, "hour.example": {3000, 3600}} {
		w.visit(name)
		var got certStatus
		w.get("/certs/"+name, &got)
		if got.RefetchIn < limits[0] || got.RefetchIn > limits[1] {
			t.Errorf("%s is to be fetched again in %v s, want between %v and %v", name, got.RefetchIn, limits[0], limits[1])
		}
	}
	for range 3 {
		w.visit("never.example")
	}
	w.store.wantRequests(t, "never.example", 3)
}

// A refresh that brings a bad bundle keeps the good one and tells of it.
func TestBadRefreshKeepsTheOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {ttl: 1s, min_ttl: 1s}")
	w.visit("a.example")
	w.store.on("a.example", bundle(ca().issue([]string{"other.example"})))
	w.eventually("the mistake is told", func() bool { return w.status().Names[0].LastError != "" })
	w.visit("a.example")
}

// A no for a name that is served marks it withdrawn; a second one, later, drops it.
func TestWithdrawal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {ttl: 1s, min_ttl: 1s, withdraw_after: 1s}")
	for i := range 30 { // so that one that is withdrawn is less than 5 % of what is refreshed
		w.visit(fmt.Sprintf("stays%d.example", i))
	}
	w.visit("leaves.example")
	w.store.on("leaves.example", status(404))
	w.eventually("it was asked for", func() bool { return len(w.store.requests("leaves.example")) == 2 })
	w.visit("leaves.example")
	w.eventually("it is refused", func() bool { return !w.serves("leaves.example") })
	w.refused("leaves.example", alertUnrecognizedName)
	w.visit("stays1.example")
}

// Another name in a certificate answers for itself only when the chain is trusted: no customer takes another's name.
func TestUntrustedSANIsNoAlias(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.on("evil.example", bundle(stranger().issue([]string{"evil.example", "victim.example", "*.example"})))
	w.dial("evil.example", anyCertificate).Close()
	w.visit("victim.example")
	w.visit("other.example")
	w.store.wantRequests(t, "victim.example", 1)
}

// With a trusted chain the other names are served without a wait, and asked for in the background.
func TestTrustedSANIsAlias(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fmt.Sprintf("cache: {alias_ca_file: %q}", ca().rootFile(t)))
	shared := ca().issue([]string{"a.example", "b.example", "c.example"})
	w.store.on("a.example", bundle(shared))
	w.store.on("b.example", after(700*time.Millisecond, w.store.serveIssued))
	w.store.on("c.example", after(200*time.Millisecond, status(404)))
	w.visit("a.example")
	for _, name := range []string{"b.example", "c.example"} {
		if got := w.dial(name).fingerprint(); got != shared.fingerprint() {
			t.Errorf("%s did not get the certificate that names it", name)
		}
	}
	own := w.store.pairFor("b.example").fingerprint()
	w.eventually("b.example has its own", func() bool { return w.dial("b.example").fingerprint() == own })
	w.eventually("c.example is refused", func() bool { return !w.serves("c.example") })
	if got := w.dial("a.example").fingerprint(); got != shared.fingerprint() {
		t.Error("a.example lost its certificate")
	}
}

// With san_aliases off, or for a name that was fetched for itself, no alias is served.
func TestNoAlias(t *testing.T) {
	t.Parallel()
	for overrides, before := range map[string]bool{
		"cache: {san_aliases: off}":                                 false,
		fmt.Sprintf("cache: {alias_ca_file: %q}", ca().rootFile(t)): true,
	} {
		w := newWorld(t, overrides)
		if before {
			w.visit("b.example")
		}
		w.store.on("a.example", bundle(ca().issue([]string{"a.example", "b.example"})))
		w.visit("a.example")
		if got := w.dial("b.example").fingerprint(); got != w.store.pairFor("b.example").fingerprint() {
			t.Errorf("%s: b.example got the certificate of a.example", overrides)
		}
	}
}
