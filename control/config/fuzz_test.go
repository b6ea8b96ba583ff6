package config

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"hellogate/sni"
)

// FuzzLoad reads any text as a configuration: it is either a configuration that
// holds together, or problems that can be shown on a terminal.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"testdata/full.yaml", "testdata/broken.yaml", "testdata/traffic.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(least))
	for _, test := range problemTests {
		if len(test.text) < 4096 {
			f.Add([]byte(test.text))
		}
	}
	for _, more := range []string{
		"health: {send: 'hex:00', expect: \"a\\r\\n\"}, ejection: {max_percent: 5%}", "tls: {server_name: $name}",
		"custom_tlvs: {0xE0: a}, pass_tlvs: [all]", "queue: {length: 0}, resolve_interval: auto",
	} {
		f.Add([]byte(withBackend(more)))
	}
	f.Add([]byte(least + "routes: [{match: {names_regex: ['a.*'], client_ips: [10.0.0.0/8], listeners: [':443']}, backend: mail, action: passthrough}]\n"))
	for _, test := range storeProblems {
		f.Add([]byte(withStores(test.stores)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		config, err := Parse("fuzz.yaml", text)
		if (config == nil) != (err != nil) {
			t.Fatalf("config %v and error %v", config, err)
		}
		if err != nil {
			checkShown(t, err, strings.Count(string(text), "\n")+1)
			return
		}
		checkWhole(t, config)
	})
}

func checkShown(t *testing.T, err error, lines int) {
	problems, ok := err.(Problems)
	if !ok || len(problems) == 0 {
		t.Fatalf("%T without problems", err)
	}
	for _, problem := range problems {
		if problem.Line > lines || (problem.Line > 0) != (problem.Column > 0) {
			t.Errorf("at %d:%d of %d lines: %v", problem.Line, problem.Column, lines, problem)
		}
		if strings.Contains(problem.String(), "\n") {
			t.Errorf("more than a line: %q", problem)
		}
	}
	for _, r := range err.Error() {
		if r != '\n' && r != '\t' && isUnsafe(r) {
			t.Errorf("%U in %q", r, err.Error())
		}
	}
	if !utf8.ValidString(err.Error()) {
		t.Errorf("not UTF-8: %q", err.Error())
	}
}

func checkWhole(t *testing.T, config *Config) {
	if len(config.Listeners) == 0 || len(config.Stores) == 0 || len(config.Routes) == 0 {
		t.Errorf("%d listeners, %d stores, %d routes", len(config.Listeners), len(config.Stores), len(config.Routes))
	}
	for _, route := range config.Routes {
		if _, ok := config.Backends[route.Backend]; route.Action != Reject && !ok {
			t.Errorf("a route to %q, which is no backend", route.Backend)
		}
		checkRouteWhole(t, route)
	}
	if config.Limits.IdleTimeout <= 0 || config.Control.Mode&0o600 != 0o600 {
		t.Errorf("%+v", *config)
	}
	checkTrafficWhole(t, config)
	names := make(map[string]bool)
	for _, store := range config.Stores {
		if len(store.kinds()) != 1 || store.Name == "" || names[store.Name] || store.Breaker.Failures < 1 || store.Breaker.Reset <= 0 {
			t.Errorf("%+v", store)
		}
		for _, allowed := range store.Allow {
			if allowed != allowed.Masked() || !allowed.IsValid() {
				t.Errorf("%v is allowed", allowed)
			}
		}
		names[store.Name] = true
	}
	for _, name := range config.Prefetch {
		if normal, err := sni.Normalize(name); err != nil || normal != name {
			t.Errorf("%q is fetched", name)
		}
	}
}

func checkRouteWhole(t *testing.T, route Route) {
	if route.TLS.MinVersion == 0 || route.TLS.ClientAuth.Mode == "" || route.SessionTickets.Enabled == SwitchUnset || route.SessionTickets.Rotate <= 0 {
		t.Errorf("a route without what it inherits: %+v", route)
	}
	if route.Limits.IdleTimeout <= 0 || route.Limits.HandshakeTimeout <= 0 || route.Limits.HalfCloseTimeout <= 0 || route.Limits.LifeTimeout < 0 {
		t.Errorf("a route without limits: %+v", route.Limits)
	}
	if route.TLS.ClientAuth.Mode != ClientAuthOff && route.TLS.ClientAuth.CAFile == "" {
		t.Error("a route that verifies with nothing")
	}
}

func checkTrafficWhole(t *testing.T, config *Config) {
	var rules []sni.Rule[int]
	for i, route := range config.Routes {
		rules = append(rules, RuleFor(route.Match, i))
	}
	if _, err := sni.NewTable(rules); err != nil {
		t.Errorf("routes that make no table: %v", err)
	}
	for _, listener := range config.Listeners {
		if listener.Name == "" || listener.AcceptProxy != nil && len(listener.AcceptProxy.From) == 0 {
			t.Errorf("%+v", listener)
		}
	}
	for name, backend := range config.Backends {
		if len(backend.Servers) == 0 || backend.DialTimeout <= 0 || backend.Ejection.MaxTime < backend.Ejection.Time || backend.PanicThreshold > 100 {
			t.Errorf("%s: %+v", name, backend)
		}
		if len(backend.CustomFields()) != len(backend.CustomTLVs) {
			t.Errorf("%s: fields %v of %v", name, backend.CustomFields(), backend.CustomTLVs)
		}
	}
}
