package instance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"hellogate/control/config"
	"hellogate/store"
	"hellogate/store/acme/challenge"
)

// fakeOrderer has proofs for names: a certificate, or why there is none.
type fakeOrderer struct {
	store.Store
	says   string
	proofs map[string]any
}

func (f fakeOrderer) Certificate(_ context.Context, name string) (*tls.Certificate, error) {
	switch found := f.proofs[name].(type) {
	case *tls.Certificate:
		return found, nil
	case error:
		return nil, found
	}
	return nil, fmt.Errorf("%s: %w", name, challenge.ErrNone)
}

func (f fakeOrderer) HTTP01() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, f.says) })
}

// orderedBy is a plane with a store that orders nothing in front of those that do.
func orderedBy(list ...fakeOrderer) *atomic.Pointer[plane] {
	made := &stores{list: []*guarded{{settings: config.Store{Name: "folder"}}}}
	for i, each := range list {
		settings := config.Store{Name: each.says, ACME: &config.ACMEStore{HTTP01: fmt.Sprintf(":%d", 80+i)}}
		made.list = append(made.list, &guarded{settings: settings, opened: opened{Store: each}})
	}
	in := new(atomic.Pointer[plane])
	in.Store(&plane{stores: made})
	return in
}

// The proof is that of whichever store has one. That one of them can't tell is no reason not to ask the others, and is said
// when none has.
func TestProofs(t *testing.T) {
	first, second := new(tls.Certificate), new(tls.Certificate)
	broken := errors.New("the folder is gone")
	in := orderedBy(
		fakeOrderer{says: "a", proofs: map[string]any{"a.test": first, "c.test": broken, "d.test": broken}},
		fakeOrderer{says: "b", proofs: map[string]any{"a.test": second, "b.test": second, "c.test": second}},
	)
	for _, c := range []struct {
		name string
		want *tls.Certificate
		err  error
	}{
		{"a.test", first, nil}, {"b.test", second, nil}, {"c.test", second, nil}, {"d.test", nil, broken}, {"e.test", nil, nil},
	} {
		if got, err := (proofs{in}).Certificate(t.Context(), c.name); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %p, %v", c.name, got, err)
		}
	}
	in.Store(&plane{}) // stores were let go of
	if got, err := (proofs{in}).Certificate(t.Context(), "a.test"); got != nil || err != nil {
		t.Errorf("without stores: %v, %v", got, err)
	}
}

// Who asks at an address is answered by the store that is asked there, whichever that is by then.
func TestProofsAt(t *testing.T) {
	i := new(Instance)
	ask := func(address string) (int, string) {
		recorder := httptest.NewRecorder()
		i.proofsAt(address).ServeHTTP(recorder, httptest.NewRequest("GET", "/", nil))
		return recorder.Code, recorder.Body.String()
	}
	i.plane.Store(orderedBy(fakeOrderer{says: "a"}, fakeOrderer{says: "b"}).Load())
	for address, want := range map[string]string{":80": "a", ":81": "b"} {
		if code, got := ask(address); code != 200 || got != want {
			t.Errorf("%s: %d %q", address, code, got)
		}
	}
	i.plane.Store(orderedBy(fakeOrderer{says: "c"}).Load())
	if _, got := ask(":80"); got != "c" {
		t.Errorf("after a reload: %q", got)
	}
	if code, _ := ask(":81"); code != 404 {
		t.Errorf("of no store: %d", code)
	}
}
