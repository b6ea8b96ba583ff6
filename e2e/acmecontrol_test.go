package e2e

import (
	"strings"
	"testing"
	"time"
)

// What is known of a name is told wherever one looks: when it is due, what the last try did step by step, when the next is.
func TestACMESight(t *testing.T) {
	t.Parallel()
	p := newPebble(t, caSays("domainBlocklist", []string{"blocked.example"}))
	g := p.gate("names: [good.example, blocked.example]")
	leaf := p.awaitServed(g, "good.example")
	state := g.awaitACME("blocked.example", "failed")
	if state.Errors != 1 || !strings.Contains(state.Last.Error, "forbidden by policy") || !state.NotAfter.IsZero() {
		t.Errorf("the name that was refused: %+v", state)
	}
	state = g.awaitACME("good.example", "valid")
	third := leaf.NotAfter.Sub(leaf.NotBefore) / 3
	if early := leaf.NotAfter.Add(-third).Sub(state.DueAt); early < -time.Hour || early > third || !state.NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("due %v before a third is left: %+v", early, state)
	}
	if len(state.KeyTypes) != 1 || state.KeyTypes[0] != "p256" || state.CA != p.directory() || state.Errors != 0 || !state.Managed {
		t.Errorf("%+v", state)
	}
	if age := time.Since(state.Last.At); age < 0 || age > time.Minute || len(state.Last.Steps) < 3 {
		t.Errorf("the last try was %v ago: %+v", age, state.Last)
	}
	for _, step := range state.Last.Steps {
		if step.At.Before(state.Last.At.Add(-time.Second)) || step.Type == "" {
			t.Errorf("a step: %+v", step)
		}
	}
	due := state.DueAt.UTC().Format(time.RFC3339)
	wantExit(t, "acme ls", g.ctl("acme", "ls"), 0, "good.example", "blocked.example", "valid", "failed", "forbidden by policy")
	if got := g.ctl("acme", "ls", "good.example"); strings.Contains(got.stdout, "blocked") {
		t.Errorf("acme ls of a pattern:\n%s", got.stdout)
	}
	wantExit(t, "acme show", g.ctl("acme", "show", "good.example"), 0, "valid", due, p.directory(), state.Last.Steps[0].Type)
	wantExit(t, "acme show of the other", g.ctl("acme", "show", "blocked.example"), 0, "failed", "forbidden by policy")
	wantExit(t, "acme show of nobody", g.ctl("acme", "show", "nobody.example"), 1)
	wantExit(t, "cert show", g.ctl("cert", "show", "good.example"), 0, due)
	wantExit(t, "explain", g.ctl("explain", "good.example"), 0, due)
	wantExit(t, "explain of the other", g.ctl("explain", "blocked.example"), 0, "forbidden by policy")
	// What is counted is looked at every few seconds.
	g.eventually("status tells of it", func() bool { return strings.Contains(g.ctl("status").stdout, "order failed at the last try") })
	wantExit(t, "status", g.ctl("status"), 0, "blocked.example", "forbidden by policy")
	var all struct {
		ACME []struct {
			Store string     `json:"store"`
			Names []acmeName `json:"names"`
		} `json:"acme"`
	}
	if g.get("/acme", &all); len(all.ACME) != 1 || len(all.ACME[0].Names) != 2 || all.ACME[0].Names[1].State != "valid" {
		t.Errorf("GET /acme: %+v", all)
	}
	wantFields(t, "acme ls --json", g.ctl("acme", "ls", "--json").stdout, "acme")
	metrics := parseMetrics(t, g.curl("http://localhost/metrics").stdout)
	for state, want := range map[string]float64{"valid": 1, "failed": 1, "ordering": 0, "waiting": 0, "expired": 0} {
		if got := sumOf(metrics, "hellogate_acme_names{", `state="`+state+`"`); got != want {
			t.Errorf("metrics: %v names are %s, want %v", got, state, want)
		}
	}
}

// sumOf adds up the series that begin with a text and have another in them.
func sumOf(metrics map[string]float64, begin, part string) (sum float64) {
	for series, value := range metrics {
		if strings.HasPrefix(series, begin) && strings.Contains(series, part) {
			sum += value
		}
	}
	return sum
}

// While an order is under way, that is what is told, with the steps so far.
func TestACMESightOfAnOrder(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	open := p.gated(stepFinalize)
	defer open()
	g := p.gate("names: [a.example]")
	g.eventually("it is to be finalized", func() bool { return p.asked(stepFinalize) > 0 })
	state := g.acme("a.example")
	if state.State != "ordering" || len(state.Last.Steps) == 0 || !state.NotAfter.IsZero() {
		t.Errorf("%+v", state)
	}
	wantExit(t, "acme show", g.ctl("acme", "show", "a.example"), 0, "ordering", state.Last.Steps[0].Type)
	open()
	g.awaitACME("a.example", "valid")
}

// What is changed by hand is logged with who did it.
func TestACMEChangesAreLogged(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.gate("names: [a.example]")
	p.awaitServed(g, "a.example")
	wantExit(t, "renew", g.ctl("acme", "renew", "a.example", "--force"), 0)
	wantExit(t, "revoke", g.ctl("acme", "revoke", "a.example", "--reason", "superseded"), 0)
	for _, what := range []string{"renew", "revoke"} {
		e := g.await("line about it", func(e entry) bool { return e.text("message") == "control: acme "+what })
		if e["uid"] == nil || e["pid"] == nil || e.text("name") != "a.example" {
			t.Errorf("%s: %v", what, e)
		}
	}
	wantExit(t, "revoke for no reason", g.ctl("acme", "revoke", "a.example", "--reason", "whim"), 2)
}
