package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/sni"
	"hellogate/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const example = "a.example.com"

// world is a store, and what it works with.
type world struct {
	t       *testing.T
	ca      *fakeCA
	storage *memory
	options Options
	*Store

	mu     sync.Mutex
	events []Event
}

// newWorld returns a store that has not begun yet.
func newWorld(t *testing.T, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, ca: newFakeCA(t), storage: newMemory()}
	w.options = Options{
		AcceptTerms: true, Directories: []string{w.ca.url("/dir")}, Storage: w.storage,
		transport: fakeNetwork{w.ca}, Log: zerolog.New(zerolog.NewTestWriter(t)),
		Event: func(e Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
	}
	if change != nil {
		change(&w.options)
	}
	if len(w.options.Names) == 0 && len(w.options.OnDemand) == 0 && !w.options.Any {
		w.options.Names = []string{example}
	}
	w.Store = w.another()
	return w
}

// another is a store that shares all with the first. It is closed at the end of the test.
func (w *world) another() *Store {
	w.t.Helper()
	made, err := New(w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

func (w *world) kinds() (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, each := range w.events {
		list = append(list, each.Kind)
	}
	return list
}

// leafOf is the certificate that a store gives for a name.
func leafOf(s *Store, name string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	bundle, err := s.Fetch(ctx, store.Request{Name: name})
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(bundle.Pairs[0].Chain[0])
}

func (w *world) mustLeaf(s *Store, name string) *x509.Certificate {
	w.t.Helper()
	leaf, err := leafOf(s, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return leaf
}

func (w *world) status(name string) Status {
	w.t.Helper()
	status, ok := w.StatusOf(context.Background(), name)
	if !ok {
		w.t.Fatalf("nothing is known of %s", name)
	}
	return status
}

// in runs a test whose clock is its own.
func in(t *testing.T, change func(*Options), do func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		defer w.Close()
		do(t, w)
	})
}

func suffix(t *testing.T, texts ...string) (list []sni.Pattern) {
	t.Helper()
	for _, text := range texts {
		pattern, err := sni.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, pattern)
	}
	return list
}

func TestManagedIsObtainedAtStart(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Start()
		time.Sleep(10 * time.Second)
		leaf := w.mustLeaf(w.Store, example)
		if w.ca.placed() != 1 || !slices.Equal(leaf.DNSNames, []string{example}) {
			t.Errorf("%d orders, a certificate for %v", w.ca.placed(), leaf.DNSNames)
		}
		status := w.status(example)
		if status.State != StateValid || !status.Managed || status.Last.Result != "ok" || len(status.Last.Steps) < 5 {
			t.Errorf("status %+v", status)
		}
		if got := w.kinds(); !slices.Equal(got, []string{"renewing", "challenge-setup", "renewed", "installed"}) {
			t.Errorf("events %q", got)
		}
	})
}

func TestRenewedAtAThird(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Start()
		time.Sleep(10 * time.Second)
		first := w.mustLeaf(w.Store, example)
		due := w.status(example).DueAt
		if left := first.NotAfter.Sub(due); left < 30*24*time.Hour || left > 34*24*time.Hour {
			t.Errorf("due with %v left", left)
		}
		time.Sleep(time.Until(due) - time.Minute)
		if w.ca.placed() != 1 {
			t.Errorf("%d orders before it is due", w.ca.placed())
		}
		time.Sleep(2 * time.Minute)
		second := w.mustLeaf(w.Store, example)
		if second.Equal(first) || w.ca.placed() != 2 {
			t.Error("not renewed when due")
		}
		if string(first.RawSubjectPublicKeyInfo) == string(second.RawSubjectPublicKeyInfo) {
			t.Error("the key is the old one")
		}
	})
}

func TestOnDemand(t *testing.T) {
	in(t, func(o *Options) { o.OnDemand = suffix(t, ".example.com") }, func(t *testing.T, w *world) {
		w.Start()
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				if _, err := leafOf(w.Store, example); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if w.ca.placed() != 1 {
			t.Errorf("%d orders for one name", w.ca.placed())
		}
		if _, err := leafOf(w.Store, "a.example.org"); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("a name that may not be ordered: %v", err)
		}
	})
}

func TestErrorsInFront(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"terms", func(o *Options) { o.AcceptTerms = false }, "terms"},
		{"wildcard without dns-01", func(o *Options) { o.Names = []string{"*.example.com"} }, "dns-01"},
		{"key type", func(o *Options) { o.KeyTypes = []string{"p521"} }, "p521"},
		{"path", func(o *Options) { o.Names = []string{"../x"} }, "../x"},
		{"directory", func(o *Options) { o.Directories = nil }, "directory"},
		{"no name", func(o *Options) { o.Names = nil }, "no name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := Options{AcceptTerms: true, Directories: []string{"https://x/"}, Storage: newMemory(), Names: []string{example}}
			test.change(&options)
			if _, err := New(options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one about %q", err, test.want)
			}
		})
	}
}
