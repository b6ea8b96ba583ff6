package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// messageScript writes a command for acme.message that notes how it is called, and runs more of a shell script; it gives what
// tells how it was called.
func messageScript(t testing.TB, more string) (path string, calls func() []string) {
	t.Helper()
	folder := shortFolder(t)
	path = filepath.Join(folder, "message")
	writeScript(t, path, fmt.Sprintf("echo \"$@\" >>%s/calls\n%s", folder, more))
	return path, func() []string { return callsIn(filepath.Join(folder, "calls")) }
}

// A script that was written for MDMessageCmd is called as mod_md calls it, in its order; the key is there to be read at renewed.
func TestACMEMessages(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	script, calls := messageScript(t, fmt.Sprintf(`
if [ "$2" = renewed ]; then openssl pkey -in %s/certificates/"$3"/p256.pem -noout || exit 1; fi`, p.storage))
	g := p.gate(fmt.Sprintf("names: [a.example], message: [%q, own]", script))
	p.awaitServed(g, "a.example")
	g.eventually("all is told", func() bool { return slices.Contains(calls(), "own installed a.example") })
	want := []string{"own renewing a.example", "own challenge-setup:tls-alpn-01:a.example a.example", "own renewed a.example", "own installed a.example"}
	if got := calls(); !slices.Equal(got, want) {
		t.Errorf("called with\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A script that does not want a renewal keeps it from being made; it is asked again, later.
func TestACMEMessageVeto(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	script, calls := messageScript(t, `[ "$1" != renewing ]`)
	g := p.gate(fmt.Sprintf("names: [a.example], message: [%q]", script))
	g.eventually("it is asked", func() bool { return slices.Contains(calls(), "renewing a.example") })
	time.Sleep(2 * time.Second)
	if got := calls(); len(got) != 1 {
		t.Errorf("called with %q", got)
	}
	p.wantOrders(t, "a.example", 0)
	if state := g.acme("a.example"); state.NextAt.IsZero() || time.Until(state.NextAt) > 24*time.Hour {
		t.Errorf("%+v", state)
	}
}

// A script that fails at challenge-setup ends the order before the CA is told to look.
func TestACMEMessageChallengeFails(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	script, calls := messageScript(t, `case $1 in challenge-setup:*) echo not ready >&2; exit 1 ;; esac`)
	g := p.gate(fmt.Sprintf("names: [a.example], message: [%q]", script))
	g.awaitACME("a.example", "failed")
	if got := p.asked(stepChallenge); got != 0 {
		t.Errorf("the CA was told to look %d times", got)
	}
	g.eventually("the error is told", func() bool { return slices.Contains(calls(), "errored a.example") })
}

// What happens is told in our own stream of events, too.
func TestACMEEvents(t *testing.T) {
	t.Parallel()
	p := newPebble(t, caSays("domainBlocklist", []string{"blocked.example"}))
	g := p.gate("on_demand: [.example]")
	told := g.events("")
	p.leaf(g, "a.example")
	for _, kind := range []string{"acme_renewing", "acme_challenge_setup", "acme_renewed", "acme_installed"} {
		if e := told.next(kind); e.Name != "a.example" {
			t.Errorf("%s: %+v", kind, e)
		}
	}
	g.serves("blocked.example", p.trusted)
	if e := told.next("acme_errored"); e.Name != "blocked.example" || !strings.Contains(e.Reason, "forbidden by policy") {
		t.Errorf("%+v", e)
	}
	g.ctl("acme", "revoke", "a.example")
	if e := told.next("acme_revoked"); e.Name != "a.example" {
		t.Errorf("%+v", e)
	}
}
