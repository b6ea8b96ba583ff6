package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

const wholeSSL = "[authority, alpn, ssl, ssl_sig_alg, ssl_key_alg, ssl_group, ssl_sig_scheme, ssl_client_cert, unique_id, netns, crc32c]"

// shows has a client show a certificate.
func shows(p pair) option {
	certificate := p.certificate()
	return func(c *tls.Config, _ *wire) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
}

// asksClients has clients asked for certificates of our authority.
func asksClients(t testing.TB, mode string) string {
	t.Helper()
	return fmt.Sprintf("tls: {alpn: [imap], client_auth: {mode: %s, ca_file: %q}}", mode, ca().rootFile(t))
}

// Every field that can be asked for, with a client certificate, is read back as it has to be: by the names that OpenSSL, and
// so HAProxy, have for algorithms, and IANA for groups and schemes.
func TestProxyOutTellsAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asksClients(t, "request"), "backends: {main: {custom_tlvs: {'0xE0': text, '0xEF': 'hex:00ff'}, proxy_tlvs: "+wholeSSL+"}}")
	alice := ca().issue([]string{"alice"})
	w.store.on("rsa.example", bundle(ca().issueRSA("rsa.example")))
	for _, test := range []struct {
		name string
		max  uint16
		want proxySSL
	}{
		{"a.example", tls.VersionTLS13, proxySSL{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", Signature: "ecdsa-with-SHA256", Keys: "EC256", Group: "X25519MLKEM768", Scheme: "ecdsa_secp256r1_sha256"}},
		{"a.example", tls.VersionTLS12, proxySSL{Version: "TLSv1.2", Cipher: "ECDHE-ECDSA-AES128-GCM-SHA256", Signature: "ecdsa-with-SHA256", Keys: "EC256", Group: "x25519", Scheme: "ecdsa_secp256r1_sha256"}},
		{"rsa.example", tls.VersionTLS13, proxySSL{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", Signature: "ecdsa-with-SHA256", Keys: "RSA2048", Group: "X25519MLKEM768", Scheme: "rsa_pss_rsae_sha256"}},
	} {
		for _, shown := range []bool{true, false} {
			options := []option{maxVersion(test.max), protocols("imap"), fixedCiphers}
			want := test.want
			want.Client, want.Verify = 1, 1
			if shown {
				options = append(options, shows(alice))
				want.Client, want.Verify, want.CommonName, want.ClientCert = 7, 0, "alice", string(alice.leaf().Raw)
			}
			c := w.dial(test.name, options...)
			c.wantEcho(t, "hello")
			got := w.backend.next(t).header
			if *got.SSL != want {
				t.Errorf("%s %s, shown %v:\ngot  %+v\nwant %+v", test.name, want.Version, shown, *got.SSL, want)
			}
			if got.Authority != test.name || got.ALPN != "imap" || !got.Checked || len(got.UniqueID) == 0 || fmt.Sprintf("%q", got.Custom) != `map['à':"text" 'ï':"\x00\xff"]` {
				t.Errorf("%s: %+v, %q", test.name, got, fmt.Sprintf("%q", got.Custom))
			}
		}
	}
}

// fixedCiphers leaves a server no choice among those of TLS 1.2.
func fixedCiphers(c *tls.Config, _ *wire) {
	c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
}

// A resumed connection tells of the certificate that its session began with, and that it was not shown in this connection; of a
// signature, which there was none, it tells nothing.
func TestProxyOutTellsOfResumption(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		w := newWorld(t, asksClients(t, "require"), "backends: {main: {proxy_tlvs: "+wholeSSL+"}}")
		alice, tickets := ca().issue([]string{"alice"}), &wallet{}
		w.visit("a.example", maxVersion(version), sessions(tickets), shows(alice))
		w.visit("a.example", maxVersion(version), sessions(tickets), shows(alice))
		full, resumed := *w.backend.next(t).header.SSL, *w.backend.next(t).header.SSL
		want := full
		want.Client, want.Scheme = 5, ""
		if full.Client != 7 || full.Scheme == "" || resumed != want {
			t.Errorf("%s: told %+v,\nresumed %+v", tls.VersionName(version), full, resumed)
		}
	}
}

// By default no part of ssl is told that must be asked for.
func TestProxyOutDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asksClients(t, "require"))
	w.visit("a.example", protocols("imap"), shows(ca().issue([]string{"alice"})))
	got := w.backend.next(t).header
	want := proxySSL{Client: 7, Version: "TLSv1.3", Cipher: got.SSL.Cipher, CommonName: "alice"}
	if *got.SSL != want || got.Authority != "a.example" || got.ALPN != "imap" || !got.Checked || len(got.UniqueID) == 0 || got.Custom != nil || got.Namespace != "" {
		t.Errorf("told %+v with %+v", got, got.SSL)
	}
}

// What does not fit into a header ends the connection, with a reason and a counter; nothing is left out to make it fit.
func TestProxyOutTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asksClients(t, "require"), "backends: {main: {proxy_tlvs: [ssl, ssl_client_cert]}}")
	sized := func(size int) pair {
		return ca().issue([]string{"large"}, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, size)}}
		})
	}
	c := w.dial("a.example", shows(sized(1<<16)))
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	e := w.accessOf(c)
	if e.text("reason") != "proxy_header" || !strings.Contains(e.text("error"), "ssl_client_cert") || w.refusals("proxy_header") != 1 {
		t.Errorf("logged %v: %v; counted %d", e["reason"], e["error"], w.refusals("proxy_header"))
	}
	w.backend.wantNone(t)
	large := sized(60 << 10)
	w.visit("a.example", shows(large))
	if got := w.backend.next(t).header.SSL.ClientCert; got != string(large.leaf().Raw) {
		t.Errorf("a certificate of %d bytes came with %d", len(large.leaf().Raw), len(got))
	}
}

// A header does not wait for a client that says nothing before its server has: the greeting comes at once.
func TestProxyOutServerFirst(t *testing.T) {
	t.Parallel()
	inner := ca().issue([]string{"a.example"})
	for name, rest := range map[string]string{"in the clear": "", "over TLS": fmt.Sprintf(", tls: {ca_file: %q}", ca().rootFile(t))} {
		w := newWorld(t, "backends: {main: {send_proxy: v2"+rest+"}}")
		w.backend.does(func(p *peer) {
			io.WriteString(p, "* OK ready\r\n")
			io.Copy(io.Discard, p)
			p.Close()
		})
		if rest != "" {
			w.backend.does(ownTLS(inner, func(session *tls.Conn, _ *counted) {
				io.WriteString(session, "* OK ready\r\n")
				io.Copy(io.Discard, session)
			}))
		}
		c := w.dial("a.example", within(5*time.Second))
		greeting := make([]byte, len("* OK ready\r\n"))
		if _, err := io.ReadFull(c, greeting); err != nil || string(greeting) != "* OK ready\r\n" {
			t.Errorf("%s: greeting %q: %v", name, greeting, err)
		}
		c.Close()
	}
}
