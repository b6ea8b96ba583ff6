package terminate

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"hellogate/sni"
	"hellogate/terminate/proxyproto"
)

// asking has clients ask for TLS in a protocol first.
func asking(t *testing.T, protocol string, change func(*setup)) *bench {
	t.Helper()
	return startServer(t, func(o *setup) {
		o.Listeners[0].StartTLS = startTLS(t, protocol)
		if change != nil {
			change(o)
		}
	})
}

func startTLS(t testing.TB, name string) StartTLS {
	t.Helper()
	made, err := ParseStartTLS(name)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// message is a message of PostgreSQL's, a start-up packet where it has no kind.
func message(kind string, body ...byte) []byte {
	p := binary.BigEndian.AppendUint32([]byte(kind), uint32(4+len(body)))
	return append(p, body...)
}

var (
	sslRequest = message("", 4, 210, 22, 47)
	gssRequest = message("", 4, 210, 22, 48)
	startup    = message("", append([]byte{0, 3, 0, 0}, "user\x00alice\x00\x00"...)...)
	authOK     = message("R", 0, 0, 0, 0)
	parameter  = message("S", []byte("server_version\x0017\x00")...)
	isReady    = message("Z", 'I')
)

// keyOf is a key for cancelling of that many bytes.
func keyOf(first byte, size int) []byte { return append([]byte{first}, filled(size-1)...) }

// cancelOf is the request with a key.
func cancelOf(key []byte) []byte { return message("", append([]byte{4, 210, 22, 46}, key...)...) }

// asked is a connection on which TLS was asked for.
func (b *bench) asked() *net.TCPConn {
	b.t.Helper()
	raw := b.raw()
	mustWrite(b.t, raw, sslRequest)
	b.wantBytes(raw, "S")
	return raw
}

func (b *bench) wantBytes(from io.Reader, want string) {
	b.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(from, got); err != nil || string(got) != want {
		b.t.Fatalf("got %q, want %q: %v", got[:n], want, err)
	}
}

// session is a client of PostgreSQL's that has sent its start-up packet.
func (b *bench) session(name string) *tls.Conn {
	b.t.Helper()
	client, err := b.handshake(b.asked(), &tls.Config{ServerName: name, RootCAs: b.ca.Pool()})
	if err != nil {
		b.t.Fatal(err)
	}
	mustWrite(b.t, client, startup)
	return client
}

// A session of PostgreSQL's: what the client sends first goes with the header in one segment, everything behind that both
// ways as it is, and nothing is kept of it at its end.
func TestPostgres(t *testing.T) {
	b := asking(t, "postgres", nil)
	b.route.Backend.Proxy = sender(t, proxyproto.Options{Version: proxyproto.V1})
	client := b.session("a.test")
	backend := b.accept()
	got := make([]byte, 1000)
	n, err := backend.Read(got)
	if err != nil || !bytes.HasPrefix(got, []byte("PROXY TCP4 ")) || !bytes.HasSuffix(got[:n], append([]byte("\r\n"), startup...)) {
		t.Fatalf("%q: %v", got[:n], err)
	}
	answer := slices.Concat(authOK, parameter, message("K", keyOf(1, 8)...), isReady)
	mustWrite(t, backend, answer)
	b.wantBytes(client, string(answer))
	if kept := b.server.keys.Len(); kept != 1 {
		t.Errorf("%d keys", kept)
	}
	up, down := filled(300_000), filled(700_000)
	go func() { mustWrite(t, client, up); _ = client.CloseWrite() }()
	go func() { mustWrite(t, backend, down); _ = backend.CloseWrite() }()
	wantRead(t, backend, up, nil)
	wantRead(t, client, down, nil)
	client.NetConn().Close()
	line := b.line()
	if line["reason"] != "ok" || line["protocol"] != "postgres" || line["bytes_in"] != float64(len(startup)+len(up)) ||
		line["bytes_out"] != float64(len(answer)+len(down)) || line["preamble_ms"] == nil || line["startup_ms"] == nil || line["cancel"] != nil {
		t.Errorf("line %v", line)
	}
	b.want("the key is forgotten", func() bool { return b.server.keys.Len() == 0 })
	b.wantPreamble("postgres", "starttls")
	b.wantNothingCounted()
}

// wantPreamble wants one preamble to have been counted.
func (b *bench) wantPreamble(protocol, result string) {
	b.t.Helper()
	if got := b.server.Stats().Preambles; len(got) != 1 || got[0] != (PreambleCount{protocol, result, 1}) {
		b.t.Errorf("preambles %+v", got)
	}
}

// However few bytes come at a time, on either side, each is where it belongs.
func TestPostgresInPieces(t *testing.T) {
	b := asking(t, "postgres", nil)
	raw := b.raw()
	_ = raw.SetNoDelay(true)
	drip := func(to io.Writer, p []byte) {
		for piece := range chunks(p, 1) {
			mustWrite(t, to, piece)
			time.Sleep(time.Millisecond)
		}
	}
	drip(raw, gssRequest)
	b.wantBytes(raw, "N")
	drip(raw, sslRequest)
	b.wantBytes(raw, "S")
	client, err := b.handshake(&dripping{raw}, &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	drip(client, startup)
	backend := b.accept()
	_ = backend.SetNoDelay(true)
	b.wantBytes(backend, string(startup))
	answer := slices.Concat(authOK, parameter, message("K", keyOf(1, 260)...), isReady)
	go drip(backend, answer)
	b.wantBytes(client, string(answer))
	if kept := b.server.keys.Len(); kept != 1 {
		t.Errorf("%d keys", kept)
	}
}

// dripping sends its bytes in small segments.
type dripping struct{ *net.TCPConn }

func (d *dripping) Write(p []byte) (int, error) {
	for piece := range chunks(p, 97) {
		if _, err := d.TCPConn.Write(piece); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// What does not ask for TLS as it should is answered as PostgreSQL answers it, and ends.
func TestPostgresRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		sent   []byte
		answer string // in it
		reason Reason
	}{
		{"without TLS", startup, "C28000\x00", ReasonPlaintext},
		{"without TLS, after GSSAPI", append(slices.Clone(gssRequest), startup...), "received unencrypted data", ReasonInjection},
		{"a hello with the request", append(slices.Clone(sslRequest), helloFor("a.test", nil)...), "received unencrypted data", ReasonInjection},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), "", ReasonPreamble},
		{"a protocol of the past", message("", 0, 2, 0, 0), "unsupported frontend protocol 2.0", ReasonPreamble},
		{"a megabyte", bytes.Repeat([]byte{0xfe}, 1<<20), "", ReasonPreamble},
		{"a megabyte after the request", append(slices.Clone(sslRequest), make([]byte, 1<<20)...), "received unencrypted data", ReasonInjection},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := asking(t, "postgres", nil)
			raw := b.raw()
			go func() { _, _ = raw.Write(test.sent); _ = raw.CloseWrite() }()
			got, err := io.ReadAll(raw)
			if len(test.sent) < lingerBytes && err != nil || !strings.Contains(string(got), test.answer) || test.answer == "" && len(got) > 0 {
				t.Errorf("%q: %v", got, err)
			}
			line := b.line()
			if line["reason"] != string(test.reason) || line["stage"] != "preamble" {
				t.Errorf("line %v", line)
			}
			b.wantPreamble("postgres", string(test.reason))
			if refused := b.server.Stats().Refused; refused[string(test.reason)] != 1 {
				t.Errorf("refused %v", refused)
			}
			b.wantNothingCounted()
		})
	}
}

