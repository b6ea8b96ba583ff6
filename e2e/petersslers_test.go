package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// peterSSLers is a peter_sslers server, with its admin prefix at /.well-known/admin. It knows the domains it was given, and
// orders certificates as told.
type peterSSLers struct {
	prefix   string
	password string // of "admin"; empty: it asks for none

	mu      sync.Mutex
	domains map[string]any
	order   func(name string) any // what it answers to an order
	asked   []string              // "GET a.example", "POST a.example"
}

func newPeterSSLers(t testing.TB, password string) *peterSSLers {
	t.Helper()
	p := &peterSSLers{password: password, domains: map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/admin/domain/{name}/config.json", p.config)
	mux.HandleFunc("POST /.well-known/admin/api/domain/autocert.json", p.autocert)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.prefix = server.URL + "/.well-known/admin"
	return p
}

// knows gives it a domain.
func (p *peterSSLers) knows(name string, config any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.domains[name] = config
}

// requests are those so far.
func (p *peterSSLers) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// admits notes a request and refuses one that is not as lua-resty-peter_sslers makes it.
func (p *peterSSLers) admits(w http.ResponseWriter, r *http.Request, name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r.Method+" "+name)
	username, password, _ := r.BasicAuth()
	switch {
	case p.password != "" && (username != "admin" || password != p.password):
		w.WriteHeader(http.StatusUnauthorized)
		return false
	case r.URL.RawQuery != "openresty=1":
		w.WriteHeader(http.StatusBadRequest)
		return false
	}
	return true
}

func (p *peterSSLers) config(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !p.admits(w, r, name) {
		return
	}
	p.mu.Lock()
	config, known := p.domains[name]
	p.mu.Unlock()
	if !known {
		w.WriteHeader(http.StatusNotFound)
		config = map[string]string{"message": "the domain was not found"}
	}
	respond(w, config)
}

func (p *peterSSLers) autocert(w http.ResponseWriter, r *http.Request) {
	body := must(io.ReadAll(r.Body)) // not r.PostFormValue: their server takes the body whatever type it is said to have
	name := must(url.ParseQuery(string(body))).Get("domain_name")
	if !p.admits(w, r, name) {
		return
	}
	p.mu.Lock()
	order := p.order
	p.mu.Unlock()
	respond(w, order(name))
}

func respond(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(must(json.Marshal(value)))
}

// domainConfig is what a server of a generation says of a domain with these certificates; nil is none.
func domainConfig(generation, name string, multi, single *pair) map[string]any {
	return map[string]any{
		"Domain":                       map[string]string{"id": "1", "domain_name": name},
		generation + "__latest_multi":  domainCertificate(multi),
		generation + "__latest_single": domainCertificate(single),
	}
}

func domainCertificate(p *pair) any {
	if p == nil {
		return nil
	}
	leaf, chain := string(certificatePEM(p.chain[0])), string(certificatePEM(p.chain[1]))
	return map[string]any{
		"id":          "9",
		"private_key": map[string]string{"id": "3", "pem": p.keyPEM()},
		"certificate": map[string]string{"id": "9", "pem": leaf},
		"chain":       map[string]string{"id": "2", "pem": chain},
		"fullchain":   map[string]string{"id": "9,2", "pem": leaf + chain},
	}
}

// usesPeterSSLers has hellogate ask the server; settings are further ones of the store.
func usesPeterSSLers(p *peterSSLers, settings string) string {
	return fmt.Sprintf("stores: [{http: {url: %q, form: peter_sslers%s}}]", p.prefix, settings)
}

// Certificates come from a peter_sslers server of every generation: the latest for several names, else the latest for the
// one. A domain that it does not know, or has no certificate for, is unknown.
func TestPeterSSLersQuery(t *testing.T) {
	t.Parallel()
	for _, generation := range []string{"x509_certificate", "certificate_signed", "server_certificate"} {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			p := newPeterSSLers(t, "")
			multi, single := ca().issue([]string{"both.example", "one.example"}), ca().issue([]string{"both.example", "one.example"})
			p.knows("both.example", domainConfig(generation, "both.example", &multi, &single))
			p.knows("one.example", domainConfig(generation, "one.example", nil, &single))
			p.knows("none.example", domainConfig(generation, "none.example", nil, nil))
			g := start(t, usesPeterSSLers(p, ""), usesBackend(newBackend(t, echo).address))
			g.gives("both.example", multi)
			g.gives("one.example", single)
			g.refused("none.example", alertUnrecognizedName)
			g.refused("nobody.example", alertUnrecognizedName)
			if got := g.status().Cache.Negative; got != 2 {
				t.Errorf("%d names are remembered as unknown, want 2", got)
			}
			g.visit("both.example")
			want := []string{"GET both.example", "GET one.example", "GET none.example", "GET nobody.example"}
			if got := p.requests(); !slices.Equal(got, want) {
				t.Errorf("it was asked %q, want %q", got, want)
			}
		})
	}
}

