package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hellogate/store"
)

// listen returns the names of changes as they are told.
func listen(t *testing.T, s *Store) (told func() []string) {
	t.Helper()
	var mu sync.Mutex
	var names []string
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Watch(ctx, func(change store.Change) {
			mu.Lock()
			defer mu.Unlock()
			if change.All {
				names = append(names, "all")
			}
			for _, name := range change.Names {
				names = append(names, name.String())
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(names)
	}
}

func TestProcessesThatShareAStorage(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		stores := []*Store{w.Store, w.another(), w.another()}
		var told []func() []string
		for _, each := range stores {
			each.Start()
			defer each.Close()
			told = append(told, listen(t, each))
		}
		time.Sleep(20 * time.Second)
		if w.ca.placed() != 1 {
			t.Errorf("%d orders by three processes", w.ca.placed())
		}
		for i, each := range stores {
			w.mustLeaf(each, example)
			if got := told[i](); len(got) < 2 || got[0] != "all" || !slices.Contains(got, example) {
				t.Errorf("process %d was told %q", i, got)
			}
		}
		before := w.mustLeaf(stores[2], example)
		if _, err := stores[0].Renew(t.Context(), example, true); err != nil {
			t.Fatal(err)
		}
		count := len(told[2]())
		time.Sleep(4 * time.Second)
		if w.mustLeaf(stores[2], example).Equal(before) || len(told[2]()) == count {
			t.Error("what another process obtained is not seen within seconds")
		}
		time.Sleep(70 * 24 * time.Hour)
		if w.ca.placed() != 3 {
			t.Errorf("%d orders after a renewal by one of three", w.ca.placed())
		}
	})
}

// TestFailureIsShared: a process does not try again what another has tried just now.
func TestFailureIsShared(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.ca.fault = func(_ *fakeCA, at string, rw http.ResponseWriter) bool {
			if at == "/order" {
				refuse(rw, 400, "rejectedIdentifier", "no")
			}
			return at == "/order"
		}
		for range 3 {
			each := w.another()
			each.Start()
			defer each.Close()
		}
		time.Sleep(20 * time.Hour)
		if count := w.ca.asked("/order"); count != 1 {
			t.Errorf("%d orders by three processes", count)
		}
	})
}

func TestRevoke(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Start()
		told := listen(t, w.Store)
		time.Sleep(10 * time.Second)
		before := w.mustLeaf(w.Store, example)
		if err := w.Revoke(t.Context(), example, 1); err != nil {
			t.Fatal(err)
		}
		if w.storage.has(pemKey(example, "p256")) || w.ca.asked("/revoke") != 1 {
			t.Error("not revoked, or still there")
		}
		time.Sleep(5 * time.Second)
		if w.mustLeaf(w.Store, example).Equal(before) || !slices.Contains(told(), example) {
			t.Error("not ordered anew, or not told")
		}
		if err := w.Revoke(t.Context(), "other.example.com", 1); err == nil || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("a name that is not ours: %v", err)
		}
	})
}

func TestARI(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		begin := time.Now()
		w.ca.ari = func(time.Time) (time.Time, time.Time) {
			return begin.Add(50 * 24 * time.Hour), begin.Add(51 * 24 * time.Hour)
		}
		w.Start()
		time.Sleep(10 * time.Second)
		first := w.mustLeaf(w.Store, example)
		status := w.status(example)
		if at := status.DueAt.Sub(begin); at < 50*24*time.Hour || at > 51*24*time.Hour || status.ARI.URL == "" {
			t.Errorf("due after %v: %+v", at, status.ARI)
		}
		time.Sleep(3 * time.Hour)
		if again := w.status(example).DueAt; !again.Equal(status.DueAt) {
			t.Errorf("the moment has moved from %v to %v in the same window", status.DueAt, again)
		}
		// The authority has to revoke it tomorrow, and would say the same of the next one.
		w.ca.set(func() {
			w.ca.ari = func(now time.Time) (time.Time, time.Time) { return now.Add(-2 * time.Hour), now.Add(-time.Hour) }
		})
		time.Sleep(5 * time.Hour)
		if w.mustLeaf(w.Store, example).Equal(first) {
			t.Error("not renewed when the authority says so")
		}
		time.Sleep(24 * time.Hour)
		if count := w.ca.placed(); count > 6 {
			t.Errorf("%d orders within a day", count)
		}
		w.ca.set(func() {
			if last := w.ca.replaces[len(w.ca.replaces)-1]; last == "" || w.ca.replaces[0] != "" {
				t.Errorf("replaces %q", w.ca.replaces)
			}
		})
	})
}

