package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The steps of ACME, by the paths that Pebble has for them.
const (
	stepDirectory   = "/dir"
	stepNonce       = "/nonce-plz"
	stepAccount     = "/sign-me-up"
	stepOrder       = "/order-plz"
	stepAuthorize   = "/authZ/"
	stepChallenge   = "/chalZ/"
	stepFinalize    = "/finalize-order/"
	stepCertificate = "/certZ/"
	stepRenewalInfo = "/draft-ietf-acme-ari-03/renewalInfo/"
	stepRevoke      = "/revoke-cert"
)

// acmeProxy stands in front of a CA, counts what it is asked, and misbehaves as told, step by step.
type acmeProxy struct {
	t        testing.TB
	address  string
	identity pair
	forward  *httputil.ReverseProxy

	mu     sync.Mutex
	server *http.Server
	does   map[string]http.HandlerFunc
	seen   []string
	orders []acmeOrder
}

// acmeOrder is one that the CA took.
type acmeOrder struct {
	Identifiers []struct{ Value string }
	Replaces    string
	Profile     string
	at          time.Time
}

func newACMEProxy(t testing.TB, upstream string, identity pair) *acmeProxy {
	t.Helper()
	a := &acmeProxy{t: t, address: freeAddress(t), identity: identity, does: map[string]http.HandlerFunc{}}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca().pool}}
	a.forward = &httputil.ReverseProxy{
		Transport: transport, ErrorLog: discardLog,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: upstream})
			r.Out.Host = r.In.Host // Pebble makes its URLs of this
		},
	}
	a.start()
	t.Cleanup(func() { a.stop(); transport.CloseIdleConnections() })
	return a
}

// directory is the URL that hellogate is told.
func (a *acmeProxy) directory() string { return "https://" + a.address + stepDirectory }

// start listens, again after a stop, at the same address.
func (a *acmeProxy) start() {
	a.t.Helper()
	listener, err := net.Listen("tcp", a.address)
	if err != nil {
		a.t.Fatal(err)
	}
	certificate := tls.Certificate{PrivateKey: a.identity.key}
	for _, link := range a.identity.chain {
		certificate.Certificate = append(certificate.Certificate, link.Raw)
	}
	server := &http.Server{Handler: a, ErrorLog: discardLog}
	a.mu.Lock()
	a.server = server
	a.mu.Unlock()
	go server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}}))
}

// stop closes the listener and every connection: the CA is down.
func (a *acmeProxy) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server.Close()
}

// on sets what is done with requests of a step.
func (a *acmeProxy) on(step string, do http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.does[step] = do
}

// works takes back what was set for a step.
func (a *acmeProxy) works(step string) { a.on(step, nil) }

func (a *acmeProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	a.mu.Lock()
	a.seen = append(a.seen, r.URL.Path)
	do := a.pass
	for step, set := range a.does {
		if set != nil && strings.HasPrefix(r.URL.Path, step) {
			do = set
		}
	}
	a.mu.Unlock()
	do(w, r)
}

// pass asks the CA, and remembers the orders that it takes.
func (a *acmeProxy) pass(w http.ResponseWriter, r *http.Request) {
	body := must(io.ReadAll(r.Body))
	r.Body = io.NopCloser(bytes.NewReader(body))
	coded := &codedWriter{ResponseWriter: w}
	a.forward.ServeHTTP(coded, r)
	if r.URL.Path == stepOrder && coded.code == http.StatusCreated {
		var signed struct{ Payload string }
		order := acmeOrder{at: time.Now()}
		json.Unmarshal(body, &signed)
		json.Unmarshal(must(base64.RawURLEncoding.DecodeString(signed.Payload)), &order)
		a.mu.Lock()
		a.orders = append(a.orders, order)
		a.mu.Unlock()
	}
}

// codedWriter keeps the status of an answer.
type codedWriter struct {
	http.ResponseWriter
	code int
}

func (w *codedWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// asked is how many requests of a step came, refused ones too; of "/" all.
func (a *acmeProxy) asked(step string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, path := range a.seen {
		if strings.HasPrefix(path, step) {
			n++
		}
	}
	return n
}

// ordered gives the orders for a name that the CA took.
func (a *acmeProxy) ordered(name string) (found []acmeOrder) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, order := range a.orders {
		if slices.ContainsFunc(order.Identifiers, func(i struct{ Value string }) bool { return i.Value == name }) {
			found = append(found, order)
		}
	}
	return found
}

func (a *acmeProxy) wantOrders(t testing.TB, name string, want int) {
	t.Helper()
	if got := len(a.ordered(name)); got != want {
		t.Errorf("%d orders for %s, want %d", got, name, want)
	}
}

// problem answers as a CA does that refuses: with a document of RFC 7807, and Retry-After where retry is not "".
func problem(status int, kind, detail, retry string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type": "urn:ietf:params:acme:error:%s", "detail": %q, "status": %d}`, kind, detail, status)
	}
}

// gated holds requests of a step back until open is closed.
func (a *acmeProxy) gated(step string) (open func()) {
	gate := make(chan struct{})
	a.on(step, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-gate:
			a.pass(w, r)
		case <-r.Context().Done():
		case <-time.After(4 * patience):
		}
	})
	return sync.OnceFunc(func() { a.works(step); close(gate) })
}
