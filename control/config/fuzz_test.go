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
	for _, name := range []string{"testdata/full.yaml", "testdata/broken.yaml"} {
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
		if _, ok := config.Backends[route.Backend]; route.Action == Terminate && !ok {
			t.Errorf("a route to %q, which is no backend", route.Backend)
		}
		if route.TLS.MinVersion == 0 {
			t.Error("a route without a TLS version")
		}
	}
	if config.Limits.IdleTimeout <= 0 || config.Control.Mode&0o600 != 0o600 {
		t.Errorf("%+v", *config)
	}
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
