package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// sendsTo answers with a pair and where connections are to go: "backend" and a name, or "servers" and addresses.
func sendsTo(p pair, member string, where any) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(must(json.Marshal(map[string]any{"cert": p.certPEM(), "key": p.keyPEM(), member: where})))
	}
}

// routedWorld is a world with a second backend, other, which is told by PROXY protocol 1 in place of 2.
type routedWorld struct {
	*world
	other *backend
}

// newRouted starts one; allow is what the store may say besides configured backends.
func newRouted(t testing.TB, allow string, overrides ...string) *routedWorld {
	t.Helper()
	w := &routedWorld{world: &world{store: newStore(t), backend: newBackend(t, echo)}, other: newBackend(t, echo)}
	w.gate = start(t, append([]string{
		fmt.Sprintf("stores: [{http: {url: %q}, allow: [%s]}]", w.store.url(), allow),
		usesBackend(w.backend.address),
		fmt.Sprintf("backends: {other: {servers: [{address: %q}], send_proxy: v1}}", w.other.address),
	}, overrides...)...)
	return w
}

// goesTo visits a name and checks which backend that came to, and with which version of the PROXY protocol.
func (w *routedWorld) goesTo(name string, to *backend, version int) entry {
	w.t.Helper()
	c := w.dial(name)
	c.wantEcho(w.t, "hello")
	if got := to.next(w.t).header; got.Version != version || got.Source.String() != c.LocalAddr().String() {
		w.t.Errorf("%s: header %+v", name, got)
	}
	c.Close()
	return w.accessOf(c)
}

// turnedAway checks that a client of the name is dropped after the handshake, that nobody was connected to, and why.
func (w *routedWorld) turnedAway(name string, reasons ...string) {
	w.t.Helper()
	c := w.dial(name)
	if _, err := c.Read(make([]byte, 1)); !isReset(err) {
		w.t.Errorf("%s: the connection ended with %v", name, err)
	}
	line := w.accessOf(c)
	if line.text("reason") != "no_backend" {
		w.t.Errorf("%s: reason %q", name, line.text("reason"))
	}
	for _, want := range reasons {
		if !strings.Contains(line.text("error"), want) {
			w.t.Errorf("%s: the log says %q, without %q", name, line.text("error"), want)
		}
	}
	w.backend.wantNone(w.t)
	w.other.wantNone(w.t)
}

// A store's answer names a configured backend, in its JSON or beside PEM in a header: connections for that name go there, with
// that backend's settings; those for other names go on to the route's.
func TestAnswerNamesBackend(t *testing.T) {
	t.Parallel()
	w := newRouted(t, "")
	p := ca().issue([]string{"pem.example"})
	w.store.on("json.example", sendsTo(w.store.pairFor("json.example"), "backend", "other"))
	w.store.on("pem.example", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X-Hellogate-Backend", "other")
		rw.Header().Set("Content-Type", "application/x-pem-file")
		fmt.Fprint(rw, p.certPEM(), p.keyPEM())
	})
	for _, name := range []string{"json.example", "pem.example", "json.example"} {
		if line := w.goesTo(name, w.other, 1); line.text("backend") != "other" || line.text("server") != w.other.address {
			t.Errorf("%s: the log says backend %q, server %q", name, line.text("backend"), line.text("server"))
		}
	}
	w.goesTo("plain.example", w.backend, 2)
	wantExit(t, "cert show", w.ctl("cert", "show", "json.example"), 0, "other")
	wantExit(t, "explain", w.ctl("explain", "json.example"), 0, "other")
}

// A store's answer names servers within what its entry allows: they are dialled with the settings of the route's backend.
func TestAnswerNamesServers(t *testing.T) {
	t.Parallel()
	w := newRouted(t, "127.0.0.0/8")
	away := newBackend(t, echo)
	w.store.on("a.example", sendsTo(w.store.pairFor("a.example"), "servers", []string{away.address}))
	for range 2 {
		if line := w.goesTo("a.example", away, 2); line.text("backend") != "main" || line.text("server") != away.address {
			t.Errorf("the log says backend %q, server %q", line.text("backend"), line.text("server"))
		}
	}
	w.goesTo("b.example", w.backend, 2)
	_, port, _ := net.SplitHostPort(away.address)
	w.store.on("host.example", sendsTo(w.store.pairFor("host.example"), "servers", []string{"127.0.0.1:1", "localhost:" + port}))
	w.goesTo("host.example", away, 2)
}

