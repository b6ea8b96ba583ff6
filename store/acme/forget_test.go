package acme

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNameThatFailedIsForgotten(t *testing.T) {
	in(t, func(o *Options) { o.OnDemand, o.Names = suffix(t, ".example.com"), []string{"m.example.com"} }, func(t *testing.T, w *world) {
		w.ca.fault = func(_ *fakeCA, at string, rw http.ResponseWriter) bool {
			if at == "/order" {
				refuse(rw, 400, "rejectedIdentifier", "no")
			}
			return at == "/order"
		}
		w.Start()
		if _, err := leafOf(w.Store, example); err == nil {
			t.Fatal("no error")
		}
		time.Sleep(6 * 24 * time.Hour)
		if !w.storage.has(jobKey(example)) {
			t.Error("forgotten early")
		}
		time.Sleep(4 * 24 * time.Hour)
		if w.storage.has(jobKey(example)) || !w.storage.has(jobKey("m.example.com")) {
			t.Error("kept for ever, or a managed name is forgotten")
		}
		for status := range w.All() {
			if !status.Managed {
				t.Errorf("%s is kept in memory", status.Name)
			}
		}
	})
}

func TestAuthorizationOfAFailedOrder(t *testing.T) {
	in(t, func(o *Options) { o.Version = "1.2.3" }, func(t *testing.T, w *world) {
		w.ca.fault = func(_ *fakeCA, at string, rw http.ResponseWriter) bool {
			if strings.HasPrefix(at, "/challenge/") {
				refuse(rw, 403, "unauthorized", "no")
			}
			return strings.HasPrefix(at, "/challenge/")
		}
		w.Start()
		time.Sleep(10 * time.Second)
		w.ca.set(func() {
			if !slices.Equal(w.ca.dropped, []string{"1"}) {
				t.Errorf("deactivated: %q", w.ca.dropped)
			}
			for agent := range w.ca.agents {
				if !strings.HasPrefix(agent, "hellogate/1.2.3 ") {
					t.Errorf("User-Agent %q", agent)
				}
			}
		})
	})
}

// TestOtherKeyType: a certificate that is there is served until there is one of the key type that is wanted now.
func TestOtherKeyType(t *testing.T) {
	in(t, func(o *Options) { o.OnDemand, o.Names = suffix(t, ".example.com"), []string{"m.example.com"} }, func(t *testing.T, w *world) {
		w.Start()
		time.Sleep(10 * time.Second)
		w.mustLeaf(w.Store, example)
		w.Store.Close()
		w.ca.set(func() { w.ca.down = true })
		w.options.KeyTypes = []string{"p384"}
		later := w.another()
		defer later.Close()
		later.Start()
		time.Sleep(time.Minute)
		names := []string{"m.example.com", example}
		for _, name := range names {
			w.mustLeaf(later, name)
		}
		w.ca.set(func() { w.ca.down = false })
		time.Sleep(3 * time.Hour)
		for _, name := range names {
			w.mustLeaf(later, name)
			time.Sleep(10 * time.Second)
			if !w.storage.has(pemKey(name, "p384")) {
				t.Errorf("%s is not ordered with the other key", name)
			}
		}
	})
}

// TestForceBehindAnotherRun: what is forced is ordered, though a run that finds nothing to do had begun before.
func TestForceBehindAnotherRun(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Start()
		time.Sleep(10 * time.Second)
		_, release, err := w.storage.Lock(t.Context(), example)
		if err != nil {
			t.Fatal(err)
		}
		w.Store.mu.Lock()
		e := w.entries[example]
		w.Store.mu.Unlock()
		if _, err := w.join(e, run{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // it waits for the lock
		time.AfterFunc(time.Second, release)
		if renewed, err := w.Renew(t.Context(), example, true); err != nil || !renewed {
			t.Errorf("renewed %v, %v", renewed, err)
		}
	})
}