// Who stops half-way is gone when the time for the hello is over, wherever that is.
func TestPostgresHalfWay(t *testing.T) {
	hello := helloFor("a.test", nil)
	for _, test := range []struct {
		name   string
		sent   [][]byte // each but the first after an answer of a byte
		stage  string
		reason string
	}{
		{"nothing", nil, "preamble", "timeout"},
		{"half a request", [][]byte{sslRequest[:5]}, "preamble", "timeout"},
		{"GSSAPI alone", [][]byte{gssRequest, nil}, "preamble", "timeout"},
		{"half a cancel", [][]byte{cancelOf(keyOf(1, 8))[:12]}, "preamble", "timeout"},
		{"no hello", [][]byte{sslRequest, nil}, "hello", "timeout"},
		{"half a hello", [][]byte{sslRequest, hello[:100]}, "hello", "timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := asking(t, "postgres", func(o *setup) { o.Limits.Hello = 300 * time.Millisecond })
			began := time.Now()
			raw := b.raw()
			for i, p := range test.sent {
				if i > 0 {
					b.wantBytes(raw, map[bool]string{true: "N", false: "S"}[bytes.Equal(test.sent[0], gssRequest)])
				}
				mustWrite(t, raw, p)
			}
			_, _ = io.Copy(io.Discard, raw)
			raw.Close()
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
			if line := b.line(); line["stage"] != test.stage || line["reason"] != test.reason {
				t.Errorf("line %v", line)
			}
		})
	}
}

