package terminate

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"hellogate/terminate/proxyproto"
)

// readLine reads a line, and no byte more.
func (b *bench) readLine(from io.Reader) string {
	b.t.Helper()
	var line []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(line), "\n"); line = append(line, one...) {
		if _, err := io.ReadFull(from, one); err != nil {
			b.t.Fatalf("after %q: %v", line, err)
		}
	}
	return string(line)
}

// askedIn asks for TLS where the greeting and the answer begin so.
func (b *bench) askedIn(greeting, request, answer string) *net.TCPConn {
	b.t.Helper()
	raw := b.raw()
	if line := b.readLine(raw); !strings.HasPrefix(line, greeting) {
		b.t.Fatalf("greeting %q", line)
	}
	mustWrite(b.t, raw, []byte(request))
	if line := b.readLine(raw); !strings.HasPrefix(line, answer) {
		b.t.Fatalf("answer %q", line)
	}
	return raw
}

func (b *bench) askedSMTP() *net.TCPConn {
	b.t.Helper()
	raw := b.raw()
	b.readLine(raw)
	mustWrite(b.t, raw, []byte("EHLO client.test\r\n"))
	for !strings.HasPrefix(b.readLine(raw), "250 ") {
	}
	mustWrite(b.t, raw, []byte("STARTTLS\r\n"))
	if line := b.readLine(raw); !strings.HasPrefix(line, "220") {
		b.t.Fatalf("answer %q", line)
	}
	return raw
}

func (b *bench) askedLDAP() *net.TCPConn {
	b.t.Helper()
	raw := b.raw()
	const oid = "1.3.6.1.4.1.1466.20037"
	request := append([]byte{0x30, byte(5 + 2 + len(oid)), 2, 1, 1, 0x77, byte(2 + len(oid)), 0x80, byte(len(oid))}, oid...)
	mustWrite(b.t, raw, request)
	answer := make([]byte, 2)
	_, _ = io.ReadFull(raw, answer)
	if _, err := io.ReadFull(raw, make([]byte, answer[1])); err != nil || answer[0] != 0x30 {
		b.t.Fatalf("answer %x: %v", answer, err)
	}
	return raw
}

// The client has had a greeting: the server's is not for it, but what is behind that is.
func TestGreetingIsSwallowed(t *testing.T) {
	for _, test := range []struct {
		protocol, greeting string
		ask                func(*bench) *net.TCPConn
	}{
		{"smtp", "220-mail.test\r\n220 ESMTP\r\n", (*bench).askedSMTP},
		{"imap", "* OK ready\r\n", func(b *bench) *net.TCPConn { return b.askedIn("* OK", "a STARTTLS\r\n", "a OK") }},
		{"pop3", "+OK ready <1@a>\r\n", func(b *bench) *net.TCPConn { return b.askedIn("+OK", "STLS\r\n", "+OK") }},
	} {
		for _, encrypts := range []bool{false, true} {
			t.Run(test.protocol, func(t *testing.T) {
				b := asking(t, test.protocol, nil)
				b.route.Backend.Proxy = sender(t, proxyproto.Options{Version: proxyproto.V2})
				own := b.ca.Issue(t, "a.test").TLS()
				if encrypts {
					roots := b.ca.Pool()
					b.route.Backend.TLS.Config = func() *tls.Config { return &tls.Config{RootCAs: roots} }
				}
				served := make(chan struct{})
				go func() {
					defer close(served)
					raw := b.accept()
					readHeader(t, raw)
					var conn io.ReadWriter = raw
					if encrypts {
						conn = tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{own}})
					}
					mustWrite(t, conn, []byte(test.greeting+"too early\r\n"))
					b.wantBytes(conn, "first words")
					mustWrite(t, conn, []byte("an answer"))
					raw.Close()
				}()
				client, err := b.handshake(test.ask(b), &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()})
				if err != nil {
					t.Fatal(err)
				}
				mustWrite(t, client, []byte("first words"))
				b.wantBytes(client, "too early\r\nan answer")
				<-served
				client.NetConn().Close()
				if line := b.line(); line["protocol"] != test.protocol || line["bytes_out"] != float64(len("too early\r\nan answer")) {
					t.Errorf("line %v", line)
				}
				b.wantPreamble(test.protocol, "starttls")
				b.wantNothingCounted()
			})
		}
	}
}