func TestOnDemandIsRenewedWhileItIsUsed(t *testing.T) {
	in(t, func(o *Options) { o.OnDemand = suffix(t, ".example.com") }, func(t *testing.T, w *world) {
		w.Start()
		used, unused := "used.example.com", "unused.example.com"
		first := w.mustLeaf(w.Store, unused)
		w.mustLeaf(w.Store, used)
		bundle, err := w.Fetch(t.Context(), store.Request{Name: used})
		if err != nil || !bundle.Freshness.Known || bundle.Freshness.MaxAge < 40*24*time.Hour || bundle.Freshness.MaxAge > 50*24*time.Hour {
			t.Errorf("%+v, %v: not to be asked for again before it is due", bundle, err)
		}
		time.Sleep(bundle.Freshness.MaxAge)
		w.mustLeaf(w.Store, used)
		time.Sleep(20 * 24 * time.Hour)
		if w.ca.placed() != 3 || w.ca.order("3") != used {
			t.Errorf("%d orders", w.ca.placed())
		}
		if !w.mustLeaf(w.Store, unused).Equal(first) {
			t.Error("a name that nobody used was renewed")
		}
		time.Sleep(10 * time.Second)
		if w.ca.placed() != 4 || w.mustLeaf(w.Store, unused).Equal(first) {
			t.Error("a name that is due was not renewed when it was asked for")
		}
	})
}

func TestShortLived(t *testing.T) {
	for _, life := range []time.Duration{6 * 24 * time.Hour, 10 * time.Minute} {
		in(t, func(o *Options) { o.OnDemand = suffix(t, ".example.com") }, func(t *testing.T, w *world) {
			w.ca.life = life
			w.Start()
			w.mustLeaf(w.Store, example)
			for range 40 { // as a cache that asks when it is told
				time.Sleep(life / 10)
				leaf := w.mustLeaf(w.Store, example)
				if left := time.Until(leaf.NotAfter); left < life/4 {
					t.Errorf("life %v: %v left", life, left)
				}
			}
			if count := w.ca.placed(); count < 5 || count > 8 {
				t.Errorf("life %v: %d orders in four lives", life, count)
			}
		})
	}
}

func TestExpiring(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Start()
		time.Sleep(10 * time.Second)
		end := w.mustLeaf(w.Store, example).NotAfter
		w.ca.set(func() { w.ca.down = true })
		time.Sleep(time.Until(end) - 10*24*time.Hour)
		if slices.Contains(w.kinds(), "expiring") {
			t.Error("told too early")
		}
		time.Sleep(36 * time.Hour)
		count := strings.Count(strings.Join(w.kinds(), " "), "expiring")
		if count != 1 {
			t.Errorf("told %d times", count)
		}
		time.Sleep(20 * 24 * time.Hour)
		if w.status(example).State != StateExpired {
			t.Errorf("state %s after its end", w.status(example).State)
		}
		if _, err := leafOf(w.Store, example); err == nil {
			t.Error("an expired certificate is served")
		}
	})
}

