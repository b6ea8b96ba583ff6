package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// twoPools has a second backend beside main, called other.
func twoPools(address string) string {
	return fmt.Sprintf("backends: {other: {servers: [{address: %q}]}}", address)
}

// goesTo checks which backend a visit ends up at.
func (g *gate) goesTo(c *client, want string) {
	g.t.Helper()
	c.wantEcho(g.t, "hello")
	c.Close()
	if got := g.accessOf(c).text("backend"); got != want {
		g.t.Errorf("%s from %v went to %s, want %s", c.ConnectionState().ServerName, c.LocalAddr(), got, want)
	}
}

// A route is for the clients of a network, which may be an address alone; anybody else falls through to the next one for the
// name.
func TestRouteByClientAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := start(t, usesStore(w.store), usesBackend(w.backend.address), twoPools(w.backend.address), `routes:
  - {match: {names: [a.example], client_ips: [127.0.0.32/28, 127.0.0.7]}, backend: other}
  - {match: {names: [a.example], client_ips: [127.0.0.0/8, '::1']}, backend: main}
  - {match: {names: [b.example], client_ips: [127.0.0.7]}, backend: main}
`)
	for source, want := range map[string]string{
		"127.0.0.7": "other", "127.0.0.8": "main", "127.0.0.31": "main", "127.0.0.32": "other", "127.0.0.47": "other", "127.0.0.48": "main",
	} {
		g.goesTo(g.dialFrom(source, "a.example"), want)
	}
	g.goesTo(g.dialFrom("127.0.0.7", "b.example"), "main")
	g.refusedFrom("127.0.0.8", "b.example", alertUnrecognizedName)
	g.access("reason", "no_route")
}

// A route is for those who come in at one listener, by its name or its address; at another the same name takes another.
func TestRouteByListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outside, inside := freeAddress(t), freeAddress(t)
	g := start(t, usesStore(w.store), usesBackend(w.backend.address), twoPools(w.backend.address), fmt.Sprintf(`
listeners: [{address: %q}, {name: inside, address: %q}]
routes:
  - {match: {names: [a.example], listeners: [inside]}, backend: other}
  - {match: {names: [a.example], listeners: [%q]}, backend: main}
  - {match: {names: [b.example], listeners: [inside]}, backend: other}
`, outside, inside, outside))
	g.address = outside
	g.goesTo(g.dial("a.example"), "main")
	g.refused("b.example", alertUnrecognizedName)
	g.address = inside
	g.goesTo(g.dial("a.example"), "other")
	c := g.dial("b.example")
	g.goesTo(c, "other")
	if got := g.accessOf(c).text("listener"); got != "inside" {
		t.Errorf("listener %q in the log", got)
	}
}

// Regular expressions come after exact names and suffixes and before *, in the order of the file, and take whole names.
func TestRouteRegexBetweenSuffixAndRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var pools []string
	for _, name := range []string{"exact", "suffix", "digits", "letters", "rest"} {
		pools = append(pools, fmt.Sprintf("%s: {servers: [{address: %q}]}", name, w.backend.address))
	}
	g := start(t, usesStore(w.store), usesBackend(w.backend.address), "backends: {"+strings.Join(pools, ", ")+"}", `routes:
  - {match: {names: ["*"]}, backend: rest}
  - {match: {names_regex: ['db[0-9]+\.example']}, backend: digits}
  - {match: {names_regex: ['[a-z0-9]+\.(example|test)']}, backend: letters}
  - {match: {names: [".deep.example"]}, backend: suffix}
  - {match: {names: ["db7.example"]}, backend: exact}
`)
	for name, want := range map[string]string{
		"db7.example": "exact", "db8.example": "digits", "web.example": "letters", "web.test": "letters", "db8.deep.example": "suffix",
		"xdb8.example": "letters", "db8.example.org": "rest", "a-b.example": "rest",
	} {
		g.goesTo(g.dial(name), want)
	}
	if got := g.access("name", "db8.example").text("route"); got != `~db[0-9]+\.example` {
		t.Errorf("route %q in the log", got)
	}
}

