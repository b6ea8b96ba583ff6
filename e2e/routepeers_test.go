package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runHAProxy runs HAProxy with these sections and waits until it listens at address.
func runHAProxy(t testing.TB, address, sections string) {
	t.Helper()
	path, config := program(t, "haproxy"), filepath.Join(shortFolder(t), "haproxy.cfg")
	writeFile(t, config, `
global
    maxconn 200
defaults
    mode tcp
    timeout client 20s
    timeout server 20s
    timeout connect 2s
`+sections)
	startPeer(t, address, path, "-db", "-f", config)
}

// runNginx runs nginx with these http servers and waits until it listens at address.
func runNginx(t testing.TB, address, servers string) {
	t.Helper()
	path, folder := program(t, "nginx"), shortFolder(t)
	config := filepath.Join(folder, "nginx.conf")
	writeFile(t, config, fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr error;
events {}
http {
    access_log off;
    client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
    %[2]s
}
`, folder, servers))
	startPeer(t, address, path, "-p", folder, "-c", config)
}

// both puts a pair into one file, as HAProxy wants it.
func (p pair) both(t testing.TB) string {
	t.Helper()
	path := filepath.Join(shortFolder(t), "both.pem")
	writeFile(t, path, p.certPEM()+p.keyPEM())
	return path
}

// handshakeFrom is handshake from another address of this machine, as 127.0.0.7.
func handshakeFrom(source, address, name string, options ...option) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return handshakeOver(conn.(*net.TCPConn), name, options...)
}

// handshakeOver is handshake over a connection that is there; what was sent on it before is for whoever reads it.
func handshakeOver(conn *net.TCPConn, name string, options ...option) (*client, error) {
	w := &wire{TCPConn: conn}
	w.SetDeadline(time.Now().Add(3 * patience))
	config := &tls.Config{RootCAs: ca().pool, ServerName: name, InsecureSkipVerify: name == ""}
	for _, set := range options {
		set(config, w)
	}
	c := &client{Conn: tls.Client(w, config), wire: w}
	return c, c.Handshake()
}

// dialFrom is dial from another address of this machine.
func (g *gate) dialFrom(source, name string, options ...option) *client {
	g.t.Helper()
	c, err := handshakeFrom(source, g.address, name, options...)
	if err != nil {
		g.t.Fatalf("handshake for %q from %s: %v", name, source, err)
	}
	g.t.Cleanup(func() { c.wire.TCPConn.Close() })
	return c
}

// refusedFrom checks that a client at source that asks for name gets the alert.
func (g *gate) refusedFrom(source, name string, alert int, options ...option) {
	g.t.Helper()
	c, err := handshakeFrom(source, g.address, name, options...)
	if c == nil {
		g.t.Fatal(err)
	}
	defer c.wire.TCPConn.Close()
	if err == nil || c.wire.alert() != alert {
		g.t.Errorf("%q from %s: got alert %d (%v), want %d", name, source, c.wire.alert(), err, alert)
	}
}

// wantPage sends a request of HTTP and checks the body of the answer.
func (c *client) wantPage(t testing.TB, want string) {
	t.Helper()
	if got := c.page(t); got != want {
		t.Errorf("the server saw %q, want %q", got, want)
	}
}

// page sends a request of HTTP and gives the body of the answer, without its last line feed.
func (c *client) page(t testing.TB) string {
	t.Helper()
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("%v after %q", err, answer)
	}
	return bodyOf(string(answer))
}

// wantStream sends size bytes that are like no others, reads them back meanwhile, and ends the connection cleanly.
func (c *client) wantStream(t testing.TB, size int64) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(c, noise(), size)
		if err == nil {
			err = c.CloseWrite()
		}
		sent <- err
	}()
	wantNoise(t, c, size)
	if err := <-sent; err != nil {
		t.Errorf("sending: %v", err)
	}
	if !c.wire.closedCleanly() {
		t.Error("the stream came back without a clean end")
	}
}

// wantNoise reads size bytes of noise and the end.
func wantNoise(t testing.TB, r io.Reader, size int64) {
	t.Helper()
	want := noise()
	got, expected := make([]byte, 1<<16), make([]byte, 1<<16)
	var total int64
	for {
		n, err := r.Read(got)
		io.ReadFull(want, expected[:n])
		if string(got[:n]) != string(expected[:n]) {
			t.Fatalf("other bytes than were sent, in the %d behind %d", n, total)
		}
		total += int64(n)
		if err == io.EOF && total == size {
			return
		}
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v", total, size, err)
		}
	}
}

// noise is always the same bytes.
func noise() io.Reader { return rand.NewChaCha8([32]byte{1}) }

// bodyOf is what follows the header of an answer, without its last line feed.
func bodyOf(answer string) string {
	_, body, _ := strings.Cut(answer, "\r\n\r\n")
	return strings.TrimSuffix(body, "\n")
}
