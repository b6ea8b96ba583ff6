package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// passes has one name passed through to a server, and the others terminated.
func passes(name, address, sendProxy string) string {
	return fmt.Sprintf(`
backends: {own: {servers: [{address: %q}], send_proxy: %s}}
routes:
  - {match: {names: [%s]}, action: passthrough, backend: own}
  - {backend: main}
`, address, sendProxy, name)
}

// wantOwn checks that the certificate is the server's own.
func (c *client) wantOwn(t testing.TB, own pair) {
	t.Helper()
	if c.fingerprint() != own.fingerprint() {
		t.Errorf("got the certificate %v, not the server's own", c.ConnectionState().PeerCertificates[0].Subject)
	}
}

// HAProxy behind a passthrough route reads the PROXY header before the TLS, its certificate is what the client sees, and 64
// MB come intact both ways. The store is never asked.
func TestPassthroughToHAProxy(t *testing.T) {
	t.Parallel()
	w, own, behind, address := newWorld(t), ca().issue([]string{"own.example"}), newBackend(t, echo), freeAddress(t)
	runHAProxy(t, address, fmt.Sprintf(`
listen own
    bind %s accept-proxy ssl crt %s
    server behind %s send-proxy-v2 proxy-v2-options authority
`, address, own.both(t), behind.address))
	g := start(t, usesStore(w.store), usesBackend(w.backend.address), passes("own.example", address, "v2"))
	c := g.dialFrom("127.0.0.9", "own.example")
	c.wantOwn(t, own)
	c.wantStream(t, 64<<20)
	c.Close()
	if got := behind.next(t).header; got.Source.String() != c.LocalAddr().String() || got.Authority != "own.example" {
		t.Errorf("HAProxy was told of a client %v for %q, want %v for own.example", got.Source, got.Authority, c.LocalAddr())
	}
	w.store.wantRequests(t, "own.example", 0)
	e := g.accessOf(c)
	if e.text("reason") != "ok" || e.text("name") != "own.example" || e.text("backend") != "own" || e.number("bytes_in") <= 64<<20 {
		t.Errorf("logged %v", e)
	}
	g.visit("other.example")
}

// nginx as the server, behind either version of the header: its own certificate by the name in the hello, which arrives as the
// client sent it.
func TestPassthroughToNginx(t *testing.T) {
	t.Parallel()
	own, address := ca().issue([]string{"own.example"}), freeAddress(t)
	certFile, keyFile := own.write(t, shortFolder(t), "own")
	runNginx(t, address, fmt.Sprintf(`server {
        listen %s ssl proxy_protocol;
        ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3;
        return 200 "$proxy_protocol_addr $proxy_protocol_port $ssl_server_name $ssl_protocol";
    }`, address, certFile, keyFile))
	for version, test := range map[uint16]struct{ header, name string }{
		tls.VersionTLS12: {"v1", "TLSv1.2"}, tls.VersionTLS13: {"v2, proxy_tlvs: [authority]", "TLSv1.3"},
	} {
		g := start(t, usesStore(newStore(t)), passes("own.example", address, test.header), usesBackend(address))
		c := g.dialFrom("127.0.0.9", "own.example", maxVersion(version))
		c.wantOwn(t, own)
		c.wantPage(t, strings.Replace(c.LocalAddr().String(), ":", " ", 1)+" own.example "+test.name)
	}
}

// openssl s_server knows no PROXY header; without one it is passed through to, resumption with its own tickets included.
func TestPassthroughToOpenSSL(t *testing.T) {
	t.Parallel()
	own, address := ca().issue([]string{"own.example"}), freeAddress(t)
	certFile, keyFile := own.write(t, shortFolder(t), "own")
	startPeer(t, address, program(t, "openssl"), "s_server", "-quiet", "-www", "-accept", address, "-cert", certFile, "-cert_chain", certFile, "-key", keyFile)
	g := start(t, usesStore(newStore(t)), passes("own.example", address, "off"), usesBackend(address))
	tickets := tls.NewLRUClientSessionCache(1)
	for _, resumed := range []bool{false, true} {
		c := g.dial("own.example", sessions(tickets))
		c.wantOwn(t, own)
		if got := c.ConnectionState().DidResume; got != resumed {
			t.Errorf("resumed %v, want %v", got, resumed)
		}
		if !strings.Contains(c.page(t), "s_server -quiet -www") {
			t.Error("the page is not that of openssl s_server")
		}
		c.Close() // it serves one after the other
	}
}

