package instance

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hellogate/breaker"
	"hellogate/control/config"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

// withStores is a configuration with other stores, as a list in YAML.
func withStores(t *testing.T, loaded *config.Config, list string) *config.Config {
	t.Helper()
	parsed, err := config.Parse("test.yaml", []byte("stores: "+list+"\nlisteners: [{address: \"127.0.0.1:0\"}]\nbackends: {b: {servers: [{address: \"h:1\"}]}}\nroutes: [{backend: b}]"))
	if err != nil {
		t.Fatal(err)
	}
	return changed(loaded, func(c *config.Config) { c.Stores = parsed.Stores })
}

func open(balancer *Instance) []*guarded { return balancer.plane.Load().stores.list }

// An entry whose store did not change keeps it, its breaker's state too, whatever else of the entry changed and wherever it
// stands. Others are opened and closed.
func TestReloadOfStores(t *testing.T) {
	loaded := configuration(t, "")
	first, second, third := t.TempDir(), t.TempDir(), t.TempDir()
	loaded = withStores(t, loaded, fmt.Sprintf("[{name: a, dir: {path: %q}}, {name: b, dir: {path: %q}}]", first, second))
	balancer, next := reloading(t, loaded)
	before := open(balancer)
	before[0].Do("a.example", func() error { return errors.New("broken") })
	next.Store(withStores(t, loaded, fmt.Sprintf(
		"[{name: c, dir: {path: %[1]q}}, {name: a, dir: {path: %[2]q}, names: [x.example], breaker: {failures: 1}, write_back: true, allow: [10.0.0.0/8]}, {name: b, dir: {path: %[1]q}}]", third, first)))
	result, err := balancer.Reload()
	if err != nil || !slices.Equal(result.Changed, []string{"stores"}) || len(result.AfterARestart) != 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	after := open(balancer)
	if got := balancer.plane.Load().stores.names(); !slices.Equal(got, []string{"c", "a", "b"}) {
		t.Fatalf("%q are asked", got)
	}
	if after[1].opened.Store != before[0].opened.Store || after[1].Breaker != before[0].Breaker || after[1].Status().Failures != 1 {
		t.Error("the store is another, or its breaker forgot")
	}
	if after[1].Do("a.example", func() error { return &store.Failure{Err: errors.New("broken"), Unreachable: true} }); after[1].Status().State != breaker.Open {
		t.Errorf("the limit of the breaker is not in effect: %+v", after[1].Status())
	}
	if after[2].opened.Store == before[1].opened.Store || after[2].Breaker == before[1].Breaker {
		t.Error("the store is the same, though it has another path")
	}
	if after[1].Takes("a.example") || !after[1].Takes("x.example") {
		t.Error("its names are not in effect")
	}
	if got := balancer.traffic.Plan().Allow["a"]; len(got) != 1 {
		t.Errorf("it may name %v", got)
	}
	balancer.retired.Wait()
	if _, err := before[1].opened.Fetch(t.Context(), store.Request{Name: "a.example"}); err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("the store that went is open: %v", err)
	}
	if _, err := after[1].opened.Fetch(t.Context(), store.Request{Name: "a.example"}); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("the store that stayed: %v", err)
	}
	if sights := balancer.chain.Sights(); len(sights) != 3 {
		t.Errorf("%v are watched", sights)
	}
}

// What can't be opened leaves the stores as they were, also where others could be, and what comes after them in a reload.
func TestReloadOfStoresThatFails(t *testing.T) {
	loaded := configuration(t, "")
	kept := loaded.Stores[0].Dir.Path
	balancer, next := reloading(t, loaded)
	before := open(balancer)[0]
	good := withStores(t, loaded, fmt.Sprintf("[{dir: {path: %q}}, {dir: {path: %q}}]", t.TempDir(), kept))
	for _, c := range []struct {
		name string
		next *config.Config
		want string
	}{
		{"no folder", withStores(t, loaded, fmt.Sprintf("[{dir: {path: %q}}, {dir: {path: /nonexistent/folder}}]", t.TempDir())), "stores[1]: "},
		{"none", changed(loaded, func(c *config.Config) { c.Stores = nil }), "one is needed"},
		{"something else", changed(good, func(c *config.Config) { c.Fallback.CertFile, c.Fallback.KeyFile = "/nonexistent", "/nonexistent" }), "fallback: "},
	} {
		next.Store(c.next)
		if _, err := balancer.Reload(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if now := open(balancer); len(now) != 1 || now[0] != before {
			t.Errorf("%s: other stores are asked", c.name)
		}
		if _, err := balancer.chain.Fetch(t.Context(), store.Request{Name: "a.example"}); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("%s: the store is closed: %v", c.name, err)
		}
	}
	unused, err := balancer.newPlane(good, balancer.plane.Load())
	if err != nil {
		t.Fatal(err)
	}
	unused.discard()
	for n, want := range []bool{false, true} {
		_, err := unused.stores.list[n].opened.Fetch(t.Context(), store.Request{Name: "a.example"})
		if open := errors.Is(err, store.ErrUnknown); open != want {
			t.Errorf("store %d is open: %t (%v)", n, open, err)
		}
	}
}