// What a server says that sends its client away is what the client is told.
func TestGreetingThatRefuses(t *testing.T) {
	for protocol, test := range map[string]struct {
		refusal string
		ask     func(*bench) *net.TCPConn
	}{
		"smtp": {"554 no service\r\n", (*bench).askedSMTP},
		"imap": {"* BYE full\r\n", func(b *bench) *net.TCPConn { return b.askedIn("* OK", "a STARTTLS\r\n", "a OK") }},
		"pop3": {"-ERR locked\r\n", func(b *bench) *net.TCPConn { return b.askedIn("+OK", "STLS\r\n", "+OK") }},
	} {
		t.Run(protocol, func(t *testing.T) {
			b := asking(t, protocol, nil)
			go func() { mustWrite(t, b.accept(), []byte(test.refusal)) }()
			client, err := b.handshake(test.ask(b), &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()})
			if err != nil {
				t.Fatal(err)
			}
			wantRead(t, client, []byte(test.refusal), nil)
			client.NetConn().Close()
			b.wantReason(ReasonServerRefused)
			b.wantNothingCounted()
			if failures := b.route.Backend.Pool.Status().Servers[0].Failures; failures != 0 {
				t.Errorf("%d failures", failures)
			}
		})
	}
}

// A server that does not greet in time is one that can't be reached: another is tried.
func TestGreetingThatDoesNotCome(t *testing.T) {
	b := asking(t, "smtp", nil)
	proper := b.route.Backend
	b.route.Backend = backendOf(t, "main", silent(t), proper.Pool.Status().Servers[0].Address)
	b.route.Backend.ConnectTimeout = 200 * time.Millisecond
	go func() {
		for range 2 { // whichever of the two comes first
			conn := b.accept()
			mustWrite(t, conn, []byte("220 ESMTP\r\nhello"))
		}
	}()
	for range 2 {
		client, err := b.handshake(b.askedSMTP(), &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		b.wantBytes(client, "hello")
	}
	if failures := b.route.Backend.Pool.Status().Servers[0].Failures; failures != 1 {
		t.Errorf("%d failures", failures)
	}
}

// What a server did not do right is told as what it was.
func TestGreetingInTheLog(t *testing.T) {
	for _, test := range []struct{ greeting, want string }{
		{"", ": greeting: closed_early: the peer closed the connection"},
		{"HTTP/1.1 400 Bad Request\r\n", `: greeting: preamble: the server's greeting: "HTTP/1.1 400 Bad Request"`},
	} {
		b := asking(t, "smtp", nil)
		go func() {
			conn := b.accept()
			_, _ = io.WriteString(conn, test.greeting)
			conn.Close()
		}()
		if _, err := b.handshake(b.askedSMTP(), &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()}); err != nil {
			t.Fatal(err)
		}
		if line := b.line(); line["reason"] != "no_backend" || !strings.HasSuffix(line["error"].(string), test.want) {
			t.Errorf("line %v", line)
		}
	}
}

// A client of mail that says nothing is told why it ends; one that speaks too early, too.
func TestGreetingOfTheSlow(t *testing.T) {
	b := asking(t, "smtp", func(o *setup) {
		o.Limits.Hello = 200 * time.Millisecond
		o.Listeners[0].DefaultName = "mail.test"
	})
	raw := b.raw()
	got, err := io.ReadAll(raw)
	if err != nil || !strings.HasPrefix(string(got), "220 mail.test ") || !strings.Contains(string(got), "\r\n421 ") {
		t.Errorf("%q: %v", got, err)
	}
	raw.Close()
	if line := b.line(); line["stage"] != "preamble" || line["reason"] != "timeout" {
		t.Errorf("line %v", line)
	}
	raw = b.raw()
	b.readLine(raw)
	mustWrite(t, raw, []byte("STARTTLS\r\nMAIL FROM:<evil@test>\r\n"))
	_, _ = io.ReadAll(raw)
	raw.Close()
	b.wantReason(ReasonInjection)
	b.wantUndialled()
}

// A server that takes no STARTTLS is well, and its client reset: the handshake was over.
func TestServerWithoutStartTLS(t *testing.T) {
	r := reencrypting(t, nil)
	r.route.Backend.StartTLS = startTLS(t, "smtp")
	go func() {
		conn := r.accept()
		mustWrite(t, conn, []byte("220 ESMTP\r\n"))
		r.readLine(conn)
		mustWrite(t, conn, []byte("250 mail.test\r\n"))
		_, _ = io.Copy(io.Discard, conn)
	}()
	client, err := r.dial("a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRead(t, client, nil, syscall.ECONNRESET)
	r.wantReason(ReasonServerRefused)
	if failures := r.route.Backend.Pool.Status().Servers[0].Failures; failures != 0 {
		t.Errorf("%d failures", failures)
	}
}

// A server that has greeted has answered: what resets it then is not held against it.
func TestGreetingIsAnAnswer(t *testing.T) {
	b := asking(t, "smtp", nil)
	go func() {
		conn := b.accept()
		mustWrite(t, conn, []byte("220 ESMTP\r\n"))
		b.wantBytes(conn, "EHLO")
		abort(t, conn)
	}()
	client, err := b.handshake(b.askedSMTP(), &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, client, []byte("EHLO"))
	wantRead(t, client, nil, syscall.ECONNRESET)
	b.wantReason(ReasonServerReset)
	if resets := b.route.Backend.Pool.Status().Servers[0].EarlyResets; resets != 0 {
		t.Errorf("%d early resets", resets)
	}
}
