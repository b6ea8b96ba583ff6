package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// permits is an endpoint that says for which names certificates may be looked up. Left alone it says yes.
type permits struct {
	t       testing.TB
	address string

	mu      sync.Mutex
	server  *http.Server
	answers map[string]answer
	asked   []url.Values
}

func newPermits(t testing.TB) *permits {
	t.Helper()
	p := &permits{t: t, address: freeAddress(t), answers: map[string]answer{}}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *permits) start() {
	p.t.Helper()
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	server := &http.Server{Handler: p, ErrorLog: discardLog}
	p.mu.Lock()
	p.server = server
	p.mu.Unlock()
	go server.Serve(listener)
}

// stop closes the listener and every connection.
func (p *permits) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server.Close()
}

func (p *permits) on(name string, do answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[name] = do
}

func (p *permits) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	p.mu.Lock()
	p.asked = append(p.asked, query)
	do := p.answers[query.Get("domain")]
	p.mu.Unlock()
	if r.Method != http.MethodGet || r.URL.Path != "/ask" {
		w.WriteHeader(http.StatusTeapot)
	} else if do != nil {
		do(w, r)
	}
}

// questions are those for a name so far.
func (p *permits) questions(name string) (found []url.Values) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, query := range p.asked {
		if query.Get("domain") == name {
			found = append(found, query)
		}
	}
	return found
}

func (p *permits) wantQuestions(t testing.TB, name string, want int) {
	t.Helper()
	if got := len(p.questions(name)); got != want {
		t.Errorf("permission was asked %d times for %q, want %d", got, name, want)
	}
}

func (p *permits) setting() string {
	return fmt.Sprintf("permission: {url: %q, timeout: 500ms}", "http://"+p.address+"/ask?from=gate")
}

// Permission is asked with GET and domain= before any store is; any 2xx is a yes, a 4xx is a no that the store never hears of.
func TestPermissionBeforeTheStore(t *testing.T) {
	t.Parallel()
	p := newPermits(t)
	w := newWorld(t, p.setting())
	for code, permitted := range map[int]bool{200: true, 204: true, 299: true, 400: false, 403: false, 404: false} {
		name := fmt.Sprintf("s%d.example", code)
		p.on(name, status(code))
		asked := make(chan int, 1)
		w.store.on(name, func(rw http.ResponseWriter, r *http.Request) {
			asked <- len(p.questions(name))
			w.store.serveIssued(rw, r)
		})
		if !permitted {
			w.refused(name, alertUnrecognizedName)
			w.store.wantRequests(t, name, 0)
			continue
		}
		w.visit(name)
		if before := <-asked; before != 1 {
			t.Errorf("%s: permission was asked %d times before the store was", name, before)
		}
		w.visit(name)
		p.wantQuestions(t, name, 1) // a certificate that is cached needs none
	}
	if got := p.questions("s200.example")[0].Encode(); got != "domain=s200.example&from=gate" {
		t.Errorf("asked %s", got)
	}
}

// An answer is good for as long as its Cache-Control says.
func TestPermissionIsRemembered(t *testing.T) {
	t.Parallel()
	p := newPermits(t)
	w := newWorld(t, p.setting(), "cache: {negative_ttl: 1s}")
	w.store.onAll(status(404)) // so that the name is looked up again after a second
	for name, control := range map[string]string{"long.example": "max-age=3600", "never.example": "no-store"} {
		p.on(name, status(200, "Cache-Control", control))
		w.refused(name, alertUnrecognizedName)
		w.eventually(name+" is looked up again", func() bool {
			w.refused(name, alertUnrecognizedName)
			return len(w.store.requests(name)) >= 2
		})
	}
	p.wantQuestions(t, "long.example", 1)
	p.wantQuestions(t, "never.example", len(w.store.requests("never.example")))

	p.on("denied.example", status(403, "Cache-Control", "max-age=1"))
	w.refused("denied.example", alertUnrecognizedName)
	p.on("denied.example", nil)
	w.store.works("denied.example")
	w.eventually("the no is over", func() bool { return w.serves("denied.example") })
}

// While the endpoint is down, slow or in trouble, names that are cached or on disk are served, also after a restart; a new
// one is a failure, not a no, and is served when the endpoint is back.
func TestPermissionOutage(t *testing.T) {
	t.Parallel()
	p := newPermits(t)
	settings := []string{p.setting(), fmt.Sprintf("cache: {dir: %q}", shortFolder(t)+"/tier")}
	w := newWorld(t, settings...)
	w.visit("a.example")
	w.visit("b.example")
	p.on("slow.example", hang)
	w.refused("slow.example", alertInternalError)
	p.on("trouble.example", status(500))
	w.refused("trouble.example", alertInternalError)
	p.stop()
	w.visit("a.example")
	w.refused("new.example", alertInternalError)
	if got := w.ctl("explain", "new.example"); strings.Contains(got.stdout, "112 (") || !strings.Contains(got.stdout, "permission") {
		t.Errorf("explain:\n%s", got.stdout)
	}
	for _, name := range []string{"slow.example", "trouble.example", "new.example"} {
		w.store.wantRequests(t, name, 0)
	}
	w.stop()

	again := start(t, append(settings, usesStore(w.store), usesBackend(w.backend.address))...)
	again.visit("b.example")
	w.store.wantRequests(t, "b.example", 1)
	again.refused("new.example", alertInternalError)
	p.start()
	again.eventually("it is served when permission can be asked again", func() bool { return again.serves("new.example") })
}

// A flush forgets what was permitted and what was not, and says so.
func TestFlushForgetsPermission(t *testing.T) {
	t.Parallel()
	p := newPermits(t)
	w := newWorld(t, p.setting())
	p.on("denied.example", status(403, "Cache-Control", "max-age=3600"))
	p.on("fine.example", status(200, "Cache-Control", "max-age=3600"))
	w.refused("denied.example", alertUnrecognizedName)
	w.visit("fine.example")
	p.on("denied.example", nil)
	p.on("fine.example", status(403))
	for _, name := range []string{"denied.example", "fine.example"} {
		if got := w.flush(name).Flushed; len(got) != 1 || got[0] != name {
			t.Errorf("flush of %s: %q", name, got)
		}
	}
	w.visit("denied.example")
	w.refused("fine.example", alertUnrecognizedName)
	p.wantQuestions(t, "denied.example", 2)
	p.wantQuestions(t, "fine.example", 2)
}

// A name that is refused costs a token, and the endpoint is spared what the budget refuses.
func TestPermissionIsBehindTheBudget(t *testing.T) {
	t.Parallel()
	p := newPermits(t)
	w := newWorld(t, p.setting(), "lookups: {rate: 1, burst: 3, per_client: 0}")
	for i := range 100 {
		p.on(fmt.Sprintf("nobody%d.example", i), status(404))
	}
	began := time.Now()
	name, c, before := w.exhaust("127.0.0.1")
	if most := 4 + int(time.Since(began)/time.Second); before > most || c.wire.alert() != alertInternalError {
		t.Errorf("alert %d after %d names", c.wire.alert(), before)
	}
	p.wantQuestions(t, name, 0)
}
