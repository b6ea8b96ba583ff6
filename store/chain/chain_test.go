package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

var (
	errDown    = &store.Failure{Err: errors.New("connection refused"), Unreachable: true}
	errBusy    = &store.Failure{Err: errors.New("429 Too Many Requests"), Exempt: true, RetryAfter: 7 * time.Second}
	errCut     = &store.Failure{Err: errors.New("breaker open"), CutOff: true, RetryAfter: 20 * time.Second}
	errToken   = &store.Failure{Err: fmt.Errorf("401: %w", store.ErrToken)}
	errNothing = errors.New("something else")
)

// TestOrder: who is asked, and what comes of it.
func TestOrder(t *testing.T) {
	ca := certtest.NewCA(t)
	good, other := gives(ca.Issue(t, name)), gives(ca.Issue(t, "other.example"))
	for _, test := range []struct {
		name    string
		answers []answer // nil: no
		asked   int
		store   string // that answered, "" for an error
		stopgap bool
		want    error    // that the error wraps
		says    []string // that the error says
	}{
		{"first", []answer{good, good}, 1, "a", false, nil, nil},
		{"no, then a bundle", []answer{nil, good, good}, 2, "b", false, nil, nil},
		{"failure, then a bundle", []answer{fails(errDown), good}, 2, "b", true, nil, nil},
		{"no, failure, no, bundle", []answer{nil, fails(errNothing), nil, good}, 4, "d", true, nil, nil},
		{"bad bundle, then a good one", []answer{other, good}, 2, "b", true, nil, nil},
		{"empty bundle, then a good one", []answer{gives(certtest.Issued{}, func(b *store.Bundle) { b.Pairs = nil }), good}, 2, "b", true, nil, nil},
		{"only noes", []answer{nil, nil, nil}, 3, "", false, store.ErrUnknown, []string{`stores a, b, c: get "a.example": unknown name`}},
		{"failure and no", []answer{fails(errDown), nil}, 2, "", false, errDown, []string{"connection refused (besides: unknown to b)"}},
		{"no and failure", []answer{nil, fails(errNothing)}, 2, "", false, errNothing, []string{"something else (besides: unknown to a)"}},
		{"failures", []answer{fails(errDown), nil, fails(errToken)}, 3, "", false, store.ErrToken, []string{"connection refused (besides: 401: ", "; unknown to b)"}},
		{"bad bundle and no", []answer{other, nil}, 2, "", false, nil, []string{`store a: certificate for "a.example": covers other.example`, "unknown to b"}},
		{"bad bundle last is the caller's to refuse", []answer{nil, other}, 2, "b", false, nil, nil},
		{"one: bundle", []answer{good}, 1, "a", false, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			shelves := make([]*shelf, len(test.answers))
			for i, each := range test.answers {
				shelves[i] = &shelf{answer: each}
			}
			c, _ := chained(t, nil, shelves...)
			bundle, err := c.Fetch(t.Context(), store.Request{Name: name})
			for i, each := range shelves {
				if got := len(each.requests()); (got == 1) != (i < test.asked) || got > 1 {
					t.Errorf("store %s was asked %d times", each.called, got)
				}
			}
			if test.store != "" {
				if err != nil {
					t.Fatal(err)
				}
				if bundle.Store != test.store || bundle.Stopgap != test.stopgap {
					t.Errorf("bundle of store %q, stopgap %t, want %q, %t", bundle.Store, bundle.Stopgap, test.store, test.stopgap)
				}
				return
			}
			if err == nil || bundle != nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("%v, %v: want error %v", bundle, err, test.want)
			}
			if !errors.Is(test.want, store.ErrUnknown) && errors.Is(err, store.ErrUnknown) {
				t.Errorf("%v is taken for a no", err)
			}
			for _, says := range test.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("error %q, want it to say %q", err, says)
				}
			}
		})
	}
}

// TestFlags: what a failure of several stores says of them all.
func TestFlags(t *testing.T) {
	for _, test := range []struct {
		name string
		errs []error
		want store.Failure
	}{
		{"all cut off", []error{errCut, errCut}, store.Failure{CutOff: true, RetryAfter: 20 * time.Second}},
		{"one cut off", []error{errCut, errDown}, store.Failure{RetryAfter: 20 * time.Second}},
		{"all unreachable", []error{errDown, errDown}, store.Failure{Unreachable: true}},
		{"all exempt", []error{errBusy, errBusy}, store.Failure{Exempt: true, RetryAfter: 7 * time.Second}},
		{"the longest pause", []error{errBusy, errCut}, store.Failure{RetryAfter: 20 * time.Second}},
		{"one says nothing", []error{errCut, errNothing}, store.Failure{RetryAfter: 20 * time.Second}},
		{"cut off and a no", []error{errCut, store.ErrUnknown}, store.Failure{CutOff: true, RetryAfter: 20 * time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := chained(t, nil, &shelf{answer: fails(test.errs[0])}, &shelf{answer: fails(test.errs[1])})
			_, err := c.Fetch(t.Context(), store.Request{Name: name})
			got, ok := errors.AsType[*store.Failure](err)
			if !ok {
				t.Fatalf("%v: no failure", err)
			}
			flags := *got
			flags.Err = nil
			if flags != test.want {
				t.Errorf("%+v, want %+v", flags, test.want)
			}
		})
	}
}

