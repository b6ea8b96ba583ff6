package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The alerts of client certificates (RFC 8446, section 6.2).
const (
	alertHandshakeFailure    = 40
	alertBadCertificate      = 42
	alertUnknownCA           = 48
	alertCertificateRequired = 116
)

// admitted tells whether a client got through to the backend. In TLS 1.3 it learns that it did not after its handshake.
func (g *gate) admitted(name string, options ...option) (bool, *client, error) {
	g.t.Helper()
	c, err := handshake(g.address, name, options...)
	if c == nil {
		g.t.Fatal(err)
	}
	defer c.wire.TCPConn.Close()
	if err == nil {
		_, err = c.Write([]byte("x"))
	}
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	return err == nil, c, err
}

// admits checks that a client gets through.
func (g *gate) admits(name string, options ...option) *client {
	g.t.Helper()
	ok, c, err := g.admitted(name, options...)
	if !ok {
		g.t.Errorf("%s: a client that is good was refused: %v", name, err)
	}
	return c
}

// turnsAway checks that a client is refused with an alert, for its certificate, and what the log says of that.
func (g *gate) turnsAway(name string, alert int, want string, options ...option) {
	g.t.Helper()
	ok, c, err := g.admitted(name, options...)
	if ok {
		g.t.Errorf("%s: a client that is not good was let in", name)
		return
	}
	if text := tls.AlertError(alert).Error(); !strings.Contains(err.Error(), strings.TrimPrefix(text, "tls: ")) {
		g.t.Errorf("%s: the client got %q, want %q", name, err, text)
	}
	if e := g.accessOf(c); e.text("reason") != "client_cert" || e.text("stage") != "handshake" || !strings.Contains(e.text("error"), want) {
		g.t.Errorf("%s: logged %v at %v: %v; want %q", name, e["reason"], e["stage"], e["error"], want)
	}
}

func clientsBy(mode string, a *authority, t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("tls: {client_auth: {mode: %s, ca_file: %q}}", mode, a.rootFile(t))
}

// With require a client shows a certificate of the authority; with request it may show none, but none of another authority.
func TestClientAuthModes(t *testing.T) {
	t.Parallel()
	alice, mallory := shows(ca().issue([]string{"alice"})), shows(stranger().issue([]string{"mallory"}))
	expired := shows(ca().issue([]string{"expired"}, valid(-2*time.Hour, -time.Hour)))
	server := shows(ca().issue([]string{"server"}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
	for version, missing := range map[uint16]int{tls.VersionTLS12: alertHandshakeFailure, tls.VersionTLS13: alertCertificateRequired} {
		with := maxVersion(version)
		required := newWorld(t, clientsBy("require", ca(), t))
		required.admits("a.example", with, alice)
		required.turnsAway("a.example", missing, "certificate", with)
		required.turnsAway("a.example", alertUnknownCA, "unknown authority", with, mallory)
		required.turnsAway("a.example", 45, "expired", with, expired)
		required.turnsAway("a.example", alertBadCertificate, "", with, server)
		if got := required.refusals("client_cert"); got != 4 {
			t.Errorf("client_cert was counted %d times", got)
		}
		if got := len(required.backend.accepted); got != 1 {
			t.Errorf("%d connections came to the backend", got)
		}
		requested := newWorld(t, clientsBy("request", ca(), t))
		requested.admits("a.example", with, alice)
		requested.admits("a.example", with)
		requested.turnsAway("a.example", alertUnknownCA, "unknown authority", with, mallory)
	}
}

// A route says which of the authority's clients are its own: by common name, DNS name, URI or key. The others are refused,
// with their name in the log.
func TestClientAuthAllows(t *testing.T) {
	t.Parallel()
	id := func(text string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.URIs = []*url.URL{must(url.Parse(text))} }
	}
	alice := ca().issue([]string{"alice.clients.example"}, id("spiffe://example/alice"))
	bob := ca().issue([]string{"bob.clients.example"}, id("spiffe://example/bob"))
	sum := sha256.Sum256(alice.leaf().RawSubjectPublicKeyInfo)
	var routes []string
	for name, rule := range map[string]string{
		"cn": "cn: [alice.clients.example]", "dns": "dns: [nobody.example, alice.clients.example]",
		"uri": "uri: ['spiffe://example/alice']", "key": "spki_sha256: ['" + hex.EncodeToString(sum[:]) + "']",
		"two": "cn: [nobody], uri: ['spiffe://example/alice']",
	} {
		routes = append(routes, fmt.Sprintf("  - {match: {names: [%s.example]}, backend: main, tls: {client_auth: {allow: {%s}}}}", name, rule))
	}
	w := newWorld(t, clientsBy("require", ca(), t), "routes:\n"+strings.Join(routes, "\n")+"\n  - {backend: main}\n")
	for _, name := range []string{"cn", "dns", "uri", "key", "two"} {
		w.admits(name+".example", shows(alice))
		w.turnsAway(name+".example", alertBadCertificate, `client certificate "bob.clients.example"`, shows(bob))
	}
	w.admits("any.example", shows(bob))
}

// When the authorities are replaced, clients of the old ones are refused within seconds, whatever ticket they hold, and those
// of the new ones let in. Connections that are open go on.
func TestClientAuthAuthorityReplaced(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		file := filepath.Join(shortFolder(t), "ca.pem")
		writeFile(t, file, string(certificatePEM(ca().root)))
		w := newWorld(t, fmt.Sprintf("tls: {client_auth: {mode: require, ca_file: %q}}", file))
		tickets, with := &wallet{}, maxVersion(version)
		before, after := shows(ca().issue([]string{"before"})), shows(stranger().issue([]string{"after"}))
		open := w.dial("a.example", with, before)
		w.admits("a.example", with, before, sessions(tickets))
		if !w.admits("a.example", with, before, sessions(tickets)).ConnectionState().DidResume {
			t.Error("the ticket is of no use")
		}
		w.turnsAway("a.example", alertUnknownCA, "unknown authority", with, after)
		replaceFile(t, file, string(certificatePEM(stranger().root)))
		w.within(5*time.Second, "the new authority is taken", func() bool {
			ok, _, _ := w.admitted("a.example", with, after)
			return ok
		})
		w.turnsAway("a.example", alertUnknownCA, "unknown authority", with, before)
		w.turnsAway("a.example", alertUnknownCA, "unknown authority", with, before, sessions(tickets))
		open.wantEcho(t, "still there")
		writeFile(t, file, "no PEM")
		w.await("complaint about the file", func(e entry) bool { return e.text("level") == "error" && e.text("ca_file") == file })
		w.admits("a.example", with, after)
	}
}