// What a store names outside of what its entry allows is not connected to, and a name is judged by the addresses that it
// stands for. A client whose name is to go to a backend that nobody configured is refused.
func TestAnswerNamesWhatIsNotAllowed(t *testing.T) {
	t.Parallel()
	for allow, reason := range map[string]string{"": "allowed", "10.0.0.0/8": "allowed", "'::1/128'": "allowed"} {
		t.Run("allow "+allow, func(t *testing.T) {
			t.Parallel()
			w := newRouted(t, allow)
			_, port, _ := net.SplitHostPort(w.other.address)
			for name, address := range map[string]string{
				"address.example": w.other.address, "host.example": "localhost:" + port, "mapped.example": "[::ffff:127.0.0.1]:" + port,
			} {
				w.store.on(name, sendsTo(w.store.pairFor(name), "servers", []string{address}))
				w.turnedAway(name, reason, port)
			}
		})
	}
	w := newRouted(t, "0.0.0.0/0")
	w.store.on("a.example", sendsTo(w.store.pairFor("a.example"), "backend", "nobody"))
	w.refused("a.example", alertInternalError)
	if line := w.access("name", "a.example"); line.text("reason") != "no_backend" || !strings.Contains(line.text("error"), `backend "nobody" is not configured`) {
		t.Errorf("the log says %q: %s", line.text("reason"), line.text("error"))
	}
	wantExit(t, "explain", w.ctl("explain", "a.example"), 0, "nobody, which is not configured")
	w.goesTo("b.example", w.backend, 2)
}

// Where a name goes is asked again when it is used past route_ttl, long before the certificate is; a flush asks at once. A
// store that fails changes nothing.
func TestRoutingIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newRouted(t, "", "cache: {route_ttl: 1s}")
	p := w.store.pairFor("a.example")
	w.store.on("a.example", sendsTo(p, "backend", "other"))
	w.goesTo("a.example", w.other, 1)
	w.store.on("a.example", status(500))
	w.eventually("it is asked for again", func() bool {
		w.goesTo("a.example", w.other, 1)
		return len(w.store.requests("a.example")) >= 2
	})
	w.goesTo("a.example", w.other, 1)
	w.flush("a.example")
	w.store.on("a.example", sendsTo(p, "backend", "main"))
	w.goesTo("a.example", w.backend, 2)
	w.store.on("a.example", sendsTo(p, "backend", "other"))
	w.eventually("connections go to the other backend", func() bool {
		c := w.dial("a.example")
		c.wantEcho(t, "hello")
		c.Close()
		return w.accessOf(c).text("backend") == "other"
	})
}

// Where a name goes is said of that name alone: another one that its certificate covers goes where the route says.
func TestRoutingIsNotForAliases(t *testing.T) {
	t.Parallel()
	w := newRouted(t, "", "cache: {san_aliases: all}")
	shared := ca().issue([]string{"a.example", "b.example"})
	w.store.on("a.example", sendsTo(shared, "backend", "other"))
	w.store.on("b.example", hang)
	w.goesTo("a.example", w.other, 1)
	if line := w.goesTo("b.example", w.backend, 2); line.text("cert") != "hit" {
		t.Errorf("b.example was served by a %s, not as an alias", line.text("cert"))
	}
}

// Where a name goes is kept on disk with its certificate.
func TestRoutingFromDisk(t *testing.T) {
	t.Parallel()
	w := newRouted(t, "127.0.0.0/8", keepsOnDisk(t))
	away := newBackend(t, echo)
	w.store.on("a.example", sendsTo(w.store.pairFor("a.example"), "backend", "other"))
	w.store.on("b.example", sendsTo(w.store.pairFor("b.example"), "servers", []string{away.address}))
	w.goesTo("a.example", w.other, 1)
	w.goesTo("b.example", away, 2)
	w.store.stop()
	w.gate = w.again()
	w.goesTo("a.example", w.other, 1)
	w.goesTo("b.example", away, 2)
}
