package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hellogate/breaker"
	"hellogate/cache"
	"hellogate/control/config"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/terminate"
)

// What explain says is what a client gets.
func TestExplain(t *testing.T) {
	t.Parallel()
	var (
		asked   = []cache.Step{{Step: "cached", Result: "no"}, {Step: "store", Result: "would be asked"}}
		no      = []cache.Step{{Step: "cached", Result: "no"}, {Step: "remembered no", Result: "yes: unknown name"}}
		failure = []cache.Step{{Step: "cached", Result: "no"}, {Step: "remembered failure", Result: "yes: timeout"}}
		open    = []Store{fakeStore{Name: "s", State: breaker.Open, RetryIn: 12 * time.Second, LastError: "connection refused"}}
		half    = []Store{fakeStore{Name: "s", State: breaker.HalfOpen}}
		sorry   = &terminate.Backend{Name: "sorry"}
		both    = &terminate.Fallback{OnUnknown: true, OnFailure: true, Backend: sorry}
	)
	for _, c := range []struct {
		name     string
		query    string
		steps    []cache.Step
		stores   []Store
		fallback *terminate.Fallback
		backend  string
		outcome  string
		step     Step // one of them; zero: not looked at
	}{
		{"not cached", "a.example", asked, nil, both, "mail", "a client would wait for the store", Step{"store", "would be asked"}},
		{"cached", "cached.example", nil, open, both, "mail", "served from the cache", Step{}},
		{
			"unknown", "a.example", no, nil,
			nil,
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
			&terminate.Fallback{OnUnknown: true},
			"mail",
			"served the fallback certificate: no store knows it",
			Step{},
		},
		{
			"unknown, with a fallback for failures", "a.example", no, nil,
			&terminate.Fallback{OnFailure: true, Backend: sorry},
			"",
			"refused with alert 112 (unrecognized_name): no store knows it",
			Step{},
		},
		{
			"limited", "a.example",
			[]cache.Step{{Step: "look-ups", Result: "none just now"}},
			nil,
			nil,
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
		{"failed", "a.example", failure, nil, nil, "", "refused with alert 80 (internal_error): it could not be fetched", Step{}},
		{"failed, with a fallback", "a.example", failure, nil, both, "sorry", "served the fallback certificate: it could not be fetched", Step{}},
		{
			"breaker open", "a.example", asked, open,
			&terminate.Fallback{OnUnknown: true, Backend: sorry},
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
				o.Traffic = fakeTraffic{fallback: c.fallback}
				if c.stores != nil {
					o.Stores = storesOf(c.stores...)
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
	t.Parallel()
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
			r := serve(t, func(o *Options) { o.Stores, o.Permission = storesOf(c.stores...), c.permission })
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
			r := serve(t, nil)
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

// A route that has the name and does not take the client is said, with what the client did not meet.
func TestExplainSaysWhatWasMissed(t *testing.T) {
	r := serve(t, nil)
	const fallen = "matches .example, of routes[0]"
	for _, c := range []struct {
		name    string
		options ExplainOptions
		steps   []Step
	}{
		{"nothing known", ExplainOptions{}, []Step{
			{"route", "lan.example, of routes[4], does not match: it asks for client addresses (client_ips), and none was given; it asks for listeners, and none was given"},
			{"route", fallen},
		}},
		{"elsewhere", ExplainOptions{Client: "192.0.2.1", Listener: "outside"}, []Step{
			{"route", "lan.example, of routes[4], does not match: 192.0.2.1 is not among its client addresses (client_ips); outside is not among its listeners"},
			{"route", fallen},
		}},
		{"in the right place with the wrong address", ExplainOptions{Client: "192.0.2.1", Listener: "inside"}, []Step{
			{"route", "lan.example, of routes[4], does not match: 192.0.2.1 is not among its client addresses (client_ips)"},
			{"route", fallen},
		}},
		{"inside", ExplainOptions{Client: "::ffff:10.1.2.3", Listener: "inside"}, []Step{{"route", "matches lan.example, of routes[4]"}}},
	} {
		explanation, err := r.client.Explain(t.Context(), "lan.example", c.options)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.steps, explanation.Steps[:min(len(c.steps), len(explanation.Steps))]); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	for _, c := range []struct{ name, protocol, want string }{
		{"no protocol", "", "the client offers no protocol, and it asks for some (alpn)"},
		{"another protocol", "h2", "the client offers none of its protocols (alpn)"},
	} {
		options := ExplainOptions{}
		if c.protocol != "" {
			options.ALPN = []string{c.protocol}
		}
		explanation, err := r.client.Explain(t.Context(), "alpn.example", options)
		if want := "alpn.example, of routes[2], does not match: " + c.want; err != nil || explanation.Steps[0].Result != want {
			t.Errorf("%s: %+v, %v, want %s", c.name, explanation.Steps, err, want)
		}
	}
}

// What is passed through needs no certificate, and none is looked for.
func TestExplainPassthrough(t *testing.T) {
	r := serve(t, nil, "lan.example")
	explanation, err := r.client.Explain(t.Context(), "lan.example", ExplainOptions{Client: "10.1.2.3", Listener: "inside", Fetch: true})
	want := Explanation{
		Name: "lan.example", Route: "lan.example", Action: "passthrough", Backend: "mail",
		Outcome: "passed through as it is: backend mail answers the hello with a certificate of its own",
		Steps:   []Step{{"route", "matches lan.example, of routes[4]"}, {"action", "passthrough mail"}},
	}
	if diff := cmp.Diff(want, explanation); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

// The route that a file has is explained as the one in use, without anything that runs.
func TestExplainConfig(t *testing.T) {
	loaded, err := config.Parse("f.yaml", []byte(`
listeners: [{address: ":443"}, {address: ":5432", name: databases, starttls: postgres}]
stores: [{dir: {path: /certs}}]
backends: {web: {servers: [{address: "10.0.0.1:80"}]}, db: {servers: [{address: "10.0.0.2:5432"}]}}
routes:
- {match: {names: ["*.example"], alpn: [h2], client_ips: [10.0.0.0/8]}, backend: web, tls: {alpn: [h2]}}
- {match: {names: ["*.example"], listeners: [databases]}, action: passthrough, backend: db}
- {match: {names_regex: ["c[0-9]+[.]test"]}, backend: db}
- {match: {names: [.bad.test]}, action: reject}
- {match: {names: [web.test]}, backend: web, tls: {alpn: [h2]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, host, client, listener string
		alpn                         []string
		route, backend, outcome      string
		steps                        int
	}{
		{"terminate", "a.example", "10.1.1.1", "", []string{"h2"}, "*.example", "web", "TLS is terminated, and backend web gets the plaintext", 2},
		{"passthrough", "a.example", "192.0.2.1", "databases", []string{"h2"}, "*.example", "db", "passed through as it is: backend db answers the hello with a certificate of its own", 4},
		{"none", "a.example", "", "", nil, "", "", "refused with alert 112 (unrecognized_name): no route takes this name", 4},
		{"expression", "c7.test", "", "", nil, "~c[0-9]+[.]test", "db", "TLS is terminated, and backend db gets the plaintext", 2},
		{"rejected", "x.bad.test", "", "", nil, ".bad.test", "", "refused with alert 49 (access_denied): the route rejects it", 2},
		{"protocol", "web.test", "", "", []string{"imap"}, "web.test", "", "refused with alert 120 (no_application_protocol): the route takes no protocol but h2", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			query, err := ClientQuery(c.host, c.alpn, c.client, c.listener)
			if err != nil {
				t.Fatal(err)
			}
			explanation, err := ExplainConfig(loaded, query)
			if err != nil || explanation.Route != c.route || explanation.Backend != c.backend || explanation.Outcome != c.outcome || len(explanation.Steps) != c.steps {
				t.Errorf("%+v, %v", explanation, err)
			}
			if first := explanation.Steps[0]; (first == Step{"listener", "databases, where clients ask for TLS first (starttls: postgres)"}) != (c.listener != "") {
				t.Errorf("first %+v", first)
			}
		})
	}
	query, _ := ClientQuery("a.example", nil, "", "nowhere")
	if _, err := ExplainConfig(loaded, query); err == nil || err.Error() != `listener "nowhere": there is none of that name, but :443, databases` {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{"10.0.0.0/8", "mail", "1.2.3"} {
		if _, err := ClientQuery("a.example", nil, text, ""); err == nil {
			t.Errorf("client %s is taken", text)
		}
	}
}

// Of many routes that do not match few are said.
func TestExplainOfManyRoutes(t *testing.T) {
	var rules []sni.Rule[*terminate.Route]
	for i := range 3 * missedShown {
		expression, err := sni.ParseRegexp(fmt.Sprintf("n%d[.]example", i))
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, sni.Rule[*terminate.Route]{Regexps: []sni.Regexp{expression}, Value: &terminate.Route{Action: terminate.Reject}})
	}
	table, err := sni.NewTable(rules)
	if err != nil {
		t.Fatal(err)
	}
	steps := explainRoute(table, sni.Query{Name: "other.example"}).Steps
	if len(steps) != missedShown+2 || steps[missedShown].Result != "and 40 more do not match" || steps[0].Result != "~n0[.]example, of routes[0], does not match: the expression does not match the name" {
		t.Errorf("%d: %+v", len(steps), steps)
	}
}
