package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// encrypts has the main backend's servers spoken to over TLS, as the rest says.
func encrypts(address, rest string) string {
	return fmt.Sprintf("backends: {main: {servers: [{address: %q}], tls: {%s}}}", address, rest)
}

// tlsHAProxy is an HAProxy that speaks TLS behind a PROXY header, and tells what it saw.
func tlsHAProxy(t testing.TB, own pair, bind string) (address string) {
	t.Helper()
	address = freeAddress(t)
	runHAProxy(t, address, fmt.Sprintf(`
frontend inner
    mode http
    bind %s accept-proxy ssl crt %s %s
    http-request return status 200 content-type text/plain lf-string "%%[src] authority %%[fc_pp_authority] sni %%[ssl_fc_sni] alpn %%[ssl_fc_alpn] client %%[ssl_c_s_dn(cn)]"
`, address, own.both(t), bind))
	return address
}

// HAProxy as the server: it gets the PROXY header in the clear, is asked for by the name that is configured, or by the
// client's, is offered the client's protocol, and sees our certificate, which it requires.
func TestReencryptToHAProxy(t *testing.T) {
	t.Parallel()
	inner, ours := ca().issue([]string{"inner.internal", "a.example"}), ca().issue([]string{"the gate"})
	caFile := ca().rootFile(t)
	address := tlsHAProxy(t, inner, fmt.Sprintf("ca-file %s verify required alpn h2,imap,http/1.1", allOf(t, ca())))
	certFile, keyFile := ours.write(t, shortFolder(t), "ours")
	files := fmt.Sprintf("ca_file: %q, cert_file: %q, key_file: %q", caFile, certFile, keyFile)
	for rest, want := range map[string]string{
		files + ", server_name: inner.internal": "authority a.example sni inner.internal alpn http/1.1",
		files:                                   "authority a.example sni a.example alpn http/1.1",
		files + ", pass_alpn: false":            "authority a.example sni a.example alpn ",
		files + ", alpn: [http/1.1]":            "authority a.example sni a.example alpn http/1.1",
	} {
		g := start(t, usesStore(newStore(t)), encrypts(address, rest), "tls: {alpn: [http/1.1]}")
		c := g.dialFrom("127.0.0.9", "a.example", protocols("http/1.1"))
		c.wantPage(t, fmt.Sprintf("127.0.0.9 %s client the gate", want))
	}
}

// allOf is a file with an authority's root and intermediate.
func allOf(t testing.TB, a *authority) string {
	t.Helper()
	path := filepath.Join(shortFolder(t), "ca.pem")
	writeFile(t, path, string(certificatePEM(a.root))+string(certificatePEM(a.intermediate)))
	return path
}

// nginx as the server, and 64 MB that come from it intact. That of Debian 12 takes no more than 107 bytes of header in front
// of TLS.
func TestReencryptToNginx(t *testing.T) {
	t.Parallel()
	inner, address, folder := ca().issue([]string{"inner.internal"}), freeAddress(t), shortFolder(t)
	certFile, keyFile := inner.write(t, folder, "inner")
	file := must(os.Create(filepath.Join(folder, "noise")))
	must(io.CopyN(file, noise(), 64<<20))
	file.Close()
	os.Chmod(folder, 0o755)
	os.Chmod(file.Name(), 0o644)
	runNginx(t, address, fmt.Sprintf(`server {
        listen %s ssl proxy_protocol;
        ssl_certificate %s; ssl_certificate_key %s;
        location / { return 200 "$proxy_protocol_addr $ssl_server_name"; }
        location /noise { root %s; }
    }`, address, certFile, keyFile, folder))
	g := start(t, usesStore(newStore(t)), "backends: {main: {send_proxy: v1}}",
		encrypts(address, fmt.Sprintf("ca_file: %q, server_name: inner.internal", ca().rootFile(t))))
	g.dialFrom("127.0.0.9", "a.example").wantPage(t, "127.0.0.9 inner.internal")

	c := g.dial("a.example")
	fmt.Fprint(c, "GET /noise HTTP/1.0\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantNoise(t, answer.Body, 64<<20)
}

// 64 MB go to a server over TLS and come back.
func TestReencryptBothWays(t *testing.T) {
	t.Parallel()
	inner, server := ca().issue([]string{"a.example"}), newBackend(t, nil)
	server.does(ownTLS(inner, func(session *tls.Conn, _ *counted) {
		io.Copy(session, session)
		session.Close()
	}))
	g := start(t, usesStore(newStore(t)), encrypts(server.address, fmt.Sprintf("ca_file: %q", ca().rootFile(t))))
	c := g.dial("a.example")
	c.wantStream(t, 64<<20)
	c.Close()
	if e := g.accessOf(c); e.text("reason") != "ok" || e.number("bytes_in") != 64<<20 || e.number("bytes_out") != 64<<20 {
		t.Errorf("logged %v, %v bytes in, %v out", e["reason"], e["bytes_in"], e["bytes_out"])
	}
}

// A server whose certificate is not of the authority, not for the name, or that does not take ours, is none: the client is
// reset, and the log says why.
func TestReencryptRefusesServer(t *testing.T) {
	t.Parallel()
	inner := ca().issue([]string{"inner.internal"})
	open := tlsHAProxy(t, inner, "")
	strict := tlsHAProxy(t, inner, fmt.Sprintf("ca-file %s verify required", allOf(t, ca())))
	theirs, ours := stranger().rootFile(t), ca().rootFile(t)
	for name, test := range map[string]struct{ address, rest, want string }{
		"another authority": {open, fmt.Sprintf("ca_file: %q, server_name: inner.internal", theirs), "unknown authority"},
		"another name":      {open, fmt.Sprintf("ca_file: %q, server_name: outer.internal", ours), "outer.internal"},
		"the client's name": {open, fmt.Sprintf("ca_file: %q", ours), "a.example"},
		"no certificate":    {strict, fmt.Sprintf("ca_file: %q, server_name: inner.internal, min_version: '1.2'", ours), "certificate required"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, usesStore(newStore(t)), encrypts(test.address, test.rest))
			c := g.dial("a.example")
			if _, err := io.ReadAll(c); !isReset(err) {
				t.Errorf("got %v, want a reset", err)
			}
			if name == "no certificate" { // in TLS 1.3 it says so when we are through with our part
				g.access("reason", "server_reset")
				return
			}
			if e := g.accessOf(c); e.text("reason") != "no_backend" || !strings.Contains(e.text("error"), test.want) {
				t.Errorf("logged %v: %v", e["reason"], e["error"])
			}
		})
	}
	g := start(t, usesStore(newStore(t)), encrypts(open, fmt.Sprintf("ca_file: %q, insecure_skip_verify: true", theirs)))
	if got := g.dial("a.example").page(t); !strings.Contains(got, "sni a.example") {
		t.Errorf("not verified, and still: %q", got)
	}
}