// A client that goes away is told from one that is no good.
func TestPostgresGone(t *testing.T) {
	b := asking(t, "postgres", nil)
	for _, sent := range [][]byte{nil, sslRequest[:3]} {
		raw := b.raw()
		mustWrite(t, raw, sent)
		raw.Close()
		b.wantReason(Reason(sni.ClosedEarly))
	}
	raw := b.asked()
	raw.Close()
	b.wantReason(Reason(sni.ClosedEarly))
}

// The first message within TLS has its time, and has to be one.
func TestPostgresStartup(t *testing.T) {
	for _, test := range []struct {
		name   string
		sent   []byte
		answer string
		reason Reason
	}{
		{"nothing", nil, "", ReasonTimeout},
		{"half of it", startup[:10], "", ReasonTimeout},
		{"TLS in TLS", sslRequest, "unsupported frontend protocol 1234.5679", ReasonPreamble},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), "", ReasonPreamble},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := asking(t, "postgres", func(o *setup) { o.Limits.Hello = 300 * time.Millisecond })
			client, err := b.handshake(b.asked(), &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()})
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, client, test.sent)
			got, err := io.ReadAll(client)
			if !strings.Contains(string(got), test.answer) || test.answer == "" && len(got) > 0 {
				t.Errorf("%q", got)
			}
			if orderly := err == nil; orderly != (test.reason == ReasonPreamble) {
				t.Errorf("it ended with %v", err)
			}
			client.NetConn().Close()
			if line := b.line(); line["stage"] != "startup" || line["reason"] != string(test.reason) {
				t.Errorf("line %v", line)
			}
			b.wantUndialled()
			b.wantNothingCounted()
		})
	}
}

// PostgreSQL's protocol is negotiated where a client needs it to be, whatever the route says.
func TestPostgresALPN(t *testing.T) {
	for _, test := range []struct {
		name           string
		listener       string
		asks           bool
		route, offered []string
		negotiated     string
		alert          tls.AlertError // 0: none
	}{
		{"direct", "postgres", false, nil, []string{"postgresql"}, "postgresql", 0},
		{"direct, on the route, too", "postgres", false, []string{"postgresql"}, []string{"postgresql"}, "postgresql", 0},
		{"direct, of nothing", "postgres", false, nil, nil, "", alertNoApplicationProtocol},
		{"direct, of another", "postgres", false, nil, []string{"h2"}, "", alertNoApplicationProtocol},
		{"direct, where the route has another", "postgres", false, []string{"h2"}, []string{"postgresql", "h2"}, "", alertNoApplicationProtocol},
		{"asked for", "postgres", true, nil, []string{"postgresql"}, "postgresql", 0},
		{"asked for, on the route, too", "postgres", true, []string{"postgresql"}, []string{"postgresql"}, "postgresql", 0},
		{"direct, of several", "postgres", false, []string{"h2", "postgresql"}, []string{"h2", "postgresql"}, "postgresql", 0},
		{"asked for, of several", "postgres", true, []string{"h2", "postgresql"}, []string{"h2", "postgresql"}, "postgresql", 0},
		{"asked for, where the route has another", "postgres", true, []string{"h2"}, []string{"postgresql", "h2"}, "h2", 0},
		{"asked for, of nothing", "postgres", true, nil, nil, "", 0},
		{"asked for, of another", "postgres", true, nil, []string{"h2"}, "", 0},
		{"either, asked for", "auto", true, nil, []string{"postgresql"}, "postgresql", 0},
		{"either, direct", "auto", false, nil, []string{"postgresql"}, "postgresql", 0},
		{"either, of another", "auto", false, []string{"h2"}, []string{"h2"}, "h2", 0},
		{"either, where the route has another", "auto", false, []string{"h2"}, []string{"postgresql", "h2"}, "h2", 0},
		{"either, of several", "auto", false, []string{"h2", "postgresql"}, []string{"postgresql", "h2"}, "postgresql", 0},
		{"either, of nothing", "auto", false, nil, nil, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := asking(t, test.listener, func(o *setup) { o.ALPN = test.route })
			raw := b.raw()
			if test.asks {
				mustWrite(t, raw, sslRequest)
				b.wantBytes(raw, "S")
			}
			config := &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool(), NextProtos: test.offered}
			if test.alert != 0 {
				b.wantRefused(raw, config, test.alert)
				b.wantReason(ReasonNoALPN)
				return
			}
			client, err := b.handshake(raw, config)
			if err != nil {
				t.Fatal(err)
			}
			if got := client.ConnectionState().NegotiatedProtocol; got != test.negotiated {
				t.Errorf("negotiated %q", got)
			}
			sent := startup
			if test.listener == "auto" && test.negotiated != "postgresql" {
				sent = []byte("anything")
			}
			mustWrite(t, client, sent)
			b.wantBytes(b.accept(), string(sent))
		})
	}
}

