package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// Routes go by name, the most specific first, and by ALPN.
func TestRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	servers := map[string]*backend{}
	var pools []string
	for _, name := range []string{"exact", "one", "deep", "imap", "rest"} {
		servers[name] = newBackend(t, echo)
		pools = append(pools, fmt.Sprintf("%s: {servers: [{address: %q}], send_proxy: v2}", name, servers[name].address))
	}
	g := start(t, usesStore(w.store), "backends: {main: {servers: [{address: '127.0.0.1:9'}]}, "+strings.Join(pools, ", ")+"}", "tls: {alpn: [imap, h2]}", `routes:
  - {match: {names: ["*"]}, action: terminate, backend: rest}
  - {match: {names: [".a.example"]}, action: terminate, backend: deep}
  - {match: {names: ["*.a.example"]}, action: terminate, backend: one}
  - {match: {names: ["*.a.example"], alpn: [imap]}, action: terminate, backend: imap}
  - {match: {names: ["www.a.example"]}, action: terminate, backend: exact}
  - {match: {names: ["no.example"]}, action: reject}
`)
	for name, want := range map[string]string{
		"www.a.example": "exact", "ftp.a.example": "one", "x.y.a.example": "deep", "a.example": "rest", "b.example": "rest",
	} {
		c := g.dial(name)
		c.wantEcho(t, "hello")
		if got := servers[want].next(t).header.Authority; got != name {
			t.Errorf("%s: the backend was told %q", name, got)
		}
		c.Close()
		if got := g.accessOf(c).text("backend"); got != want {
			t.Errorf("%s went to %s, want %s", name, got, want)
		}
	}
	g.visit("ftp.a.example", protocols("imap"))
	servers["imap"].next(t)
	g.refused("no.example", alertAccessDenied)
	w.store.wantRequests(t, "no.example", 0)
}