// What was opened before one that can't be is closed again, and what is in use is not.
func TestMakeStoresHalfWay(t *testing.T) {
	balancer, _ := reloading(t, configuration(t, ""))
	kept := balancer.plane.Load().config.Stores[0]
	settings := func(name string) config.Store { return config.Store{Name: name} }
	events := []string{}
	open := func(settings config.Store, _ string) (opened, error) {
		if settings.Name == "broken" {
			return opened{}, errors.New("no")
		}
		events = append(events, "open "+settings.Name)
		return opened{close: func() { events = append(events, "close "+settings.Name) }}, nil
	}
	loaded := changed(balancer.config, func(c *config.Config) {
		c.Stores = []config.Store{settings("a"), kept, settings("b"), settings("broken"), settings("c")}
	})
	made, err := balancer.makeStores(loaded, balancer.plane.Load().stores, open)
	if made != nil || err == nil || !strings.Contains(err.Error(), "stores[3]: no") {
		t.Errorf("%v, %v", made, err)
	}
	if want := []string{"open a", "open b", "close a", "close b"}; !slices.Equal(events, want) {
		t.Errorf("%q, want %q", events, want)
	}
	if _, err := balancer.chain.Fetch(t.Context(), store.Request{Name: "a.example"}); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("the store in use: %v", err)
	}
}

// A store is opened anew when a file that it reads but once was put in place of the one before.
func TestReloadOfStoresAndFiles(t *testing.T) {
	roots := filepath.Join(t.TempDir(), "ca.pem")
	write := func() {
		t.Helper()
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certtest.NewCA(t).Root.Raw})
		if err := os.WriteFile(roots+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(roots+".new", roots); err != nil {
			t.Fatal(err)
		}
	}
	write()
	loaded := withStores(t, configuration(t, ""), fmt.Sprintf("[{name: a, http: {url: \"https://127.0.0.1:1\", ca_file: %q}}]", roots))
	balancer, _ := reloading(t, loaded)
	first := open(balancer)[0].opened.Store
	for _, step := range []struct {
		name   string
		change func()
		fails  bool
		other  bool
	}{
		{"as it was", func() {}, false, false},
		{"gone", func() { os.Remove(roots) }, true, false},
		{"another", write, false, true},
	} {
		step.change()
		if _, err := balancer.Reload(); (err != nil) != step.fails {
			t.Errorf("%s: %v", step.name, err)
		}
		if other := open(balancer)[0].opened.Store != first; other != step.other {
			t.Errorf("%s: another store: %t", step.name, other)
		}
	}
}

