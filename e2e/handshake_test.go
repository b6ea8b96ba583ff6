package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The main job: the first handshake for a new name asks the store once, twenty more do not, a flush makes the next one ask again.
func TestNewNameIsFetchedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.dial("a.example")
	if want := w.store.pairFor("a.example").fingerprint(); first.fingerprint() != want {
		t.Errorf("got certificate %s, want %s", first.fingerprint(), want)
	}
	first.wantEcho(t, "hello")
	for range 20 {
		w.visit("a.example")
	}
	w.store.wantRequests(t, "a.example", 1)
	if got := w.store.requests("a.example")[0].Header.Get("Authorization"); got != "Bearer "+storeToken {
		t.Errorf("the store was shown %q", got)
	}
	rotated := w.store.rotate("a.example").fingerprint()
	w.flush("a.example")
	if got := w.dial("a.example").fingerprint(); got != rotated {
		t.Errorf("got certificate %s after the flush, want the new one %s", got, rotated)
	}
	w.store.wantRequests(t, "a.example", 2)
}

// openssl s_client is served a certificate it verifies, on TLS 1.2 and 1.3, and its bytes get through.
func TestOpenSSLClient(t *testing.T) {
	t.Parallel()
	openssl := program(t, "openssl")
	w := newWorld(t)
	w.backend.does(answerLine)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		got := execute(t, "ping\n", openssl, "s_client", "-connect", w.address, "-servername", "a.example", "-quiet", version,
			"-CAfile", ca().rootFile(t), "-verify_return_error", "-verify_hostname", "a.example")
		if got.code != 0 || got.stdout != "you said ping\n" {
			t.Errorf("%s: exit %d, %q\n%s", version, got.code, got.stdout, got.stderr)
		}
	}
}

// answerLine reads one line, answers with one and closes.
func answerLine(p *peer) {
	defer p.Close()
	line := make([]byte, 0, 100)
	for b := make([]byte, 1); len(line) < cap(line); line = append(line, b...) {
		if _, err := p.Read(b); err != nil || b[0] == '\n' {
			break
		}
	}
	fmt.Fprintf(p, "you said %s\n", line)
}

// curl gets a page through hellogate from an HTTP backend.
func TestCurlClient(t *testing.T) {
	t.Parallel()
	curl := program(t, "curl")
	w := newWorld(t)
	w.backend.does(answerHTTP)
	_, port, _ := net.SplitHostPort(w.address)
	got := execute(t, "", curl, "-sS", "--cacert", ca().rootFile(t), "--resolve", "www.a.example:"+port+":127.0.0.1",
		"https://www.a.example:"+port+"/")
	if got.code != 0 || got.stdout != "served for www.a.example" {
		t.Errorf("exit %d, %q\n%s", got.code, got.stdout, got.stderr)
	}
}

// answerHTTP answers one request, whatever it is, with the name in the PROXY header.
func answerHTTP(p *peer) {
	defer p.Close()
	request := make([]byte, 0, 4096)
	for !strings.HasSuffix(string(request), "\r\n\r\n") && len(request) < cap(request) {
		n, err := p.Read(request[len(request):cap(request)])
		if err != nil {
			return
		}
		request = request[:len(request)+n]
	}
	text := "served for " + p.header.Authority
	fmt.Fprintf(p, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}

// A name the store does not know gets alert 112 where no fallback is configured. The no is remembered.
func TestUnknownName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.on("gone.example", status(404))
	for range 5 {
		w.refused("gone.example", alertUnrecognizedName)
	}
	w.store.wantRequests(t, "gone.example", 1)
	w.backend.wantNone(t)
	if e := w.access("name", "gone.example"); e.text("reason") != "no_cert" {
		t.Errorf("reason %q, want no_cert", e.text("reason"))
	}
}

// A name that was served and is gone from the store is refused after a flush.
func TestNameGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("a.example")
	w.store.on("a.example", status(404))
	w.visit("a.example")
	if got := w.flush("a.example"); len(got.Flushed) != 1 || got.Flushed[0] != "a.example" {
		t.Errorf("flushed %q", got.Flushed)
	}
	w.refused("a.example", alertUnrecognizedName)
}

// With a fallback, unknown names and failures of the store get its certificate and reach the backend.
func TestFallback(t *testing.T) {
	t.Parallel()
	fallback, overrides := withFallback(t)
	w := newWorld(t, overrides)
	w.store.on("gone.example", status(404))
	w.store.on("broken.example", status(500))
	for _, name := range []string{"gone.example", "broken.example"} {
		c := w.dial(name, anyCertificate)
		if c.fingerprint() != fallback.fingerprint() {
			t.Errorf("%s: certificate %v is not the fallback", name, c.ConnectionState().PeerCertificates[0].Subject)
		}
		c.wantEcho(t, "hello")
		c.Close()
		if e := w.accessOf(c); e.text("cert") != "fallback" {
			t.Errorf("%s: cert %q in the log, want fallback", name, e.text("cert"))
		}
	}
}

// withFallback makes a fallback certificate and the configuration that uses it.
func withFallback(t testing.TB) (pair, string) {
	t.Helper()
	fallback := ca().issue([]string{"fallback.invalid"})
	certFile, keyFile := fallback.write(t, t.TempDir(), "fallback")
	return fallback, fmt.Sprintf("fallback: {cert_file: %q, key_file: %q}", certFile, keyFile)
}