func TestLimits(t *testing.T) {
	in(t, func(o *Options) {
		o.Any = true
		o.Limits = Limits{Rate: 1, Burst: 3, PerDomain: 5}
	}, func(t *testing.T, w *world) {
		w.Start()
		var wait sync.WaitGroup
		begin := time.Now()
		for i := range 8 {
			wait.Go(func() {
				_, err := leafOf(w.Store, fmt.Sprintf("n%d.example.co.uk", i))
				if err != nil && !strings.Contains(err.Error(), "example.co.uk") {
					t.Error(err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		wait.Wait()
		if took := time.Since(begin); took < 4*time.Second {
			t.Errorf("five orders, and eight begun, within %v", took)
		}
		if w.ca.placed() != 5 {
			t.Errorf("%d orders below one domain", w.ca.placed())
		}
		names := 0
		for range w.All() {
			names++
		}
		keys, _ := w.storage.List(t.Context(), certificates)
		if names != 5 || len(keys) != 10 {
			t.Errorf("%d names in memory, %d files: those one too many are kept", names, len(keys))
		}
		w.mustLeaf(w.Store, "n0.example.org")
		time.Sleep(8 * 24 * time.Hour)
		w.mustLeaf(w.Store, "late.example.co.uk")
	})
}

// TestHalfWritten: a pair that is not whole, or not one, is ordered anew.
func TestHalfWritten(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"cut short": func(content []byte) []byte { return content[:len(content)/2] },
		"empty":     func([]byte) []byte { return nil },
		"another's key": func(content []byte) []byte {
			other, err := newKey("p256")
			if err != nil {
				panic(err)
			}
			text, err := encodeKey(other)
			if err != nil {
				panic(err)
			}
			return append(content[:strings.Index(string(content), "-----BEGIN PRIVATE")], text...)
		},
		"no key": func(content []byte) []byte { return content[:strings.Index(string(content), "-----BEGIN PRIVATE")] },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(t *testing.T, w *world) {
				w.Start()
				time.Sleep(10 * time.Second)
				key := pemKey(example, "p256")
				content, _ := w.storage.Load(t.Context(), key)
				if err := w.storage.Save(t.Context(), key, spoil(content)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				w.mustLeaf(w.Store, example)
				if w.ca.placed() != 2 {
					t.Errorf("%d orders", w.ca.placed())
				}
			})
		})
	}
}

func TestKeyTypes(t *testing.T) {
	in(t, func(o *Options) { o.KeyTypes = []string{"p256", "rsa2048"} }, func(t *testing.T, w *world) {
		w.Start()
		time.Sleep(20 * time.Second)
		bundle, err := w.Fetch(t.Context(), store.Request{Name: example})
		if err != nil || len(bundle.Pairs) != 2 || w.ca.placed() != 2 {
			t.Fatalf("%d pairs, %d orders, %v", len(bundle.Pairs), w.ca.placed(), err)
		}
		again, err := w.Fetch(t.Context(), store.Request{Name: example, Validator: bundle.Validator, From: bundle.Store})
		if err != nil || !again.NotModified {
			t.Errorf("the same is told as new: %v", err)
		}
		time.Sleep(time.Until(w.status(example).DueAt) + 10*time.Second)
		if w.ca.placed() != 4 || strings.Count(strings.Join(w.kinds(), " "), "renewing") != 2 {
			t.Errorf("%d orders; %q", w.ca.placed(), w.kinds())
		}
	})
}

func TestAtOnce(t *testing.T) {
	in(t, func(o *Options) {
		o.Any = true
		o.Limits = Limits{Rate: 100, Burst: 100, AtOnce: 3}
	}, func(t *testing.T, w *world) {
		under, most := 0, 0
		w.ca.fault = func(ca *fakeCA, at string, _ http.ResponseWriter) bool {
			if at == "/order" {
				ca.set(func() { under++; most = max(most, under) })
				time.Sleep(time.Second)
				ca.set(func() { under-- })
			}
			return false
		}
		w.Start()
		var wait sync.WaitGroup
		for i := range 12 {
			wait.Go(func() {
				if _, err := leafOf(w.Store, fmt.Sprintf("n%d.example.com", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if most != 3 {
			t.Errorf("%d orders at once", most)
		}
	})
}

// TestNotDue: what is not due is renewed by force alone; what is not ours not at all, and not listed any more.
func TestNotDue(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Start()
		time.Sleep(10 * time.Second)
		if renewed, err := w.Renew(t.Context(), example, false); renewed || err != nil || w.ca.placed() != 1 || w.Orders()["elsewhere"] != 0 {
			t.Errorf("renewed: %v, %v, %d orders", renewed, err, w.ca.placed())
		}
		if _, err := w.Renew(t.Context(), "b.example.com", true); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("a name that is not ours: %v", err)
		}
		w.options.Names = []string{"b.example.com"}
		other := w.another()
		defer other.Close()
		other.Start()
		time.Sleep(10 * time.Second)
		for status := range other.All() {
			if status.Name != "b.example.com" {
				t.Errorf("%s is listed", status.Name)
			}
		}
		if _, err := leafOf(other, example); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("a name that was taken out: %v", err)
		}
	})
}
