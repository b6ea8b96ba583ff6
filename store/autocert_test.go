package store_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

func TestPeterSSLersAutocert(t *testing.T) {
	ca := certtest.NewCA(t)
	issued := ca.Issue(t, name)
	for _, generation := range generations {
		good := domainConfig(generation, nil, &issued)
		none := with(domainConfig(generation, nil, nil), map[string]any{"Domain": nil, "result": "error"})
		refusal := func(field, message string) any {
			return with(none, map[string]any{"form_errors": map[string]string{field: message, "Error_Main": "There was an error."}})
		}
		for _, test := range []struct {
			name   string
			answer any
			no     bool
			err    string // empty: a bundle
		}{
			{"existing", with(good, map[string]any{"result": "success", "notes": "existing certificate(s)"}), false, ""},
			{"new", with(good, map[string]any{"result": "success", "notes": "new AcmeOrder, valid", "AcmeOrder": map[string]int{"id": 7}}), false, ""},
			{"invalid order", with(none, map[string]any{"notes": "new AcmeOrder, invalid"}), false, `autocert: the result is no success: "new AcmeOrder, invalid"`},
			{"order that broke", map[string]any{"result": "error", "error": "rateLimited " + token}, false, `no success: "rateLimited TOKEN"`},
			{"notes that are no text", with(none, map[string]any{"notes": []string{"x"}}), false, "autocert: the result is no success"},
			{"blocked name", refusal("domain_name", "This domain_name has been blocklisted"), true, "the server takes no such name"},
			{
				"name that is being tried", refusal("domain_name", "There is an active or recent autocert attempt for this domain"),
				false, "the result is no success",
			},
			{"name that is null", with(none, map[string]any{"form_errors": map[string]any{"domain_name": nil}}), false, "no success"},
			{"no account", refusal("AcmeAccount", "You must configure a global AcmeAccount."), false, "the result is no success"},
			{"form errors that are no object", with(none, map[string]any{"form_errors": "domain_name"}), false, "the result is no success"},
			{"success without a certificate", with(domainConfig(generation, nil, nil), map[string]any{"result": "success"}), false, "a success without a certificate"},
			{"no result", good, false, "json: result is missing"},
			{"the instructions", `{"instructions":["POST domain_name"]}`, false, "json: result is missing"},
			{"a web page", "<html>", false, "json: malformed"},
		} {
			t.Run(generation+"/"+test.name, func(t *testing.T) {
				server := &peterSSLers{autocert: func(string) any { return test.answer }}
				options := store.HTTPOptions{URL: server.start(t), Form: store.FormPeterSSLers, Autocert: true, Token: token}
				bundle, err := newHTTP(t, options).Fetch(t.Context(), store.Request{Name: name})
				if want := "GET " + name + ", POST " + name; server.log() != want || len(server.primed) != 2 {
					t.Errorf("asked %s, want %s; primed %v", server.log(), want, server.primed)
				}
				if test.err == "" {
					if err != nil || leafOf(bundle, issued) != 0 || bundle.Freshness != (store.Freshness{Revalidate: true}) || !bundle.Validator.IsZero() {
						t.Errorf("%+v, %v", bundle, err)
					}
					return
				}
				if errors.Is(err, store.ErrUnknown) != test.no || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want it to say %q, a no: %t", err, test.err, test.no)
				}
				if !test.no && !failureOf(t, err).Exempt {
					t.Errorf("%v counts for the breaker", err)
				}
			})
		}
	}
}

