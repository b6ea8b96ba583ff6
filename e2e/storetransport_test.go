package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// serveStore serves the store at another listener too.
func (s *fakeStore) serve(t testing.TB, listener net.Listener) {
	t.Helper()
	server := &http.Server{Handler: s, ErrorLog: discardLog}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
}

// serveTLS serves the store over TLS and gives its URL; clients is who may connect.
func (s *fakeStore) serveTLS(t testing.TB, clients tls.ClientAuthType) string {
	t.Helper()
	p := ca().issue([]string{"store.example", "localhost"})
	listener, err := tls.Listen("tcp", freeAddress(t), &tls.Config{
		Certificates: []tls.Certificate{must(tls.X509KeyPair([]byte(p.certPEM()), []byte(p.keyPEM())))},
		ClientAuth:   clients, ClientCAs: ca().pool,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, listener)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return "https://localhost:" + port + "/certs"
}

// A store over TLS is believed only with a certificate that the roots, or ca_file, vouch for; the token goes to no other.
func TestStoreOverTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url := w.store.serveTLS(t, tls.NoClientCert)
	trusted := start(t, usesBackend(w.backend.address), fmt.Sprintf("stores: [{http: {url: %q, ca_file: %q}}]", url, ca().rootFile(t)))
	trusted.visit("a.example")
	untrusted := start(t, usesBackend(w.backend.address), fmt.Sprintf("stores: [{http: {url: %q}}]", url))
	untrusted.refused("b.example", alertInternalError)
	w.store.wantRequests(t, "b.example", 0)
}

// A store may ask for a client certificate.
func TestStoreWithClientCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url, root := w.store.serveTLS(t, tls.RequireAndVerifyClientCert), ca().rootFile(t)
	certFile, keyFile := ca().issue([]string{"gate.example"}).write(t, t.TempDir(), "gate")
	g := start(t, usesBackend(w.backend.address),
		fmt.Sprintf("stores: [{http: {url: %q, ca_file: %q, cert_file: %q, key_file: %q}}]", url, root, certFile, keyFile))
	g.visit("a.example")
	bare := start(t, usesBackend(w.backend.address), fmt.Sprintf("stores: [{http: {url: %q, ca_file: %q}}]", url, root))
	bare.refused("b.example", alertInternalError)
}

// A store may listen on a Unix socket.
func TestStoreOnUnixSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(shortFolder(t), "store.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	w.store.serve(t, listener)
	g := start(t, usesBackend(w.backend.address), fmt.Sprintf("stores: [{http: {url: %q}}]", "unix://"+path))
	g.visit("a.example")
	w.store.wantRequests(t, "a.example", 1)
}

// The form caddy asks with the name, and what the client can do, in the query.
func TestCaddyForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := start(t, usesBackend(w.backend.address), fmt.Sprintf("stores: [{http: {url: %q, form: caddy}}]", w.store.url()+"?tenant=7"))
	g.visit("a.example")
	got := w.store.requests("a.example")
	if len(got) != 1 {
		t.Fatalf("the store was asked %v", w.store.allRequests())
	}
	for _, want := range []string{"server_name=a.example", "tenant=7", "local_ip=127.0.0.1", "signature_schemes=", "403", "cipher_suites=", "1301"} {
		if !strings.Contains(got[0].URL, want) {
			t.Errorf("no %s in %s", want, got[0].URL)
		}
	}
}

// The proxies that the environment names are not used: the token would go there.
func TestNoProxyFromEnvironment(t *testing.T) {
	w, thief := newWorld(t), newStore(t)
	for _, variable := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(variable, "http://"+thief.address)
	}
	t.Setenv("NO_PROXY", "")
	g := start(t, usesBackend(w.backend.address), fmt.Sprintf("stores: [{http: {url: %q, plaintext: true, timeout: 300ms}}]", "http://store.invalid/certs"))
	g.refused("a.example", alertInternalError)
	if got := thief.allRequests(); len(got) != 0 {
		t.Errorf("asked the proxy: %v", got)
	}
}