// A client with a version that is none of ours, as openssl s_client, is the server's business where it is passed through.
func TestPassthroughOpenSSLClient(t *testing.T) {
	t.Parallel()
	own, address := ca().issue([]string{"own.example"}), freeAddress(t)
	runHAProxy(t, address, fmt.Sprintf("listen own\n    mode http\n    bind %s accept-proxy ssl crt %s ssl-min-ver TLSv1.0 ciphers DEFAULT@SECLEVEL=0\n    http-request return status 200\n", address, own.both(t)))
	g := start(t, usesStore(newStore(t)), passes("own.example", address, "v2"), usesBackend(address))
	run := exec.Command(program(t, "openssl"), "s_client", "-connect", g.address, "-servername", "own.example", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-brief")
	output, err := run.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "TLSv1.1") {
		t.Errorf("%v:\n%s", err, output)
	}
}

// ownTLS has a backend speak TLS itself.
func ownTLS(own pair, do func(*tls.Conn, *counted)) func(*peer) {
	certificate := own.certificate()
	return func(p *peer) {
		defer p.Close()
		raw := &counted{Conn: p}
		session := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{certificate}})
		if session.Handshake() == nil {
			do(session, raw)
		}
	}
}

// counted counts what is read from a connection.
type counted struct {
	net.Conn
	took int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.took += int64(n)
	return n, err
}

func (p pair) certificate() tls.Certificate {
	made := tls.Certificate{PrivateKey: p.key}
	for _, c := range p.chain {
		made.Certificate = append(made.Certificate, c.Raw)
	}
	return made
}

// What is passed through ends as either side ends it: a client that is done still gets everything, and its end is the
// server's. The log counts what the server got, hello included.
func TestPassthroughHalfClose(t *testing.T) {
	t.Parallel()
	own, server := ca().issue([]string{"own.example"}), newBackend(t, nil)
	got := make(chan int64, 1)
	server.does(ownTLS(own, func(session *tls.Conn, raw *counted) {
		n, err := io.Copy(io.Discard, session)
		if n != 1<<20 || err != nil {
			t.Errorf("the server read %d bytes: %v", n, err)
		}
		io.CopyN(session, noise(), 1<<20)
		session.CloseWrite()
		io.Copy(io.Discard, raw)
		got <- raw.took
	}))
	g := start(t, usesStore(newStore(t)), passes("own.example", server.address, "v2"), usesBackend(server.address))
	c := g.dial("own.example")
	if err := blanks(c, 1<<20); err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	wantNoise(t, c, 1<<20)
	if c.wire.end != nil && c.wire.end != io.EOF {
		t.Errorf("the stream ended with %v", c.wire.end)
	}
	c.Close()
	if want, logged := <-got, g.accessOf(c).number("bytes_in"); logged != float64(want) {
		t.Errorf("%v bytes in the log, the server got %d", logged, want)
	}
}

// A reset of one side is a reset of the other.
func TestPassthroughReset(t *testing.T) {
	t.Parallel()
	own, server, ended := ca().issue([]string{"own.example"}), newBackend(t, nil), make(chan error, 1)
	g := start(t, usesStore(newStore(t)), passes("own.example", server.address, "v2"), usesBackend(server.address))
	server.does(ownTLS(own, func(session *tls.Conn, _ *counted) {
		_, err := session.Read(make([]byte, 1))
		ended <- err
	}))
	c := g.dial("own.example")
	c.abort()
	select {
	case err := <-ended:
		if !isReset(err) {
			t.Errorf("the client's reset came to the server as %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the client's reset did not come to the server")
	}
	g.access("reason", "client_reset")

	server.does(ownTLS(own, func(_ *tls.Conn, raw *counted) { raw.Conn.(*peer).abort() }))
	if _, err := io.ReadAll(g.dial("own.example")); !isReset(err) {
		t.Errorf("the server's reset came to the client as %v", err)
	}
	g.access("reason", "server_reset")
}

// With no server to pass it to, a client that waits for a ServerHello gets an alert.
func TestPassthroughWithoutServer(t *testing.T) {
	t.Parallel()
	down := freeAddress(t)
	g := start(t, usesStore(newStore(t)), passes("own.example", down, "v2"), usesBackend(down))
	g.refused("own.example", alertInternalError)
	if e := g.access("name", "own.example"); e.text("reason") != "no_backend" || !strings.Contains(e.text("error"), down) {
		t.Errorf("logged %v: %v", e["reason"], e["error"])
	}
	if got := g.refusals("no_backend"); got != 1 {
		t.Errorf("no_backend was counted %d times", got)
	}
}