// The secret of the environment is for the only store of its kind: when there are two, neither has it.
func TestReloadOfStoresAndSecrets(t *testing.T) {
	const secret = "environment"
	var seen atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := r.Header.Get("Authorization"); strings.HasPrefix(r.URL.Path, "/a/") {
			seen.Store(&token)
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	one, two := fmt.Sprintf("{name: a, http: {url: %q}}", server.URL+"/a"), fmt.Sprintf("{name: b, http: {url: %q}}", server.URL+"/b")
	loaded := withStores(t, configuration(t, ""), "["+one+"]")
	var log strings.Builder
	balancer, err := New(loaded, Options{Log: zerolog.New(&log), StoreToken: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer balancer.Close()
	for _, step := range []struct{ list, want string }{
		{one, "Bearer " + secret},
		{one + ", " + two, ""},
		{one, "Bearer " + secret},
	} {
		read := withStores(t, loaded, "["+step.list+"]")
		balancer.options.Load = func() (*config.Config, error) { return read, nil }
		if _, err := balancer.Reload(); err != nil {
			t.Fatal(err)
		}
		balancer.chain.Fetch(t.Context(), store.Request{Name: "a.example"})
		if got := *seen.Load(); got != step.want {
			t.Errorf("[%s]: asked with %q, want %q", step.list, got, step.want)
		}
	}
	if got := strings.Count(log.String(), "HELLOGATE_STORE_TOKEN"); got != 1 {
		t.Errorf("it was said %d times that nothing takes the secret", got)
	}
}

// A fetch that is under way with a store that goes comes to its end, and the store is closed then.
func TestReloadOfStoresMeanwhile(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	plain := configuration(t, "")
	loaded := withStores(t, plain, fmt.Sprintf("[{http: {url: %q, timeout: 1m}}]", server.URL))
	balancer, next := reloading(t, loaded)
	ended := make(chan error)
	go func() {
		_, err := balancer.chain.Fetch(t.Context(), store.Request{Name: "a.example"})
		ended <- err
	}()
	<-asked
	next.Store(plain)
	if _, err := balancer.Reload(); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		balancer.retired.Wait()
	}()
	select {
	case <-closed:
		t.Error("closed while it is being asked")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-ended; !errors.Is(err, store.ErrUnknown) {
		t.Errorf("the fetch under way: %v", err)
	}
	<-closed
}

// One that is never done with is closed all the same, at the end at the latest.
func TestCloseUnused(t *testing.T) {
	for _, test := range []struct {
		name string
		took time.Duration
	}{{"the end", time.Second}, {"enough", retireWait}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), test.took)
			if test.took == retireWait {
				ctx = t.Context()
			}
			defer cancel()
			closed, began := 0, time.Now()
			closeUnused(ctx, make(chan struct{}), []*guarded{{opened: opened{close: func() { closed++ }}}, {}})
			if took := time.Since(began); closed != 1 || took != test.took {
				t.Errorf("%s: closed %d times after %v", test.name, closed, took)
			}
		})
	}
}

// What the cache is told: of which names the answer may be another.
func TestReplacement(t *testing.T) {
	pattern := func(text string) sni.Pattern {
		parsed, err := sni.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	made := map[string]*breaker.Breaker{}
	set := func(texts ...string) *stores {
		s := &stores{}
		for _, text := range texts { // name, which store, names
			parts := strings.Fields(text)
			if made[parts[1]] == nil {
				made[parts[1]] = breaker.New(parts[0], nil, breaker.Options{})
			}
			added := &guarded{settings: config.Store{Name: parts[0]}, opened: opened{fetches: 3}, Breaker: made[parts[1]]}
			for _, name := range parts[2:] {
				added.settings.Names = append(added.settings.Names, pattern(name))
			}
			s.list = append(s.list, added)
		}
		return s
	}
	for _, test := range []struct {
		name         string
		before, next *stores
		takes        string // of x.example, y.example, z.example
		others       []string
	}{
		{"nothing", set("a 1 x.example", "b 2"), set("a 1 x.example", "b 2"), "", nil},
		{"new", set("b 2"), set("b 2", "a 1 x.example"), "x", []string{"a"}},
		{"gone", set("b 2", "a 1 x.example"), set("b 2"), "x", nil},
		{"another of the same name", set("b 2", "a 1 x.example"), set("b 2", "a 3 y.example"), "xy", []string{"a"}},
		{"other names", set("b 2", "a 1 x.example"), set("b 2", "a 1 y.example"), "xy", nil},
		{"another order", set("a 1 x.example", "b 2 y.example"), set("b 2 y.example", "a 1 x.example"), "xy", nil},
		{"every name", set("a 1 x.example"), set("a 1 x.example", "b 2"), "xyz", []string{"b"}},
	} {
		by := replacement(test.before, test.next)
		takes := ""
		for _, name := range []string{"x", "y", "z"} {
			if by.Takes != nil && by.Takes(name+".example") {
				takes += name
			}
		}
		if takes != test.takes || !slices.Equal(by.Others, test.others) || by.Fetches != 3*len(test.next.list) {
			t.Errorf("%s: %q, %+v", test.name, takes, by)
		}
	}
}
