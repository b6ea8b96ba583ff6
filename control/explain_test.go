package control

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hellogate/breaker"
	"hellogate/cache"
	"hellogate/store"
)

// What explain says is what a client gets.
func TestExplain(t *testing.T) {
	var (
		asked   = []cache.Step{{Step: "cached", Result: "no"}, {Step: "store", Result: "would be asked"}}
		no      = []cache.Step{{Step: "cached", Result: "no"}, {Step: "remembered no", Result: "yes: unknown name"}}
		failure = []cache.Step{{Step: "cached", Result: "no"}, {Step: "remembered failure", Result: "yes: timeout"}}
		open    = []Store{fakeStore{Name: "s", State: breaker.Open, RetryIn: 12 * time.Second, LastError: "connection refused"}}
		half    = []Store{fakeStore{Name: "s", State: breaker.HalfOpen}}
		both    = Fallback{OnUnknown: true, OnFailure: true, Backend: "sorry"}
	)
	for _, c := range []struct {
		name     string
		query    string
		steps    []cache.Step
		stores   []Store
		fallback Fallback
		backend  string
		outcome  string
		step     Step // one of them; zero: not looked at
	}{
		{"not cached", "a.example", asked, nil, both, "mail", "a client would wait for the store", Step{"store", "would be asked"}},
		{"cached", "cached.example", nil, open, both, "mail", "served from the cache", Step{}},
		{
			"unknown", "a.example", no, nil,
			Fallback{},
			"",
			"refused with alert 112 (unrecognized_name): no store knows it",
			Step{},
		},
		{
			"unknown, with a fallback", "a.example", no, nil, both, "sorry",
			"served the fallback certificate: no store knows it",
			Step{"backend", "sorry, which the fallback names"},
		},
		{
			"unknown, with a fallback that has no backend of its own", "a.example", no, nil,
			Fallback{OnUnknown: true},
			"mail",
			"served the fallback certificate: no store knows it",
			Step{},
		},
		{
			"unknown, with a fallback for failures", "a.example", no, nil,
			Fallback{OnFailure: true, Backend: "sorry"},
			"",
			"refused with alert 112 (unrecognized_name): no store knows it",
			Step{},
		},
		{
			"limited", "a.example",
			[]cache.Step{{Step: "look-ups", Result: "none just now"}},
			nil,
			Fallback{},
			"",
			"refused with alert 80 (internal_error): too many unknown names are asked for",
			Step{},
		},
		{
			"denied", "a.example",
			[]cache.Step{{Step: "remembered no", Result: "yes"}, {Step: "permission", Result: "no, as remembered"}},
			nil, both, "sorry", "served the fallback certificate: permission for it is denied",
			Step{},
		},
		{"failed", "a.example", failure, nil, Fallback{}, "", "refused with alert 80 (internal_error): it could not be fetched", Step{}},
		{"failed, with a fallback", "a.example", failure, nil, both, "sorry", "served the fallback certificate: it could not be fetched", Step{}},
		{
			"breaker open", "a.example", asked, open,
			Fallback{OnUnknown: true, Backend: "sorry"},
			"",
			"refused with alert 80 (internal_error): the store kept failing and is not asked",
			Step{"store", "would not be asked: breaker open, retry in 12s; it failed last with: connection refused"},
		},
		{
			"breaker open, with a fallback", "a.example", asked, open, both, "sorry",
			"served the fallback certificate: the store kept failing and is not asked",
			Step{},
		},
		{"breaker open, unknown", "a.example", no, open, both, "sorry", "served the fallback certificate: no store knows it", Step{}},
		{
			"breaker half open", "a.example", asked, half, both, "mail", "a client would wait for the store",
			Step{"store", "would be asked, unless another request probes it just now: breaker half open"},
		},
		{"rejected", "rejected.example", asked, nil, both, "", "refused with alert 49 (access_denied): the route rejects it", Step{"action", "reject"}},
		{"no route", "a.nowhere", asked, nil, both, "", "refused with alert 112 (unrecognized_name): no route takes this name", Step{}},
		{"a protocol of the route", "h2.example?alpn=imap&alpn=h2", asked, nil, both, "mail", "a client would wait for the store", Step{}},
		{"no protocols", "h2.example", asked, nil, both, "mail", "a client would wait for the store", Step{}},
		{
			"other protocols", "h2.example?alpn=imap", asked, nil, both, "",
			"refused with alert 120 (no_application_protocol): the route takes no protocol but h2, http/1.1",
			Step{"action", "terminate mail"},
		},
		{
			"validation", "a.example?alpn=acme-tls/1", asked, nil, both, "",
			"refused with alert 120 (no_application_protocol): acme-tls/1 alone is a certificate authority's validation, which goes to no backend",
			Step{},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, func(o *Options) {
				o.Fallback = c.fallback
				if c.stores != nil {
					o.Stores = c.stores
				}
			}, "cached.example")
			r.cache.explain = c.steps
			var explanation Explanation
			if err := r.client.get(t.Context(), "/explain/"+c.query, &explanation); err != nil {
				t.Fatal(err)
			}
			if explanation.Outcome != c.outcome || explanation.Backend != c.backend {
				t.Errorf("got backend %q, %q\nwant backend %q, %q", explanation.Backend, explanation.Outcome, c.backend, c.outcome)
			}
			if c.step == (Step{}) {
				return
			}
			for _, step := range explanation.Steps {
				if step == c.step {
					return
				}
			}
			t.Errorf("got steps %v, want %v", explanation.Steps, c.step)
		})
	}
}

