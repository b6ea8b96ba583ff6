package permission

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hellogate/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "a.example"

// serve runs an endpoint that answers as handle does, and returns its URL and how often it was asked.
func serve(t *testing.T, handle http.HandlerFunc) (url string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handle(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, asked
}

func open(t *testing.T, options Options) *Permission {
	t.Helper()
	p, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, "a body that nobody reads")
	}
}

type meaning string

const (
	yes    meaning = "yes"
	no     meaning = "no"
	failed meaning = "failure"
)

func means(err error) meaning {
	switch {
	case err == nil:
		return yes
	case errors.Is(err, store.ErrUnknown):
		return no
	}
	return failed
}

// TestRemembered: an answer is asked for again when its time is over, and may be another one then.
func TestRemembered(t *testing.T) {
	var code atomic.Int32
	url, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.WriteHeader(int(code.Load()))
	})
	p := open(t, Options{URL: url})
	for i, step := range []struct {
		code int32
		want meaning
	}{{200, yes}, {404, no}, {200, yes}} {
		code.Store(step.code)
		for range 3 {
			if err := p.Ask(t.Context(), name); means(err) != step.want {
				t.Fatalf("step %d: %v, want %s", i, err, step.want)
			}
		}
		if asked.Load() != int32(i+1) {
			t.Fatalf("step %d: asked %d times", i, asked.Load())
		}
		permitted, known := p.Recall(name)
		if !known || permitted != (step.want == yes) {
			t.Errorf("step %d: recalled %t, %t", i, permitted, known)
		}
		p.pass(10 * time.Minute)
	}
	if _, known := p.Recall(name); known {
		t.Error("recalled past its time")
	}
	want := Stats{Yes: 2, No: 1, Remembered: 6, Held: 1}
	if got := p.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestForget: what was asked for before is not remembered after, and nobody who asks then waits for it.
func TestForget(t *testing.T) {
	for _, test := range []struct {
		name   string
		forget func(*Permission) []string
	}{
		{"by name", func(p *Permission) []string {
			return p.Forget("known.example", name, "denied.example", "never.example")
		}},
		{"by predicate", func(p *Permission) []string {
			return p.ForgetFunc(func(name string) bool { return strings.HasSuffix(name, ".example") })
		}},
		{"all", (*Permission).ForgetAll},
	} {
		t.Run(test.name, func(t *testing.T) {
			release := make(chan struct{})
			var slow atomic.Int32
			url, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Query().Get("domain") {
				case "denied.example":
					w.WriteHeader(http.StatusForbidden)
				case name:
					if slow.Add(1) == 1 {
						select {
						case <-release:
						case <-r.Context().Done():
						}
						return // yes, as it was before the flush
					}
					w.WriteHeader(http.StatusForbidden)
				}
			})
			p := open(t, Options{URL: url, Timeout: 10 * time.Second})
			_, _ = p.Ask(t.Context(), "known.example"), p.Ask(t.Context(), "denied.example")
			before := make(chan error)
			go func() { before <- p.Ask(t.Context(), name) }()
			waitFor(t, func() bool { return asked.Load() == 3 })
			if got := strings.Join(test.forget(p), " "); got != "denied.example known.example" {
				t.Errorf("forgot %q", got)
			}
			if err := p.Ask(t.Context(), name); means(err) != no {
				t.Errorf("asked after the flush: %v", err)
			}
			close(release)
			if err := <-before; err != nil {
				t.Errorf("asked before the flush: %v", err)
			}
			if err := p.Ask(t.Context(), name); means(err) != no || asked.Load() != 4 {
				t.Errorf("the answer from before was remembered: %v (%d requests)", err, asked.Load())
			}
			if _, known := p.Recall("known.example"); known {
				t.Error("known.example is still known")
			}
		})
	}
}

func TestRefusesWhatIsNoName(t *testing.T) {
	url, asked := serve(t, status(http.StatusOK))
	p := open(t, Options{URL: url})
	for _, bad := range []string{"", "A.example", "a.example.", "a b", "a&b=c", "10.0.0.1"} {
		if err := p.Ask(t.Context(), bad); means(err) != failed {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// TestClose ends what is under way; nothing is asked afterwards.
func TestClose(t *testing.T) {
	url, asked := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := open(t, Options{URL: url, Timeout: time.Minute})
	result := make(chan error)
	go func() { result <- p.Ask(t.Context(), name) }()
	waitFor(t, func() bool { return asked.Load() == 1 })
	p.Close()
	if err := <-result; means(err) != failed {
		t.Errorf("under way: %v", err)
	}
	if err := p.Ask(t.Context(), "b.example"); means(err) != failed || !strings.Contains(err.Error(), "closed") {
		t.Errorf("afterwards: %v", err)
	}
}

// pass lets time pass for what is remembered.
func (p *Permission) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start = p.start.Add(-d)
}

// waitFor waits until done reports true.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(15 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it did not happen")
		}
	}
}
