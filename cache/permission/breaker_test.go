package permission

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/breaker"
	"hellogate/store"
)

// TestBreaker: an endpoint that keeps failing is not asked, which is a failure at once and never a no; what it answered is
// still known; and when it answers again, so does this.
func TestBreaker(t *testing.T) {
	var down atomic.Bool
	url, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case down.Load():
			<-r.Context().Done()
		case r.URL.Query().Get("domain") == "denied.example":
			w.WriteHeader(http.StatusForbidden)
		}
	})
	var lines bytes.Buffer
	p := open(t, Options{
		URL: url + "/ask?key=marker", Timeout: 20 * time.Millisecond,
		Breaker: breaker.Options{Failures: 3, Reset: 300 * time.Millisecond, Log: zerolog.New(&lines)},
	})
	_, _ = p.Ask(t.Context(), name), p.Ask(t.Context(), "denied.example")
	down.Store(true)
	for i := range 3 {
		if err := p.Ask(t.Context(), fmt.Sprintf("n%d.example", i)); means(err) != failed {
			t.Fatalf("%d: %v", i, err)
		}
	}
	before := asked.Load()
	err := p.Ask(t.Context(), "cut.example")
	failure, ok := errors.AsType[*store.Failure](err)
	if !ok || !failure.CutOff || failure.RetryAfter <= 0 || means(err) != failed || asked.Load() != before {
		t.Errorf("%v (%+v), asked %d times more: a failure at once wanted", err, failure, asked.Load()-before)
	}
	if want := "permission " + url + "/ask: breaker open after 3 failures, not asked"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if err := p.Ask(t.Context(), name); means(err) != yes {
		t.Errorf("remembered as a yes: %v", err)
	}
	if err := p.Ask(t.Context(), "denied.example"); means(err) != no {
		t.Errorf("remembered as a no: %v", err)
	}
	status := p.Status()
	if status.Name != url+"/ask" || status.State != breaker.Open || status.Requests != 6 || status.Unknown != 1 || status.Failed != 3 || status.CutOff != 1 {
		t.Errorf("%+v", status)
	}
	if stats := p.Stats(); stats.Yes != 1 || stats.No != 1 || stats.Failures != 3 {
		t.Errorf("%+v", stats)
	}
	down.Store(false)
	waitFor(t, func() bool { return p.Ask(t.Context(), "cut.example") == nil })
	if state := p.Status().State; state != breaker.Closed {
		t.Errorf("it answered, and its breaker is %s", state)
	}
	if text := lines.String(); !strings.Contains(text, `"permission":"`+url+`/ask"`) || strings.Contains(text, "marker") {
		t.Errorf("log: %s", text)
	}
}

// TestNoIsNoOutage: denials without end open no breaker.
func TestNoIsNoOutage(t *testing.T) {
	url, _ := serve(t, status(http.StatusForbidden))
	p := open(t, Options{URL: url, Breaker: breaker.Options{Failures: 2, Names: 1}})
	for i := range 10 {
		if err := p.Ask(t.Context(), fmt.Sprintf("n%d.example", i)); means(err) != no {
			t.Fatalf("%d: %v", i, err)
		}
	}
}

// TestURLsAsOfStores: what is wrong with a URL is said in the words that are used of a store's.
func TestURLsAsOfStores(t *testing.T) {
	for _, url := range []string{
		"", "https://user:secret@ask.example", "https://user:secret@ask.exam ple", "https://ask.example/#x", "https:ask.example",
		"https:///x", "ftp://ask.example/?key=secret", "unix://run/ask.sock",
	} {
		_, ours := New(Options{URL: url})
		_, theirs := store.NewHTTP(store.HTTPOptions{URL: url})
		if ours == nil || theirs == nil {
			t.Fatalf("%s: %v, %v", url, ours, theirs)
		}
		if a, b := strings.TrimPrefix(ours.Error(), "permission: "), strings.TrimPrefix(theirs.Error(), "store "); a != b {
			t.Errorf("%s: %q of permission, %q of a store", url, a, b)
		}
	}
}
