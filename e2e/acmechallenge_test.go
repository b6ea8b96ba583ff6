package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TLS-ALPN-01 is answered by hellogate itself, whatever the route says of the name: the backend never sees the CA.
func TestACMEChallengeTLSALPN(t *testing.T) {
	t.Parallel()
	p, server := newPebble(t), newBackend(t, echo)
	server.expectsNoHeader()
	g := p.gate("names: [a.example]", usesBackend(server.address), `
backends: {main: {send_proxy: off}}
routes: [{match: {names: [a.example]}, action: passthrough, backend: main}, {backend: main}]
`)
	g.awaitACME("a.example", "valid")
	server.wantNone(t)
	p.wantOrders(t, "a.example", 1)
}

// Behind a proxy that tells of the client, it is answered as well.
func TestACMEChallengeBehindProxy(t *testing.T) {
	t.Parallel()
	p, address := newPebble(t), freeAddress(t)
	runHAProxy(t, p.listener, fmt.Sprintf("listen front\n    bind %s\n    server gate %s send-proxy-v2\n", p.listener, address))
	g := p.gateAt(address, "names: [a.example]",
		fmt.Sprintf("listeners: [{address: %q, accept_proxy: {from: [127.0.0.0/28], required: true}}]", address))
	g.awaitACME("a.example", "valid")
}

// A hello that offers acme-tls/1 and nothing else reaches no backend, challenge or not; one that offers it beside others is
// like any other.
func TestACMEChallengeNobodyAskedFor(t *testing.T) {
	t.Parallel()
	p, server := newPebble(t), newBackend(t, echo)
	g := p.gate("names: [a.example]", usesBackend(server.address))
	p.awaitServed(g, "a.example")
	for range 2 { // those of the client above
		server.next(t)
	}
	for _, name := range []string{"a.example", "other.example"} {
		g.refused(name, alertNoApplication, anyCertificate, protocols("acme-tls/1"))
	}
	server.wantNone(t)
	p.leaf(g, "a.example", protocols("acme-tls/1", "custom"))
}

// HTTP-01 is answered by a listener that does nothing else: it sends everyone to HTTPS.
func TestACMEChallengeHTTP(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	address := freeAddress(t) // where the CA does not look for TLS-ALPN-01
	g := p.gateAt(address, fmt.Sprintf("names: [a.example], http01: %q", p.http01))
	g.awaitACME("a.example", "valid")
	for _, path := range []string{
		"/", "/some/path?with=query", "/.well-known/acme-challenge", "/.well-known/acme-challenge/nobody", "/.well-known/acme-challenge/..%2f..%2fjob.json",
	} {
		if code, location := askPlain(t, p.http01, "a.example", path); code != http.StatusMovedPermanently || location != "https://a.example"+path {
			t.Errorf("%s: status %d to %q", path, code, location)
		}
	}
	if code, location := askPlain(t, p.http01, "a.example:8080", "/x"); location != "https://a.example/x" {
		t.Errorf("with a port: %d to %q", code, location)
	}
	if code, location := askPlain(t, p.http01, "..", "/"); code != http.StatusBadRequest || location != "" {
		t.Errorf("of what is no name: %d to %q", code, location)
	}
}

// askPlain sends a request for a host without TLS and does not follow where it is sent.
func askPlain(t testing.TB, address, host, path string) (code int, location string) {
	t.Helper()
	request := must(http.NewRequest("GET", "http://"+address+path, nil))
	request.Host = host
	client := &http.Client{
		Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Header.Get("Location")
}

// DNS-01 is set up and taken down by a command with the arguments that mod_md gives; a wildcard certificate is served for
// every name below it.
func TestACMEChallengeDNS(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	script, calls := p.dnsScript()
	g := p.gate(fmt.Sprintf(`names: ["*.wild.example"], dns01: [%q]`, script))
	g.awaitACME("*.wild.example", "valid")
	leaf := p.leaf(g, "x.wild.example")
	if another := p.leaf(g, "y.wild.example"); !another.Equal(leaf) || leaf.DNSNames[0] != "*.wild.example" {
		t.Errorf("served with %v and %v", leaf.DNSNames, another.DNSNames)
	}
	g.refused("x.y.wild.example", alertUnrecognizedName)
	g.refused("wild.example", alertUnrecognizedName)
	p.wantOrders(t, "*.wild.example", 1)
	p.wantOrders(t, "x.wild.example", 0)
	g.eventually("the record is taken down", func() bool { return len(calls()) == 2 })
	setup, teardown := strings.Fields(calls()[0]), strings.Fields(calls()[1])
	if len(setup) != 3 || len(teardown) != 3 || setup[0] != "setup" || setup[1] != "wild.example" || len(setup[2]) != 43 ||
		teardown[0] != "teardown" || teardown[1] != setup[1] || teardown[2] != setup[2] {
		t.Errorf("the command was called with %q and %q", setup, teardown)
	}
}

// dnsScript writes the command that DNS-01 takes, for the name server here, and gives what tells how it was called.
func (p *pebble) dnsScript() (path string, calls func() []string) {
	p.t.Helper()
	folder := shortFolder(p.t)
	path = filepath.Join(folder, "dns")
	writeScript(p.t, path, fmt.Sprintf(`
echo "$@" >>%[1]s/calls
case $1 in
setup) exec curl -sf -d '{"host": "_acme-challenge.'"$2"'.", "value": "'"$3"'"}' http://%[2]s/set-txt ;;
teardown) exec curl -sf -d '{"host": "_acme-challenge.'"$2"'."}' http://%[2]s/clear-txt ;;
esac`, folder, p.dns))
	return path, func() []string { return callsIn(filepath.Join(folder, "calls")) }
}

func writeScript(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// callsIn are the lines of a file, none where there is no file.
func callsIn(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// A command that fails, or that never ends, is an error that says so, and nothing is asked of the CA to look for.
func TestACMEChallengeDNSCommandFails(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	script := filepath.Join(shortFolder(t), "dns")
	writeScript(t, script, "echo no such zone >&2; exit 3")
	g := p.gate(fmt.Sprintf(`names: ["*.wild.example"], dns01: [%q]`, script))
	state := g.awaitACME("*.wild.example", "failed")
	wantText(t, "the error", state.Last.Error, "no such zone", "3")
	if got := p.asked(stepChallenge); got != 0 {
		t.Errorf("the CA was told to look %d times", got)
	}
	if wait := time.Until(state.NextAt); wait < 5*time.Second || wait > time.Minute {
		t.Errorf("the next try is in %v", wait)
	}
}