// What is written into the files of authorities and certificate is taken up within seconds, for connections from then on.
func TestReencryptTakesUpFiles(t *testing.T) {
	t.Parallel()
	inner, folder := ca().issue([]string{"a.example"}), shortFolder(t)
	address := tlsHAProxy(t, inner, fmt.Sprintf("ca-file %s verify required", allOf(t, ca())))
	caFile := filepath.Join(folder, "ca.pem")
	writeFile(t, caFile, string(certificatePEM(stranger().root)))
	certFile, keyFile := ca().issue([]string{"first"}).write(t, folder, "ours")
	g := start(t, usesStore(newStore(t)), encrypts(address, fmt.Sprintf("ca_file: %q, cert_file: %q, key_file: %q", caFile, certFile, keyFile)),
		"backends: {main: {ejection: {failures: 0}}}")
	if _, err := io.ReadAll(g.dial("a.example")); !isReset(err) {
		t.Errorf("a server of another authority: %v, want a reset", err)
	}
	replaceFile(t, caFile, string(certificatePEM(ca().root)))
	seen := func(want string) func() bool {
		return func() bool {
			c, err := handshake(g.address, "a.example")
			if err != nil {
				return false
			}
			defer c.wire.TCPConn.Close()
			fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
			answer, _ := io.ReadAll(c)
			return strings.HasSuffix(bodyOf(string(answer)), "client "+want)
		}
	}
	g.within(5*time.Second, "the new authority is taken", seen("first"))
	second := ca().issue([]string{"second"})
	replaceFile(t, keyFile, second.keyPEM()) // for a moment the two do not fit
	replaceFile(t, certFile, second.certPEM())
	g.within(5*time.Second, "the new certificate is shown", seen("second"))
	writeFile(t, caFile, "no PEM")
	g.await("complaint about the file", func(e entry) bool {
		return e.text("level") == "error" && e.text("backend") == "main" && strings.Contains(e.text("error"), "ca.pem")
	})
	if !seen("second")() {
		t.Error("with a broken file, what was read before is not in use")
	}
}

// replaceFile replaces a file in one step, as those do it that are careful.
func replaceFile(t testing.TB, path, text string) {
	t.Helper()
	writeFile(t, path+".next", text)
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
}

// The end of a server's stream over TLS is one only with a close_notify: without it somebody may have cut it off, and the
// client is reset.
func TestReencryptEnds(t *testing.T) {
	t.Parallel()
	inner, server := ca().issue([]string{"a.example"}), newBackend(t, nil)
	g := start(t, usesStore(newStore(t)), encrypts(server.address, fmt.Sprintf("ca_file: %q", ca().rootFile(t))))

	server.does(ownTLS(inner, func(session *tls.Conn, _ *counted) {
		io.CopyN(session, noise(), 1<<20)
		session.Close()
	}))
	c := g.dial("a.example")
	wantNoise(t, c, 1<<20)
	if !c.wire.closedCleanly() {
		t.Error("the server's close_notify did not come to the client")
	}

	server.does(ownTLS(inner, func(session *tls.Conn, raw *counted) {
		io.CopyN(session, noise(), 1<<20)
		raw.Conn.(*peer).CloseWrite()
		io.Copy(io.Discard, raw)
	}))
	c = g.dial("a.example")
	if got, err := io.ReadAll(c); !isReset(err) || len(got) != 1<<20 {
		t.Errorf("after a bare FIN: %d bytes, then %v; want a reset", len(got), err)
	}
	if got := g.accessOf(c).text("reason"); got == "ok" {
		t.Error("a bare FIN is logged as ok")
	}

	ended := make(chan error, 1)
	server.does(ownTLS(inner, func(session *tls.Conn, raw *counted) {
		_, err := session.Read(make([]byte, 1))
		ended <- err
	}))
	g.dial("a.example").abort()
	if err := <-ended; !isReset(err) {
		t.Errorf("the client's reset came to the server as %v", err)
	}
}

// The oldest version that servers are spoken to in is a setting, too.
func TestReencryptVersion(t *testing.T) {
	t.Parallel()
	inner := ca().issue([]string{"a.example"})
	address := tlsHAProxy(t, inner, "ssl-max-ver TLSv1.2")
	files := fmt.Sprintf("ca_file: %q", ca().rootFile(t))
	g := start(t, usesStore(newStore(t)), encrypts(address, files))
	g.dial("a.example").page(t)
	g = start(t, usesStore(newStore(t)), encrypts(address, files+", min_version: '1.3'"))
	if _, err := io.ReadAll(g.dial("a.example")); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	g.access("reason", "no_backend")
}