// wantRefused wants a handshake to end with an alert, and takes the client away.
func (b *bench) wantRefused(raw net.Conn, config *tls.Config, alert tls.AlertError) {
	b.t.Helper()
	_, err := b.handshake(raw, config)
	wantAlert(b.t, err, alert)
	raw.Close()
}

// Without a name, the listener's is taken, in each of the protocols; without that the client is told in TLS.
func TestStartTLSWithoutName(t *testing.T) {
	for protocol, ask := range map[string]func(*bench) *net.TCPConn{
		"postgres": (*bench).asked,
		"auto":     (*bench).asked,
		"smtp":     (*bench).askedSMTP,
		"imap":     func(b *bench) *net.TCPConn { return b.askedIn("* OK", "a STARTTLS\r\n", "a OK") },
		"pop3":     func(b *bench) *net.TCPConn { return b.askedIn("+OK", "STLS\r\n", "+OK") },
		"ldap":     (*bench).askedLDAP,
	} {
		t.Run(protocol, func(t *testing.T) {
			b := asking(t, protocol, func(o *setup) { o.Listeners[0].DefaultName = "b.test" })
			b.backend.Close()
			client, err := b.handshake(ask(b), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := client.ConnectionState().PeerCertificates[0].DNSNames[0]; got != "b.test" {
				t.Errorf("certificate of %s", got)
			}
			client.NetConn().Close()
			b.line()

			b = asking(t, protocol, nil)
			b.wantRefused(ask(b), &tls.Config{InsecureSkipVerify: true}, alertMissingExtension)
			b.wantReason(ReasonNoSNI)
		})
	}
}

// A client behind a trusted proxy speaks after the header, in the same segment, too.
func TestPostgresBehindProxy(t *testing.T) {
	b := behindProxy(t, func(o *setup) { o.Listeners[0].StartTLS = startTLS(t, "postgres") })
	raw := b.raw()
	mustWrite(t, raw, append([]byte("PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n"), sslRequest...))
	b.wantBytes(raw, "S")
	client, err := b.handshake(raw, &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, client, startup)
	b.accept().Close()
	client.NetConn().Close()
	if line := b.line(); line["client"] != "192.0.2.7:1" || line["proxy_ms"] == nil || line["preamble_ms"] == nil {
		t.Errorf("line %v", line)
	}
}

// passingPostgres passes clients through that ask for TLS, or not, and has the server answer the request for it.
func passingPostgres(t *testing.T, answer string, serve func(*bench, net.Conn, *tls.Config)) *bench {
	b, config := passing(t, func(o *setup) { o.Listeners[0].StartTLS = startTLS(t, "postgres") })
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		conn := b.accept()
		defer conn.Close()
		b.wantBytes(conn, string(sslRequest))
		mustWrite(t, conn, []byte(answer))
		serve(b, conn, config)
	}()
	return b
}