// revokes is the authority's list of these, PEM.
func (a *authority) revokes(pairs ...pair) string {
	template := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, p := range pairs {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: p.leaf().SerialNumber, RevocationTime: time.Now()})
	}
	der := must(x509.CreateRevocationList(rand.Reader, template, a.intermediate, a.key))
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// Who is on the list is refused, within seconds of when it is, on resumption too; the others are not.
func TestClientAuthRevocation(t *testing.T) {
	t.Parallel()
	folder := shortFolder(t)
	caFile, crlFile := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "crl.pem")
	issuing := newIssuing()
	writeFile(t, caFile, string(certificatePEM(issuing.intermediate)))
	writeFile(t, crlFile, issuing.revokes())
	w := newWorld(t, fmt.Sprintf("tls: {client_auth: {mode: require, ca_file: %q, crl_file: %q}}", caFile, crlFile))
	alice, bob, tickets := issuing.issue([]string{"alice"}), issuing.issue([]string{"bob"}), &wallet{}
	w.admits("a.example", shows(alice), sessions(tickets))
	w.admits("a.example", shows(bob))
	replaceFile(t, crlFile, issuing.revokes(alice))
	w.within(5*time.Second, "alice is refused", func() bool {
		ok, _, _ := w.admitted("a.example", shows(alice))
		return !ok
	})
	w.turnsAway("a.example", alertBadCertificate, "revoked", shows(alice))
	w.turnsAway("a.example", alertBadCertificate, "revoked", shows(alice), sessions(tickets))
	w.admits("a.example", shows(bob))
}

// newIssuing is an authority whose intermediate may sign lists, and is trusted for itself.
func newIssuing() *authority {
	key := newKey()
	template := x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "e2e issuing"}, SubjectKeyId: []byte("e2e issuing"),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	own := sign(&template, nil, key.Public(), key)
	return &authority{root: own, intermediate: own, key: key}
}

// openssl s_client shows a certificate, and is told which authorities are meant.
func TestClientAuthOpenSSL(t *testing.T) {
	t.Parallel()
	w, openssl := newWorld(t, clientsBy("require", ca(), t)), program(t, "openssl")
	certFile, keyFile := ca().issue([]string{"alice"}).write(t, shortFolder(t), "alice")
	arguments := []string{"s_client", "-connect", w.address, "-servername", "a.example", "-CAfile", ca().rootFile(t), "-verify_return_error"}
	got := execute(t, "Q\n", openssl, append(arguments, "-cert", certFile, "-key", keyFile, "-cert_chain", certFile)...)
	if got.code != 0 || !strings.Contains(got.stdout, "CN = e2e root") {
		t.Errorf("exit %d, or the authority is not named:\n%s%s", got.code, got.stdout, got.stderr)
	}
	header := w.backend.next(t).header
	if header.SSL.CommonName != "alice" || header.SSL.Client != 7 || header.SSL.Verify != 0 {
		t.Errorf("the backend is told %+v", header.SSL)
	}
	got = execute(t, "hello\n", openssl, append(arguments, "-ign_eof")...)
	if !strings.Contains(got.stderr, "alert number 116") {
		t.Errorf("without a certificate:\n%s", got.stderr)
	}
}