// TestAlone: a chain of one adds nothing to its store.
func TestAlone(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	for _, want := range []error{errDown, errBusy, errCut, errToken, errNothing, store.ErrUnknown, context.DeadlineExceeded} {
		c, _ := chained(t, nil, &shelf{answer: fails(want)})
		if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != want {
			t.Errorf("%v, want %v itself", err, want)
		}
	}
	only := &shelf{answer: unmodified(issued)}
	c, _ := chained(t, backed, only)
	held := store.Validator{ETag: `"v1"`}
	bundle, err := c.Fetch(t.Context(), store.Request{Name: name, Validator: held})
	if err != nil || !bundle.NotModified || bundle.Validator != held || bundle.Stopgap {
		t.Errorf("%+v, %v", bundle, err)
	}
}

func TestNames(t *testing.T) {
	ca := certtest.NewCA(t)
	first, second := &shelf{answer: gives(ca.Issue(t, name))}, &shelf{answer: gives(ca.Issue(t, "x.b.example"))}
	c, _ := chained(t, func(links []Link) {
		links[0].Names = []sni.Pattern{pattern(t, "a.example"), pattern(t, ".a.example")}
		links[1].Names = []sni.Pattern{pattern(t, "*.b.example")}
	}, first, second)
	for asked, want := range map[string]string{name: "a", "x.b.example": "b"} {
		if bundle, err := c.Fetch(t.Context(), store.Request{Name: asked}); err != nil || bundle.Store != want {
			t.Errorf("%s: %+v, %v, want store %s", asked, bundle, err, want)
		}
	}
	_, err := c.Fetch(t.Context(), store.Request{Name: "c.example"})
	if !errors.Is(err, store.ErrUnknown) || !strings.Contains(err.Error(), "no store is to be asked") {
		t.Errorf("%v", err)
	}
	if len(first.requests()) != 1 || len(second.requests()) != 1 {
		t.Errorf("asked %d and %d times", len(first.requests()), len(second.requests()))
	}
}

// TestValidator: a validator goes to the store that it is of, and to no other.
func TestValidator(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	held := store.Validator{ETag: `"v1"`}
	t.Run("to its store", func(t *testing.T) {
		first, second := &shelf{}, &shelf{answer: unmodified(issued)}
		c, _ := chained(t, backed, first, second)
		bundle, err := c.Fetch(t.Context(), store.Request{Name: name, Validator: held, From: "b"})
		if err != nil || !bundle.NotModified || bundle.Store != "b" {
			t.Errorf("%+v, %v", bundle, err)
		}
		if got := first.requests()[0]; !got.Validator.IsZero() || got.From != "" {
			t.Errorf("the other store was asked with %+v", got)
		}
		c.Close()
		if first.written() != 0 {
			t.Error("nothing was written back")
		}
	})
	t.Run("stopgap", func(t *testing.T) {
		c, _ := chained(t, nil, &shelf{answer: fails(errDown)}, &shelf{answer: unmodified(issued)})
		bundle, err := c.Fetch(t.Context(), store.Request{Name: name, Validator: held, From: "b"})
		if err != nil || !bundle.NotModified || !bundle.Stopgap {
			t.Errorf("%+v, %v", bundle, err)
		}
	})
	t.Run("from nobody", func(t *testing.T) {
		first := &shelf{answer: unmodified(issued)}
		c, _ := chained(t, nil, first, &shelf{})
		bundle, err := c.Fetch(t.Context(), store.Request{Name: name, Validator: held})
		if err != nil || bundle.NotModified || len(bundle.Pairs) != 1 {
			t.Errorf("%+v, %v", bundle, err)
		}
	})
	t.Run("not modified unasked", func(t *testing.T) {
		lies := func(context.Context, store.Request) (*store.Bundle, error) {
			return &store.Bundle{NotModified: true}, nil
		}
		c, _ := chained(t, nil, &shelf{answer: lies}, &shelf{})
		_, err := c.Fetch(t.Context(), store.Request{Name: name, Validator: held, From: "b"})
		if err == nil || errors.Is(err, store.ErrUnknown) || !strings.Contains(err.Error(), "store a") {
			t.Errorf("%v", err)
		}
	})
}

// TestContextDone: when the time is over nobody else is asked, and it is no no.
func TestContextDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	first := &shelf{answer: func(context.Context, store.Request) (*store.Bundle, error) {
		cancel()
		return nil, store.ErrUnknown
	}}
	second := &shelf{}
	c, _ := chained(t, nil, first, second)
	_, err := c.Fetch(ctx, store.Request{Name: name})
	if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("%v", err)
	}
	if len(second.requests()) != 0 {
		t.Error("the second store was asked")
	}
}
