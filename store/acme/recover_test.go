package acme

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAccount(t *testing.T) {
	in(t, func(o *Options) { o.Contact = "one@example.com" }, func(t *testing.T, w *world) {
		w.Start()
		time.Sleep(10 * time.Second)
		renew := func(s *Store) {
			t.Helper()
			if renewed, err := s.Renew(t.Context(), example, true); err != nil || !renewed {
				t.Errorf("renewed: %v, %v", renewed, err)
			}
		}
		renew(w.Store)
		if count := w.ca.asked("/account"); count != 1 {
			t.Errorf("%d registrations", count)
		}
		again := w.another()
		defer again.Close()
		again.Start()
		renew(again)
		if count := w.ca.asked("/account"); count != 1 {
			t.Errorf("%d registrations after a new start", count)
		}
		w.options.Contact = "two@example.com"
		changed := w.another()
		defer changed.Close()
		changed.Start()
		renew(changed)
		if w.ca.asked("/account") != 1 || w.ca.asked("/account/1") != 1 || w.ca.contact() != "mailto:two@example.com" {
			t.Errorf("contact %v", w.ca.contact())
		}
		w.ca.set(func() { clear(w.ca.accounts) }) // as a new Pebble
		renew(changed)
		if count := w.ca.asked("/account"); count != 2 {
			t.Errorf("%d registrations with an authority that has forgotten", count)
		}
	})
}

// TestCloseDuringAnOrder: what is given up is soon over, and begins anew at the next start.
func TestCloseDuringAnOrder(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.ca.fault = func(_ *fakeCA, at string, _ http.ResponseWriter) bool {
			if at == "/order" {
				time.Sleep(5 * time.Second)
			}
			return false
		}
		w.Start()
		time.Sleep(2 * time.Second)
		if w.status(example).State != StateOrdering {
			t.Errorf("state %s", w.status(example).State)
		}
		w.Store.Close()
		if state, _, _ := w.loadJob(t.Context(), example); state.Last.Result != "interrupted" || state.Errors != 0 {
			t.Errorf("left behind: %+v", state)
		}
		again := w.another()
		defer again.Close()
		again.Start()
		time.Sleep(10 * time.Second)
		w.mustLeaf(again, example)
	})
}

// TestLostLock: who has lost the lock of a name writes nothing more, and looks again later.
func TestLostLock(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.ca.fault = func(_ *fakeCA, at string, _ http.ResponseWriter) bool {
			if strings.HasPrefix(at, "/finalize") {
				time.Sleep(3 * time.Second)
			}
			return false
		}
		w.Start()
		time.Sleep(time.Second)
		w.storage.lose(example)
		time.Sleep(3 * time.Second)
		if w.storage.has(pemKey(example, "p256")) || w.status(example).Errors != 0 {
			t.Errorf("written without the lock, or an error: %+v", w.status(example))
		}
		time.Sleep(20 * time.Second)
		w.mustLeaf(w.Store, example)
	})
}

// TestRateLimitedAccount: when an authority limits one name after another it is left alone as it asks for.
func TestRateLimitedAccount(t *testing.T) {
	in(t, func(o *Options) {
		o.Any = true
		o.Limits = Limits{Rate: 100, Burst: 100}
	}, func(t *testing.T, w *world) {
		w.ca.fault = func(_ *fakeCA, at string, rw http.ResponseWriter) bool {
			if at == "/order" {
				rw.Header().Set("Retry-After", "600")
				refuse(rw, 429, "rateLimited", "too many orders")
			}
			return at == "/order"
		}
		w.Start()
		for i := range 20 {
			if _, err := leafOf(w.Store, string(rune('a'+i))+".example.com"); err == nil || !strings.Contains(err.Error(), "too many orders") {
				t.Errorf("error %v", err)
			}
		}
		if count := w.ca.asked("/order"); count != rateLimits {
			t.Errorf("%d orders of an account that is limited", count)
		}
		w.ca.set(func() { w.ca.fault = nil })
		time.Sleep(11 * time.Minute)
		w.mustLeaf(w.Store, "a.example.com")
	})
}

// TestAnotherChallenge: when one type fails the next is tried, and begun with the next time.
func TestAnotherChallenge(t *testing.T) {
	in(t, func(o *Options) { o.HTTP01 = true }, func(t *testing.T, w *world) {
		w.ca.fault = func(_ *fakeCA, at string, rw http.ResponseWriter) bool {
			if at == "/challenge/1" {
				refuse(rw, 403, "connection", "could not connect to port 443")
			}
			return at == "/challenge/1"
		}
		w.Start()
		time.Sleep(10 * time.Second)
		w.mustLeaf(w.Store, example)
		if _, err := w.Renew(t.Context(), example, true); err != nil {
			t.Fatal(err)
		}
		var types []string
		w.mu.Lock()
		for _, event := range w.events {
			if event.Kind == EventChallengeSetup {
				types = append(types, event.Detail)
			}
		}
		w.mu.Unlock()
		if strings.Join(types, " ") != "tls-alpn-01 http-01 http-01" {
			t.Errorf("challenges %q", types)
		}
		if keys, _ := w.storage.List(t.Context(), "challenges"); len(keys) != 0 {
			t.Errorf("left behind: %q", keys)
		}
	})
}
