package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"hellogate/store"
)

// TestFaultsOfAnAuthority: what a name has is served on, the error has the authority's words, and it is tried again neither
// at once nor never.
func TestFaultsOfAnAuthority(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	refusing := func(path string, status int, kind, detail, retryAfter string) func(*fakeCA) {
		return func(ca *fakeCA) {
			ca.fault = func(_ *fakeCA, at string, w http.ResponseWriter) bool {
				if !strings.HasPrefix(at, path) {
					return false
				}
				if retryAfter != "" {
					w.Header().Set("Retry-After", retryAfter)
				}
				refuse(w, status, kind, detail)
				return true
			}
		}
	}
	for _, test := range []struct {
		name     string
		begin    func(*fakeCA)
		want     string
		soonest  time.Duration // after which it is tried again
		latest   time.Duration
		requests int // at most, for one try
	}{
		{"down", func(ca *fakeCA) { ca.down = true }, "connection refused", 13 * time.Second, 46 * time.Second, 12},
		{"slow", func(ca *fakeCA) {
			ca.fault = func(*fakeCA, string, http.ResponseWriter) bool { time.Sleep(time.Minute); return false }
		}, "deadline", 13 * time.Second, 46 * time.Second, 12},
		{"bad nonces", refusing("/order", 400, "badNonce", "used before", ""), "used before", 13 * time.Second, 46 * time.Second, 30},
		{"rate limited", refusing("/order", 429, "rateLimited", "too many certificates", "7200"), "too many certificates", 2*time.Hour - time.Minute, 2 * time.Hour, 12},
		{"name refused", refusing("/order", 400, "rejectedIdentifier", "is on a list", ""), "is on a list", 24*time.Hour - time.Minute, 24 * time.Hour, 12},
		{"challenge failed", refusing("/challenge", 403, "unauthorized", "wrong answer", ""), "wrong answer", 13 * time.Second, 46 * time.Second, 12},
		{"out of order", func(ca *fakeCA) {
			ca.fault = func(_ *fakeCA, at string, w http.ResponseWriter) bool { w.WriteHeader(503); return true }
		}, "503", 13 * time.Second, 46 * time.Second, 12},
		{"another key", func(ca *fakeCA) { ca.leafFor = func(any) any { return other.Public() } }, "key", 13 * time.Second, 46 * time.Second, 15},
		{"garbage for a certificate", func(ca *fakeCA) {
			ca.fault = func(_ *fakeCA, at string, w http.ResponseWriter) bool {
				if strings.HasPrefix(at, "/cert/") {
					w.Header().Set("Content-Type", "application/pem-certificate-chain")
					w.Write([]byte("garbage\x00\xff"))
					return true
				}
				return false
			}
		}, "no certificate", 13 * time.Second, 46 * time.Second, 15},
		{"garbage for an order", func(ca *fakeCA) {
			ca.fault = func(_ *fakeCA, at string, w http.ResponseWriter) bool {
				if at != "/order" {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte("{"))
				return true
			}
		}, "JSON", 13 * time.Second, 46 * time.Second, 12},
		{"an endless answer", func(ca *fakeCA) {
			ca.fault = func(_ *fakeCA, at string, w http.ResponseWriter) bool {
				if at == "/order" {
					w.Write(make([]byte, 3<<20))
					return true
				}
				return false
			}
		}, "too large", 13 * time.Second, 46 * time.Second, 12},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, nil, func(t *testing.T, w *world) {
				w.Start()
				time.Sleep(10 * time.Second)
				first := w.mustLeaf(w.Store, example)
				time.Sleep(time.Until(w.status(example).DueAt) - time.Second)
				w.ca.set(func() { test.begin(w.ca); clear(w.ca.requests) })
				for w.status(example).State != StateFailed {
					time.Sleep(time.Second)
				}
				status := w.status(example)
				if pause := time.Until(status.NextAt); pause < test.soonest || pause > test.latest {
					t.Errorf("tried again after %v", pause)
				}
				if !strings.Contains(status.Last.Error, test.want) || status.State != StateFailed || status.Errors != 1 {
					t.Errorf("status %+v, want an error about %q", status, test.want)
				}
				total := 0
				w.ca.set(func() {
					for _, count := range w.ca.requests {
						total += count
					}
				})
				if total > test.requests {
					t.Errorf("%d requests for one try", total)
				}
				if !w.mustLeaf(w.Store, example).Equal(first) {
					t.Error("the old certificate is not served on")
				}
				w.ca.set(func() { w.ca.down, w.ca.fault, w.ca.leafFor = false, nil, nil })
				time.Sleep(time.Until(status.NextAt) + time.Minute)
				if w.mustLeaf(w.Store, example).Equal(first) || w.status(example).Errors != 0 {
					t.Error("not renewed when the authority is well again")
				}
			})
		})
	}
}