// A client that offers a protocol takes the route for it, whether it is terminated or passed through.
func TestRouteByProtocol(t *testing.T) {
	t.Parallel()
	w, own, server := newWorld(t), ca().issue([]string{"a.example"}), newBackend(t, nil)
	server.does(ownTLS(own, func(session *tls.Conn, _ *counted) { io.Copy(session, session) }))
	g := start(t, usesStore(w.store), usesBackend(w.backend.address), twoPools(server.address), `routes:
  - {match: {names: [a.example], alpn: [imap, xmpp-client]}, action: passthrough, backend: other}
  - {match: {names: [a.example]}, backend: main}
`)
	for _, test := range []struct {
		offered []string
		want    string
	}{{nil, "main"}, {[]string{"h2"}, "main"}, {[]string{"h2", "xmpp-client"}, "other"}, {[]string{"imap"}, "other"}} {
		c := g.dial("a.example", protocols(test.offered...))
		if isOwn := c.fingerprint() == own.fingerprint(); isOwn != (test.want == "other") {
			t.Errorf("offering %v: passed through %v", test.offered, isOwn)
		}
		g.goesTo(c, test.want)
	}
}

const alertProtocolVersion = 70

// A route has its own TLS version and protocols; those of the others are not touched.
func TestRouteHasItsTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "tls: {alpn: [imap]}", `routes:
  - {match: {names: [new.example]}, backend: main, tls: {min_version: "1.3", alpn: [h2, xmpp]}}
  - {match: {names: [any.example]}, backend: main, tls: {alpn: []}}
  - {backend: main}
`)
	w.refused("new.example", alertProtocolVersion, maxVersion(tls.VersionTLS12))
	w.access("reason", "handshake")
	w.visit("a.example", maxVersion(tls.VersionTLS12))
	for _, test := range []struct {
		name, offered, want string
	}{{"new.example", "xmpp", "xmpp"}, {"a.example", "imap", "imap"}, {"any.example", "imap", ""}} {
		c := w.dial(test.name, protocols(test.offered))
		if got := c.ConnectionState().NegotiatedProtocol; got != test.want {
			t.Errorf("%s: negotiated %q, want %q", test.name, got, test.want)
		}
		c.Close()
	}
	w.refused("new.example", alertNoApplication, protocols("imap"))
	w.refused("a.example", alertNoApplication, protocols("xmpp"))
}

// A route's limits count its own connections, and no others.
func TestRouteLimitsConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `routes:
  - {match: {names: [small.example]}, backend: main, limits: {connections: 2}}
  - {match: {names: [fair.example]}, backend: main, limits: {connections_per_ip: 1}}
  - {backend: main}
`)
	first := w.dial("small.example")
	w.dial("small.example")
	w.refused("small.example", alertInternalError)
	w.access("reason", "limited")
	w.visit("a.example")
	first.wantEcho(t, "still there")
	first.Close()
	w.eventually("there is room again", func() bool { return w.serves("small.example") })

	w.dialFrom("127.0.0.5", "fair.example")
	w.refusedFrom("127.0.0.5", "fair.example", alertInternalError)
	w.access("reason", "client_connections")
	w.dialFrom("127.0.0.6", "fair.example").wantEcho(t, "another client")
	w.dialFrom("127.0.0.5", "a.example").wantEcho(t, "another route")
	if w.refusals("limited") == 0 || w.refusals("client_connections") != 1 {
		t.Errorf("counted %d limited, %d client_connections", w.refusals("limited"), w.refusals("client_connections"))
	}
}

// A route's timeouts end its connections, and no others.
func TestRouteHasItsTimeouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `routes:
  - {match: {names: [idle.example]}, backend: main, limits: {idle_timeout: 1s}}
  - {match: {names: [short.example]}, backend: main, limits: {life_timeout: 1s}}
  - {backend: main}
`)
	other, idle, short := w.dial("a.example"), w.dial("idle.example"), w.dial("short.example")
	for c, want := range map[*client]string{idle: "idle", short: "lifetime"} {
		if _, err := io.ReadAll(c); err == nil || isTimeout(err) {
			t.Errorf("%s: the end came as %v", want, err)
		}
		if got := w.accessOf(c).text("reason"); got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	}
	time.Sleep(200 * time.Millisecond)
	other.wantEcho(t, "still there")
}

