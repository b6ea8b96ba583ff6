package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// handshakeFrom is handshake from another address of this machine. Where there is none the test is skipped.
func (g *gate) handshakeFrom(source, name string) (*client, error) {
	g.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: patience}
	conn, err := dialer.Dial("tcp", g.address)
	if err != nil {
		g.t.Skipf("no connection from %s: %v", source, err)
	}
	g.t.Cleanup(func() { conn.Close() })
	w := &wire{TCPConn: conn.(*net.TCPConn)}
	w.SetDeadline(time.Now().Add(patience))
	c := &client{Conn: tls.Client(w, &tls.Config{RootCAs: ca().pool, ServerName: name}), wire: w}
	return c, c.Handshake()
}

// wantFrom checks what a client at source gets: the alert, or with 0 a certificate.
func (g *gate) wantFrom(source, name string, alert int) {
	g.t.Helper()
	c, err := g.handshakeFrom(source, name)
	if got := c.wire.alert(); got != alert || (err == nil) != (alert == 0) {
		g.t.Errorf("%s from %s: alert %d (%v), want %d", name, source, got, err, alert)
	}
	c.Close()
}

// exhaust asks for unknown names from each source in turn until one is refused otherwise than as unknown, and gives that
// name, the client that asked for it, and how many were looked up before.
func (g *gate) exhaust(sources ...string) (name string, refused *client, before int) {
	g.t.Helper()
	for i := range 300 {
		name := fmt.Sprintf("nobody%d.example", i)
		c, err := g.handshakeFrom(sources[i%len(sources)], name)
		if err == nil {
			g.t.Fatalf("%s was served", name)
		}
		if c.wire.alert() != alertUnrecognizedName {
			return name, c, i
		}
	}
	g.t.Fatal("300 unknown names were looked up")
	return "", nil, 0
}

// smallBudget has the store know the names that begin with "known".
func smallBudget(t testing.TB, overrides ...string) *world {
	t.Helper()
	w := newWorld(t, overrides...)
	w.store.onAll(status(404))
	for i := range 40 {
		w.store.works(fmt.Sprintf("known%d.example", i))
	}
	return w
}

// A client that asks for name after name that nobody has is refused with internal_error, without the store being asked;
// names that are cached are served to it as before, and other clients notice nothing.
func TestFloodingClientIsLimited(t *testing.T) {
	t.Parallel()
	w := smallBudget(t, "lookups: {per_client: 1, per_client_burst: 5}")
	w.wantFrom("127.0.0.2", "known0.example", 0)
	began := time.Now()
	name, c, before := w.exhaust("127.0.0.2")
	if most := 6 + int(time.Since(began)/time.Second); before < 5 || before > most {
		t.Errorf("%d names were looked up first, want 5 to %d", before, most)
	}
	if c.wire.alert() != alertInternalError {
		t.Errorf("alert %d", c.wire.alert())
	}
	if line := w.accessOf(c); line.text("reason") != "limited" {
		t.Errorf("its access line: %v", line)
	}
	w.store.wantRequests(t, name, 0)
	w.wantFrom("127.0.0.2", "known0.example", 0)
	w.wantFrom("127.0.0.1", "known1.example", 0)
	w.wantFrom("127.0.0.1", "other.example", alertUnrecognizedName)
	var told struct{ Cache struct{ Limited int } }
	w.get("/status", &told)
	if told.Cache.Limited == 0 {
		t.Error("status counts none that was limited")
	}
	wantExit(t, "status", w.ctl("status"), 0, fmt.Sprintf("%d limited", told.Cache.Limited))
}

// All clients together have a budget too, which many addresses do not get around; it fills up again.
func TestFloodFromManyAddresses(t *testing.T) {
	t.Parallel()
	w := smallBudget(t, "lookups: {rate: 1, burst: 8, per_client: 0}")
	w.visit("known0.example")
	_, c, before := w.exhaust("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
	if before < 8 || c.wire.alert() != alertInternalError {
		t.Errorf("after %d names: alert %d", before, c.wire.alert())
	}
	w.visit("known0.example")
	w.within(8*time.Second, "a name is looked up again", func() bool { return w.serves("known1.example") })
}

// Names that the store knows cost nothing: after a restart one client may ask for very many of them.
func TestKnownNamesAreFree(t *testing.T) {
	t.Parallel()
	w := smallBudget(t, "lookups: {rate: 1, burst: 3, per_client: 1, per_client_burst: 3}")
	for i := range 40 {
		w.wantFrom("127.0.0.1", fmt.Sprintf("known%d.example", i), 0)
	}
}

// Neither does what an operator has prefetched, unknown names included, nor a no that is remembered.
func TestPrefetchIsFree(t *testing.T) {
	t.Parallel()
	w := smallBudget(t, "lookups: {rate: 1, burst: 3, per_client: 1, per_client_burst: 3}")
	names := []string{"prefetch", "--control", w.control}
	for i := range 20 {
		names = append(names, fmt.Sprintf("nobody%d.example", i))
	}
	if got := command(t, names...); got.code != 1 || strings.Count(got.stdout, "unknown") < 20 {
		t.Errorf("prefetch: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	for i := range 20 { // remembered
		w.wantFrom("127.0.0.1", fmt.Sprintf("nobody%d.example", i), alertUnrecognizedName)
	}
	w.wantFrom("127.0.0.1", "fresh.example", alertUnrecognizedName)
}