func TestFailedNameOnDemand(t *testing.T) {
	in(t, func(o *Options) { o.OnDemand = suffix(t, ".example.com") }, func(t *testing.T, w *world) {
		w.ca.fault = func(_ *fakeCA, at string, rw http.ResponseWriter) bool {
			if at == "/order" {
				refuse(rw, 400, "rejectedIdentifier", "is on a list\u202e\n")
			}
			return at == "/order"
		}
		w.Start()
		time.Sleep(time.Second)
		if _, err := leafOf(w.Store, example); err == nil {
			t.Fatal("a certificate for a name that was refused")
		}
		_, release, err := w.storage.Lock(t.Context(), example) // which nothing needs to know what was told
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		begin := time.Now()
		for range 20 {
			_, err := leafOf(w.Store, example)
			var failure *store.Failure
			if !errors.As(err, &failure) || !failure.Exempt || failure.RetryAfter == 0 || errors.Is(err, store.ErrUnknown) {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(err.Error(), "is on a list") || strings.ContainsAny(err.Error(), "\u202e\n") {
				t.Errorf("error %q", err)
			}
		}
		if count := w.ca.asked("/order"); count != 1 {
			t.Errorf("%d orders of a name that failed", count)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("a remembered failure was waited for: %v", took)
		}
		time.Sleep(30 * time.Hour)
		if count := w.ca.asked("/order"); count != 1 {
			t.Errorf("%d orders of a name that nobody asks for", count)
		}
	})
}

func TestBackOffDoubles(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.ca.fault = func(_ *fakeCA, at string, rw http.ResponseWriter) bool {
			if at == "/order" {
				refuse(rw, 400, "unauthorized", "no")
			}
			return at == "/order"
		}
		w.Start()
		time.Sleep(6 * time.Hour) // 30 s, 1 m, 2 m ... 4 h
		if count := w.ca.asked("/order"); count < 8 || count > 12 {
			t.Errorf("%d orders in 6 hours", count)
		}
		before := w.ca.asked("/order")
		// A process that is started anew again and again does not begin again.
		w.Store.Close()
		for range 20 {
			again := w.another()
			again.Start()
			time.Sleep(time.Second)
			again.Close()
		}
		if count := w.ca.asked("/order"); count > before {
			t.Errorf("%d orders by processes that were started anew", count-before)
		}
	})
}

// TestCrashes: what is killed in the middle of an order goes on at the next start, but not without end.
func TestCrashes(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		orders := 0
		for range 30 {
			// What a killed process leaves is what it wrote before: another store has the same storage without it.
			made := w.another()
			tried := &try{store: made, entry: &entry{name: example}, run: &run{done: make(chan struct{})}}
			if err := tried.locked(func() error {
				if tried.isEarly(time.Now()) {
					return nil
				}
				orders++
				return tried.beginOrder()
			}); err != nil {
				t.Fatal(err)
			}
			made.Close()
			time.Sleep(time.Second)
		}
		if orders < 3 || orders > 6 {
			t.Errorf("%d orders begun by 30 processes, each killed within a second", orders)
		}
		state, _, _ := w.loadJob(t.Context(), example)
		if state.Last.Result != "under_way" || state.Interrupted != orders {
			t.Errorf("state %+v", state)
		}
		w.Start()
		time.Sleep(maxCrashDelay + 10*time.Second)
		w.mustLeaf(w.Store, example)
		if state, _, _ := w.loadJob(t.Context(), example); state.Interrupted != 0 {
			t.Errorf("%d interruptions after an order came to its end", state.Interrupted)
		}
	})
}

func TestFailover(t *testing.T) {
	for _, test := range []struct {
		name   string
		begin  func(*fakeCA)
		within time.Duration
		tries  int
	}{
		{"unreachable", func(ca *fakeCA) { ca.down = true }, 5 * time.Second, 1},
		{"refusing", func(ca *fakeCA) {
			ca.fault = func(_ *fakeCA, at string, w http.ResponseWriter) bool {
				if at == "/order" {
					refuse(w, 403, "unauthorized", "no")
				}
				return at == "/order"
			}
		}, 14 * 36 * time.Hour, failover},
	} {
		t.Run(test.name, func(t *testing.T) {
			var second *fakeCA
			in(t, func(o *Options) {
				second = newFakeCA(t)
				o.Directories = append(o.Directories, second.url("/dir"))
				o.transport = append(o.transport.(fakeNetwork), second)
			}, func(t *testing.T, w *world) {
				test.begin(w.ca)
				w.Start()
				time.Sleep(test.within)
				if second.placed() != 1 || w.status(example).CA != second.url("/dir") {
					t.Errorf("%d orders with the second: %+v", second.placed(), w.status(example))
				}
				if count := w.ca.asked("/order"); test.tries > 1 && count != test.tries {
					t.Errorf("%d orders with the first", count)
				}
			})
		})
	}
}

func TestDownAuthorityIsLeftAlone(t *testing.T) {
	in(t, func(o *Options) {
		o.Any = true
		o.Limits = Limits{Rate: 100, Burst: 100, PerDomain: -1}
	}, func(t *testing.T, w *world) {
		w.ca.down = true
		w.Start()
		for i := range 100 {
			if _, err := leafOf(w.Store, strings.Repeat("a", i+1)[:min(i+1, 60)]+".x"+string(rune('a'+i%26))+".example.com"); err == nil {
				t.Error("a certificate from nowhere")
			}
		}
		if count := w.ca.asked("/dir"); count > 30 {
			t.Errorf("%d requests to an authority that is down, for 100 names", count)
		}
	})
}

func TestStorageThatCanNotBeWritten(t *testing.T) {
	full := errors.New("no space left on device")
	for name, spoil := range map[string]func(*memory, error){
		"read-only":   func(m *memory, err error) { m.broken = err },
		"nearly full": func(m *memory, err error) { m.probe = err },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(o *Options) { o.OnDemand = suffix(t, ".example.com") }, func(t *testing.T, w *world) {
				spoil(w.storage, full)
				w.Start()
				for range 3 {
					if _, err := leafOf(w.Store, example); err == nil || !strings.Contains(err.Error(), full.Error()) {
						t.Errorf("error %v", err)
					}
				}
				if w.ca.asked("/dir") != 0 {
					t.Error("the authority was asked")
				}
				w.storage.mu.Lock()
				spoil(w.storage, nil)
				w.storage.mu.Unlock()
				time.Sleep(time.Minute)
				w.mustLeaf(w.Store, example)
			})
		})
	}
}