// Each of several stores has a step, in the order in which they are asked, and permission one before them.
func TestExplainEachStore(t *testing.T) {
	asked := []cache.Step{{Step: "cached", Result: "no"}, {Step: "permission", Result: "would be asked"}, {Step: "store", Result: "would be asked"}}
	closed := func(name string) Store { return fakeStore{Name: name} }
	open := func(name string) Store {
		return fakeStore{Name: name, State: breaker.Open, RetryIn: 12 * time.Second, LastError: "refused"}
	}
	half := func(name string) Store { return fakeStore{Name: name, State: breaker.HalfOpen} }
	elsewhere := func(name string) Store { return fakeElsewhere{fakeStore{Name: name}} }
	const (
		off  = "would not be asked: breaker open, retry in 12s; it failed last with: refused"
		next = "would be asked if none before it has the name"
		wait = "a client would wait for the store"
	)
	for _, c := range []struct {
		name       string
		stores     []Store
		permission Permission
		outcome    string
		steps      []Step // after that of what is cached, up to the fallback
	}{
		{
			"both closed",
			[]Store{closed("a"), closed("b")},
			nil, wait,
			[]Step{{"permission", "would be asked"}, {"store a", "would be asked"}, {"store b", next}},
		},
		{
			"the first cut off",
			[]Store{open("a"), closed("b"), half("c")},
			nil, wait,
			[]Step{
				{"permission", "would be asked"},
				{"store a", off},
				{"store b", "would be asked instead"},
				{"store c", next + ", unless another request probes it just now: breaker half open"},
			},
		},
		{
			"the second cut off",
			[]Store{closed("a"), open("b")},
			nil, wait,
			[]Step{{"permission", "would be asked"}, {"store a", "would be asked"}, {"store b", off}},
		},
		{
			"one for other names",
			[]Store{elsewhere("a"), closed("b")},
			nil, wait,
			[]Step{{"permission", "would be asked"}, {"store a", "is not asked for this name"}, {"store b", "would be asked"}},
		},
		{
			"all cut off that take the name",
			[]Store{open("a"), elsewhere("b")},
			nil, "refused with alert 80 (internal_error): the store kept failing and is not asked",
			[]Step{{"permission", "would be asked"}, {"store a", off}, {"store b", "is not asked for this name"}},
		},
		{
			"none takes the name",
			[]Store{elsewhere("a")},
			nil, "refused with alert 112 (unrecognized_name): no store is asked for this name",
			[]Step{{"permission", "would be asked"}, {"store", "is not asked for this name"}},
		},
		{
			"permission cut off",
			[]Store{closed("a")},
			fakePermission{status: breaker.Status{State: breaker.Open, RetryIn: 12 * time.Second, LastError: "refused"}},
			"refused with alert 80 (internal_error): permission kept failing and is not asked for",
			[]Step{{"permission", off}},
		},
		{
			"permission probed",
			[]Store{closed("a")},
			fakePermission{status: breaker.Status{State: breaker.HalfOpen}},
			wait,
			[]Step{
				{"permission", "would be asked, unless another request probes it just now: breaker half open"},
				{"store", "would be asked"},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, func(o *Options) { o.Stores, o.Permission = c.stores, c.permission })
			r.cache.explain = asked
			explanation, err := r.client.Explain(t.Context(), "a.example", ExplainOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if explanation.Outcome != c.outcome {
				t.Errorf("%q, want %q", explanation.Outcome, c.outcome)
			}
			if diff := cmp.Diff(c.steps, explanation.Steps[3:len(explanation.Steps)-1]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is permitted already needs no endpoint.
func TestExplainRememberedPermission(t *testing.T) {
	r := serve(t, func(o *Options) { o.Permission = fakePermission{status: breaker.Status{State: breaker.Open}} })
	r.cache.explain = []cache.Step{{Step: "permission", Result: "yes, as remembered"}, {Step: "store", Result: "would be asked"}}
	explanation, err := r.client.Explain(t.Context(), "a.example", ExplainOptions{})
	if err != nil || explanation.Outcome != "a client would wait for the store" {
		t.Errorf("%+v, %v", explanation, err)
	}
}

// Where a store's answer sends connections is where explain says that they go.
func TestExplainRouting(t *testing.T) {
	for _, c := range []struct {
		name             string
		routing          store.Routing
		backend, outcome string
		step             Step
	}{
		{"backend", store.Routing{Backend: "sorry"}, "sorry", "served from the cache", Step{"backend", "sorry, which the answer of vault names"}},
		{
			"servers",
			store.Routing{Servers: []string{"10.0.0.5:5432", "10.0.0.6:5432"}},
			"mail", "served from the cache",
			Step{"servers", "10.0.0.5:5432 10.0.0.6:5432, which the answer of vault names: dialled as mail where that store's allow has their addresses"},
		},
		{
			"no such backend",
			store.Routing{Backend: "nobody"},
			"",
			"refused with alert 80 (internal_error): the answer of vault names backend nobody, which is not configured",
			Step{"action", "terminate mail"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, func(o *Options) { o.Backends = []Pool{fakePool{Name: "mail"}, fakePool{Name: "sorry"}} })
			info := certificate("cached.example")
			info.Routing = &cache.Routing{Routing: c.routing, Store: "vault"}
			r.cache.infos = append(r.cache.infos, info)
			explanation, err := r.client.Explain(t.Context(), "cached.example", ExplainOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if explanation.Outcome != c.outcome || explanation.Backend != c.backend || !slices.Contains(explanation.Steps, c.step) {
				t.Errorf("got backend %q, %q, %v", explanation.Backend, explanation.Outcome, explanation.Steps)
			}
		})
	}
}

// The store is not asked for a client that is refused before its name is looked up.
func TestExplainDoesNotFetchForWhomIsRefused(t *testing.T) {
	r := serve(t, nil)
	explanation, err := r.client.Explain(t.Context(), "h2.example", ExplainOptions{Fetch: true, ALPN: []string{"imap"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range explanation.Steps {
		if step.Step == "fetch" || strings.Contains(r.log.String(), "fetch") {
			t.Errorf("fetched: %+v", explanation.Steps)
		}
	}
}