// Through a listener of PostgreSQL's, the server is asked in its own words, and then gets the hello as it came.
func TestPostgresPassthrough(t *testing.T) {
	for _, asks := range []bool{true, false} {
		b := passingPostgres(t, "S", func(_ *bench, conn net.Conn, config *tls.Config) {
			session := tls.Server(conn, config)
			_, _ = io.Copy(session, session)
			session.Close()
		})
		raw := b.raw()
		if asks {
			mustWrite(t, raw, sslRequest)
			b.wantBytes(raw, "S")
		}
		client, err := b.handshake(raw, &tls.Config{ServerName: "c.test", RootCAs: b.ca.Pool(), NextProtos: []string{"postgresql"}})
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, client, startup)
		_ = client.CloseWrite()
		wantRead(t, client, startup, nil)
		raw.Close()
		if line := b.line(); line["reason"] != "ok" || line["protocol"] != "postgres" {
			t.Errorf("line %v", line)
		}
		if failures := b.route.Backend.Pool.Status().Servers[0].Failures; failures != 0 {
			t.Errorf("%d failures", failures)
		}
	}
}

// A server that begins no TLS is well; its client is told by an alert.
func TestPostgresPassthroughToPlaintext(t *testing.T) {
	b := passingPostgres(t, "N", func(*bench, net.Conn, *tls.Config) {})
	b.wantRefused(b.asked(), &tls.Config{ServerName: "c.test", RootCAs: b.ca.Pool()}, AlertInternalError)
	b.wantReason(ReasonServerRefused)
	if status := b.route.Backend.Pool.Status().Servers[0]; status.Failures != 0 {
		t.Errorf("server %+v", status)
	}
	b.wantNothingCounted()
}

// A server that answers in no protocol is to blame.
func TestPostgresPassthroughToAnother(t *testing.T) {
	b := passingPostgres(t, "220 mail.test ESMTP\r\n", func(*bench, net.Conn, *tls.Config) {})
	b.wantRefused(b.asked(), &tls.Config{ServerName: "c.test", RootCAs: b.ca.Pool()}, AlertInternalError)
	b.wantReason(ReasonNoBackend)
	if status := b.route.Backend.Pool.Status().Servers[0]; status.Failures != 1 {
		t.Errorf("server %+v", status)
	}
}

// A backend's own setting is for clients that begin with TLS, and for TLS of our own.
func TestBackendIsAsked(t *testing.T) {
	t.Run("passed through", func(t *testing.T) {
		b, config := passing(t, nil)
		b.route.Backend.StartTLS = startTLS(t, "postgres")
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn := b.accept()
			b.wantBytes(conn, string(sslRequest))
			mustWrite(t, conn, []byte("S"))
			_ = tls.Server(conn, config).Handshake()
		}()
		if _, err := b.dial("c.test", nil); err != nil {
			t.Fatal(err)
		}
		<-served
	})
	t.Run("encrypted again, directly", func(t *testing.T) {
		for _, test := range []struct {
			name, want string
			own        []string
		}{
			{"", "postgresql", nil},
			{"as configured", "other", []string{"other"}},
		} {
			b := asking(t, "postgres", nil)
			own, roots := b.ca.Issue(t, "a.test").TLS(), b.ca.Pool()
			b.route.Backend.TLS.Config = func() *tls.Config { return &tls.Config{RootCAs: roots, NextProtos: test.own} }
			served := make(chan struct{})
			go func() {
				defer close(served)
				session := tls.Server(b.accept(), &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"postgresql", "other"}})
				b.wantBytes(session, string(startup))
				if got := session.ConnectionState().NegotiatedProtocol; got != test.want {
					t.Errorf("%s: negotiated %q", test.name, got)
				}
			}()
			b.session("a.test")
			<-served
		}
	})
	t.Run("encrypted again", func(t *testing.T) {
		r := reencrypting(t, nil)
		r.route.Backend.StartTLS = startTLS(t, "postgres")
		r.route.Backend.Proxy = sender(t, proxyproto.Options{Version: proxyproto.V1})
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn := r.accept()
			readHeader(t, conn)
			r.wantBytes(conn, string(sslRequest))
			mustWrite(t, conn, []byte("S"))
			session := tls.Server(conn, r.config)
			r.wantBytes(session, "hello")
		}()
		client, err := r.dial("a.test", nil)
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, client, []byte("hello"))
		<-served
	})
}