// A thousand clients that ask for one cold name at once make one request to the store.
func TestThousandForOneColdName(t *testing.T) {
	t.Parallel()
	store, backend := newStore(t), newBackend(t, echo)
	store.on("cold.example", after(500*time.Millisecond, store.serveIssued))
	g := start(t, waitsForStore(store, patience), usesBackend(backend.address), "cache: {lookup_timeout: 15s}", "limits: {handshake_timeout: 30s}")
	var clients sync.WaitGroup
	var served atomic.Int64
	for range 1000 {
		clients.Go(func() {
			if g.serves("cold.example", classical) {
				served.Add(1)
			}
		})
	}
	clients.Wait()
	if served.Load() != 1000 {
		t.Errorf("%d of 1000 clients were served", served.Load())
	}
	store.wantRequests(t, "cold.example", 1)
}

// Upper and mixed case are the same name: one certificate, one request, in lower case.
func TestCaseOfNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"A.Example", "a.EXAMPLE", "a.example"} {
		c := w.dial(name)
		if got := w.backend.next(t).header.Authority; got != "a.example" {
			t.Errorf("the backend was told %q for %q", got, name)
		}
		c.Close()
	}
	if got := w.store.allRequests(); len(got) != 1 || got[0].Name != "a.example" {
		t.Errorf("the store was asked %v", got)
	}
}

// A client without SNI is refused with missing_extension.
func TestNoSNI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused("", alertMissingExtension)
	w.access("reason", "no_sni")
	if got := w.store.allRequests(); len(got) != 0 {
		t.Errorf("the store was asked %v", got)
	}
}

// With default_name a client without SNI is served that name.
func TestDefaultName(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	w := newWorld(t, fmt.Sprintf("listeners: [{address: %q, default_name: default.example}]", address))
	w.address = address
	c := w.dial("")
	if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "default.example" {
		t.Errorf("got the certificate of %q", got)
	}
	c.wantEcho(t, "hello")
}

// Nothing is negotiated where no ALPN is configured, whatever the client offers.
func TestALPNIsEmptyByDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.dial("a.example", protocols("h2", "http/1.1"))
	if got := c.ConnectionState().NegotiatedProtocol; got != "" {
		t.Errorf("negotiated %q", got)
	}
	c.wantEcho(t, "hello")
}

// With a list, the common protocol is negotiated and told to the backend; a client that offers only others gets alert 120.
func TestALPN(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "tls: {alpn: [imap, h2]}")
	c := w.dial("a.example", protocols("smtp", "imap"))
	if got := c.ConnectionState().NegotiatedProtocol; got != "imap" {
		t.Errorf("negotiated %q, want imap", got)
	}
	if got := w.backend.next(t).header.ALPN; got != "imap" {
		t.Errorf("the backend was told %q, want imap", got)
	}
	w.refused("a.example", alertNoApplication, protocols("smtp"))
	w.visit("a.example") // a client that offers nothing is served
}

// acme-tls/1 never reaches a backend, even where the route would negotiate it.
func TestACMEChallengeIsNeverRouted(t *testing.T) {
	t.Parallel()
	for _, overrides := range []string{"tls: {alpn: []}", "tls: {alpn: [acme-tls/1, h2]}"} {
		g := configured(t, overrides)
		if checked := command(t, "check", "-c", g.config); checked.code != 0 {
			continue // refused as a configuration: as good
		}
		w := newWorld(t, overrides)
		if w.serves("a.example", protocols("acme-tls/1")) {
			t.Errorf("%s: the handshake succeeded", overrides)
		}
		w.backend.wantNone(t)
	}
}

// Where the store has an ECDSA and an RSA pair, each client gets what it can use.
func TestTwoKeyTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	elliptic, rsa := ca().issue([]string{"a.example"}), ca().issueRSA("a.example")
	w.store.on("a.example", bundle(elliptic, rsa))
	if got := w.dial("a.example").fingerprint(); got != elliptic.fingerprint() {
		t.Error("a modern client did not get the ECDSA certificate")
	}
	onlyRSA := func(c *tls.Config, _ *wire) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	if got := w.dial("a.example", onlyRSA).fingerprint(); got != rsa.fingerprint() {
		t.Error("a client that can not use ECDSA did not get the RSA certificate")
	}
}

// A flush while a fetch is under way: those who come after it get what the store has then, and that is what is kept.
func TestFlushDuringFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.store.pairFor("a.example")
	w.store.on("a.example", after(600*time.Millisecond, bundle(old)))
	var early sync.WaitGroup
	early.Go(func() {
		if !w.serves("a.example") {
			t.Error("the client that came before the flush was not served")
		}
	})
	w.eventually("the store is asked", func() bool { return len(w.store.requests("a.example")) == 1 })
	renewed := w.store.rotate("a.example")
	w.store.works("a.example")
	w.flush("a.example")
	if got := w.dial("a.example").fingerprint(); got != renewed.fingerprint() {
		t.Error("a client that came after the flush got the certificate asked for before it")
	}
	early.Wait()
	if got := w.dial("a.example").fingerprint(); got != renewed.fingerprint() {
		t.Error("the answer that was asked for before the flush is in the cache")
	}
}

// The access line of a connection says what happened on it.
func TestAccessLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.dial("a.example")
	io.WriteString(c, "12345")
	io.ReadFull(c, make([]byte, 5))
	c.Close()
	e := w.accessOf(c)
	want := map[string]string{
		"name": "a.example", "reason": "ok", "cert": "miss", "backend": "main", "server": w.backend.address,
		"bytes_in": "5", "bytes_out": "5", "level": "info", "resumed": "false",
	}
	for field, value := range want {
		if got := e.text(field); got != value {
			t.Errorf("%s is %q, want %q", field, got, value)
		}
	}
	for _, field := range []string{
		"time", "message", "conn", "client", "listener", "tls_version", "cipher", "group", "route", "hello_ms", "cert_ms",
		"handshake_ms", "connect_ms", "total_ms",
	} {
		if e.text(field) == "" {
			t.Errorf("%s is missing in %v", field, e)
		}
	}
}