// What can never match is an error with its place and a caret, whatever the conditions are that make it so.
func TestRouteThatNeverMatches(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ routes, want string }{
		"the same name": {
			"  - {match: {names: [a.example]}, backend: main}\n  - {match: {names: [b.example, a.example]}, backend: main}\n",
			`routes[1].match.names[1]: "a.example"`,
		},
		"a part of a network": {
			"  - {match: {client_ips: [10.0.0.0/8]}, backend: main}\n  - {match: {client_ips: [10.1.0.0/16]}, backend: main}\n",
			"routes[1]",
		},
		"a regular expression behind all": {
			"  - {match: {names_regex: ['.*']}, backend: main}\n  - {match: {names_regex: ['a\\.example']}, backend: main}\n",
			"routes[1].match.names_regex[0]",
		},
		"a listener that there is not": {"  - {match: {listeners: [inside]}, backend: main}\n", `"inside"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "hellogate.yaml")
			writeFile(t, path, "listeners: [{address: ':443'}]\nstores: [{dir: {path: /tmp}}]\nbackends: {main: {servers: [{address: '127.0.0.1:1'}]}}\nroutes:\n"+test.routes)
			got := command(t, "check", path)
			text := got.stdout + got.stderr
			if got.code != 1 || !strings.Contains(text, test.want) || !strings.Contains(text, "^") {
				t.Errorf("exit %d, no %q or no caret in\n%s", got.code, test.want, text)
			}
		})
	}
}

// explain tells of a client's name, protocols, address and listener which route it takes, and which it misses why.
func TestExplainTellsRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := start(t, usesStore(w.store), usesBackend(w.backend.address), twoPools(w.backend.address), `routes:
  - {match: {names: [a.example], client_ips: [10.0.0.0/8]}, backend: other}
  - {match: {names: [a.example], alpn: [imap]}, action: passthrough, backend: other}
  - {match: {names: [a.example]}, backend: main}
  - {match: {names: [no.example]}, action: reject}
`)
	for path, want := range map[string][]string{
		"a.example":                   {"a.example", "terminate", "main", "wait for the store", "does not match"},
		"a.example?client=10.1.2.3":   {"a.example", "terminate", "other"},
		"a.example?alpn=imap&alpn=h2": {"a.example", "passthrough", "other", "certificate of its own"},
		"no.example":                  {"no.example", "reject", "", "refused with alert 49 (access_denied)"},
		"b.example":                   {"", "", "", "refused with alert 112 (unrecognized_name)"},
	} {
		var got struct {
			Route, Action, Backend, Outcome string
			Steps                           []struct{ Step, Result string }
		}
		g.get("/explain/"+path, &got)
		if got.Route != want[0] || got.Action != want[1] || got.Backend != want[2] {
			t.Errorf("%s: %+v, want %q", path, got, want)
		}
		for _, text := range want[3:] {
			if !strings.Contains(fmt.Sprint(got), text) {
				t.Errorf("%s: no %q in %+v", path, text, got)
			}
		}
	}
	wantExit(t, "explain of a passthrough", g.ctl("explain", "a.example", "--alpn", "imap"), 0, "passthrough other")
	wantExit(t, "explain of a client", g.ctl("explain", "a.example", "--client", "10.1.2.3", "--listener", g.address), 0, "terminate other")
	wantExit(t, "check --explain", command(t, "check", g.config, "--explain", "a.example", "--client", "10.1.2.3"), 0, "a.example", "other")
	wantExit(t, "check --explain of a passthrough", command(t, "check", g.config, "--explain", "a.example", "--alpn", "imap"), 0, "passthrough", "other")
	if code, text, _ := g.request("GET", "/explain/a.example?client=nobody", ""); code != 400 {
		t.Errorf("an address that is none: %d %s", code, text)
	}
}