// The user name and the password of the configuration are shown; with a wrong one nothing is taken for unknown.
func TestPeterSSLersPassword(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		password string
		right    bool
	}{"right": {"e2e-password", true}, "wrong": {"other-password", false}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newPeterSSLers(t, "e2e-password")
			single := ca().issue([]string{"a.example"})
			p.knows("a.example", domainConfig("x509_certificate", "a.example", nil, &single))
			file := filepath.Join(t.TempDir(), "password")
			writeFile(t, file, test.password+"\n")
			login := fmt.Sprintf(", username: admin, password_file: %q", file)
			g := start(t, usesPeterSSLers(p, login), usesBackend(newBackend(t, echo).address))
			if test.right {
				g.gives("a.example", single)
			} else {
				g.refused("a.example", alertInternalError)
				g.await("error that says so", func(e entry) bool { return strings.Contains(e.text("reason"), "401") })
			}
			if strings.Contains(g.log.String(), test.password) {
				t.Error("the log has the password")
			}
		})
	}
}

// With autocert the server is told to order a certificate for a name it has none for, once for all who wait, and the client
// waits. Later there is a certificate, and no order.
func TestPeterSSLersAutocert(t *testing.T) {
	t.Parallel()
	p := newPeterSSLers(t, "")
	ordered := ca().issue([]string{"new.example"})
	p.order = func(name string) any {
		time.Sleep(300 * time.Millisecond)
		answer := domainConfig("x509_certificate", name, nil, &ordered)
		p.knows(name, domainConfig("x509_certificate", name, nil, &ordered))
		answer["result"], answer["notes"], answer["AcmeOrder"] = "success", "new AcmeOrder, valid", map[string]string{"id": "5"}
		return answer
	}
	g := start(t, usesPeterSSLers(p, ", autocert: true"), usesBackend(newBackend(t, echo).address))
	var clients sync.WaitGroup
	got := make([]string, 8)
	for i := range got {
		clients.Go(func() { got[i] = g.certificateFor("new.example") })
	}
	clients.Wait()
	for i, fingerprint := range got {
		if fingerprint != ordered.fingerprint() {
			t.Errorf("client %d was served %q", i, fingerprint)
		}
	}
	g.flush("new.example")
	g.gives("new.example", ordered)
	want := []string{"GET new.example", "POST new.example", "GET new.example"}
	if got := p.requests(); !slices.Equal(got, want) {
		t.Errorf("it was asked %q, want %q", got, want)
	}
}

// An order that takes longer than a client waits goes on without it: whoever comes later is served, and there is no second
// order.
func TestPeterSSLersAutocertSlow(t *testing.T) {
	t.Parallel()
	p := newPeterSSLers(t, "")
	ordered := ca().issue([]string{"new.example"})
	p.order = func(name string) any {
		time.Sleep(3 * time.Second)
		answer := domainConfig("x509_certificate", name, nil, &ordered)
		answer["result"], answer["notes"] = "success", "new AcmeOrder, valid"
		return answer
	}
	g := start(t, usesPeterSSLers(p, ", autocert: true, timeout: 1s"), usesBackend(newBackend(t, echo).address), "cache: {lookup_timeout: 1s}")
	g.refused("new.example", alertInternalError)
	g.eventually("it is served", func() bool { return g.certificateFor("new.example") == ordered.fingerprint() })
	if got, want := p.requests(), []string{"GET new.example", "POST new.example"}; !slices.Equal(got, want) {
		t.Errorf("it was asked %q, want %q", got, want)
	}
}

// An order that comes to nothing is a failure of that name alone; a name that the server takes no orders for is unknown.
func TestPeterSSLersAutocertRefused(t *testing.T) {
	t.Parallel()
	p := newPeterSSLers(t, "")
	p.order = func(name string) any {
		answer := domainConfig("x509_certificate", name, nil, nil)
		answer["result"], answer["notes"] = "error", "new AcmeOrder, invalid"
		if name == "blocked.example" {
			answer = map[string]any{"result": "error", "form_errors": map[string]string{"domain_name": "This domain_name is not allowed"}}
		}
		return answer
	}
	known := ca().issue([]string{"a.example"})
	p.knows("a.example", domainConfig("x509_certificate", "a.example", &known, nil))
	g := start(t, usesPeterSSLers(p, ", autocert: true"), usesBackend(newBackend(t, echo).address), "breaker: {failures: 3}")
	for i := range 4 {
		g.refused(fmt.Sprintf("invalid%d.example", i), alertInternalError)
	}
	if got := g.breaker(); got != "closed" {
		t.Errorf("the breaker is %s", got)
	}
	g.refused("blocked.example", alertUnrecognizedName)
	g.gives("a.example", known)
}