// TestPeterSSLersAutocertStatuses: a server that takes no orders has said nothing about the name.
func TestPeterSSLersAutocertStatuses(t *testing.T) {
	for _, test := range []struct {
		status     int
		want       string
		retryAfter time.Duration
		is         error
	}{
		{status: 204, want: "autocert: 204 No Content: the server takes no orders"},
		{status: 404, want: "autocert: 404 Not Found: the server takes no orders"},
		{status: 410, want: "autocert: 410 Gone: the server takes no orders"},
		{status: 304, want: "autocert: 304 Not Modified to an unconditional request"},
		{status: 303, want: "autocert: 303 See Other to \"127.0.0.1:1\": redirects are not followed"},
		{status: 401, want: "autocert: 401 Unauthorized", is: store.ErrToken},
		{status: 405, want: "autocert: 405 Method Not Allowed"},
		{status: 429, want: "autocert: 429 Too Many Requests", retryAfter: 9 * time.Second},
		{status: 500, want: "autocert: 500 Internal Server Error"},
		{status: 503, want: "autocert: 503 Service Unavailable", retryAfter: 9 * time.Second},
	} {
		t.Run(http.StatusText(test.status), func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.Header().Set("Retry-After", "9")
				w.WriteHeader(test.status)
			})
			asks := newHTTP(t, store.HTTPOptions{URL: url, Form: store.FormPeterSSLers, Autocert: true})
			_, err := asks.Fetch(t.Context(), store.Request{Name: name})
			failure := failureOf(t, err)
			if !strings.Contains(err.Error(), test.want) || !failure.Exempt || failure.RetryAfter != test.retryAfter {
				t.Errorf("%v, %+v: want %s", err, failure, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v is not %v", err, test.is)
			}
		})
	}
}

// TestPeterSSLersAutocertTime: an order has a time of its own, which ends it.
func TestPeterSSLersAutocertTime(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	answer := with(domainConfig("x509_certificate", &issued, nil), map[string]any{"result": "success"})
	wait, ordering := make(chan struct{}), make(chan string, 1)
	server := &peterSSLers{autocert: func(string) any { return answer }, wait: wait, ordering: ordering}
	options := store.HTTPOptions{URL: server.start(t), Form: store.FormPeterSSLers, Autocert: true, Timeout: 200 * time.Millisecond}
	time.AfterFunc(600*time.Millisecond, func() { close(wait) })
	if bundle, err := newHTTP(t, options).Fetch(t.Context(), store.Request{Name: name}); err != nil || leafOf(bundle, issued) != 0 {
		t.Errorf("an order that took longer than a query may: %+v, %v", bundle, err)
	}
	<-ordering
	server.wait = make(chan struct{})
	options.AutocertTimeout = 300 * time.Millisecond
	_, err := newHTTP(t, options).Fetch(t.Context(), store.Request{Name: name})
	if want := "autocert: no answer within 300ms"; !failureOf(t, err).Exempt || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// TestPeterSSLersAutocertBound: orders leave connections for the names that need none.
func TestPeterSSLersAutocertBound(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, "known.example")
	wait, ordering := make(chan struct{}), make(chan string)
	server := &peterSSLers{
		domains:  map[string]any{"known.example": domainConfig("x509_certificate", &issued, nil)},
		autocert: func(string) any { return `{"result":"error"}` },
		wait:     wait, ordering: ordering,
	}
	asks := newHTTP(t, store.HTTPOptions{URL: server.start(t), Form: store.FormPeterSSLers, Autocert: true, Fetches: 8})
	var orders sync.WaitGroup
	for _, unknown := range []string{"one.example", "two.example"} {
		orders.Go(func() { _, _ = asks.Fetch(t.Context(), store.Request{Name: unknown}) })
		<-ordering
	}
	_, err := asks.Fetch(t.Context(), store.Request{Name: "three.example"})
	if want := "autocert: 2 orders are under way"; !failureOf(t, err).Exempt || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	if _, err := asks.Fetch(t.Context(), store.Request{Name: "known.example"}); err != nil {
		t.Error(err)
	}
	close(wait)
	orders.Wait()
	go func() { <-ordering }()
	if _, err = asks.Fetch(t.Context(), store.Request{Name: "three.example"}); !strings.Contains(err.Error(), "no success") {
		t.Errorf("%v: the others have ended", err)
	}
}
