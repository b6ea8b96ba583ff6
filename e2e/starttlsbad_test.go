package e2e

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// How a client of each protocol asks for TLS, and what it hears before and after: the last of what it hears ends with a line.
var startTLSWords = map[string][]string{
	"smtp": {"", "220 ", "EHLO client.example\r\n", "STARTTLS", "STARTTLS\r\n", "220 "},
	"imap": {"", "* OK ", "a STARTTLS\r\n", "a OK "},
	"pop3": {"", "+OK ", "STLS\r\n", "+OK "},
	"ldap": {startTLSLDAP, "\x0a\x01\x00"},
}

// startTLSLDAP is the request of StartTLS as ldapsearch sends it.
const startTLSLDAP = "\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"

// startTLS is a client of the protocol, for a.example, that has TLS now.
func (g *gate) startTLS(protocol string) *client {
	g.t.Helper()
	conn := dialRaw(g.t, g.address)
	dialogue(g.t, conn, startTLSWords[protocol]...)
	c, err := handshakeOver(conn, "a.example")
	if err != nil {
		g.t.Fatalf("%s: %v", protocol, err)
	}
	return c
}

// dialogue says something and hears something, in turn.
func dialogue(t testing.TB, conn net.Conn, words ...string) {
	t.Helper()
	buffer := make([]byte, 1024)
	for i := 0; i < len(words); i += 2 {
		io.WriteString(conn, words[i])
		heard := ""
		for !strings.Contains(heard, words[i+1]) {
			n, err := conn.Read(buffer)
			if err != nil {
				t.Fatalf("said %q, heard %q, want %q: %v", words[i], heard, words[i+1], err)
			}
			heard += string(buffer[:n])
		}
	}
}

// rest reads to the end of what the server says.
func (c *client) rest(t testing.TB) string {
	t.Helper()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("after %q: %v", got, err)
	}
	return string(got)
}

// Clients that do not do what their protocol wants before TLS are told so in the protocol's words, where it has some, and closed
// soon; each is counted by its reason, and the server behind hears nothing of any.
func TestStartTLSBadClients(t *testing.T) {
	t.Parallel()
	const http = "GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: e2e\r\nAccept: */*\r\n\r\n"
	large := strings.Repeat("A", 1<<20)
	hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	for protocol, clients := range map[string][]struct{ name, sends, answer, reason string }{
		"postgres": {
			{"another protocol", http, "", "preamble"},
			{"garbage", "\x00\x00\x00\x10\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99", "C0A000\x00", "preamble"},
			{"a megabyte", large, "", "preamble"},
			{"half a request", string(sslRequest[:5]), "", "timeout"},
			{"nothing", "", "", "timeout"},
			{"no TLS behind the S", string(sslRequest), "S", "timeout"},
			{"no TLS", string(postgresStart("app")), "C28000\x00", "plaintext"},
			{"more behind the request", string(sslRequest) + string(postgresStart("app")), "C08P01\x00", "injection"},
			{"a cancel of the wrong length", string(postgresRequest(80877102, 1, 2, 3)), "", "preamble"},
		},
		"smtp": {
			{"another protocol", http, "421 ", "preamble"},
			{"garbage", "\x00\x01\x02\x03\r\n", "421 ", "preamble"},
			{"a megabyte", large, "421 ", "preamble"},
			{"a megabyte of commands", strings.Repeat("NOOP\r\n", 1<<17), "421 ", "preamble"},
			{"half a command", "EHLO", "421 ", "timeout"},
			{"nothing", "", "421 ", "timeout"},
			{"mail without TLS", "EHLO a\r\nMAIL FROM:<a@a.example>\r\nQUIT\r\n", "530 5.7.0 ", "plaintext"},
			{"a command behind STARTTLS", "EHLO a\r\nSTARTTLS\r\nMAIL FROM:<a@a.example>\r\n", "421 ", "injection"},
			{"TLS at once", hello, "421 ", "preamble"},
		},
		"imap": {
			{"another protocol", http, "* BYE ", "preamble"},
			{"garbage", "\x00\x01\x02\x03\r\n", "* BYE ", "preamble"},
			{"a megabyte", large, "* BYE ", "preamble"},
			{"a megabyte of commands", strings.Repeat("a NOOP\r\n", 1<<17), "* BYE ", "preamble"},
			{"half a command", "a STARTT", "* BYE ", "timeout"},
			{"a password without TLS", "a LOGIN user secret\r\nb LOGOUT\r\n", "a NO [PRIVACYREQUIRED]", "plaintext"},
			{"a command behind STARTTLS", "a STARTTLS\r\nb LOGIN user secret\r\n", "* BYE ", "injection"},
			{"TLS at once", hello, "* BYE ", "preamble"},
		},
		"pop3": {
			{"another protocol", http, "-ERR ", "preamble"},
			{"garbage", "\x00\x01\x02\x03\r\n", "-ERR ", "preamble"},
			{"a megabyte", large, "-ERR ", "preamble"},
			{"half a command", "ST", "-ERR ", "timeout"},
			{"a password without TLS", "USER user\r\nQUIT\r\n", "-ERR STLS first", "plaintext"},
			{"a command behind STLS", "STLS\r\nUSER user\r\n", "-ERR ", "injection"},
			{"TLS at once", hello, "-ERR ", "preamble"},
		},
		"ldap": {
			{"another protocol", http, "1.3.6.1.4.1.1466.20036", "preamble"},
			{"garbage", "\x00\x01\x02\x03", "1.3.6.1.4.1.1466.20036", "preamble"},
			{"a megabyte", "\x30\x84\x00\x10\x00\x00" + large, "1.3.6.1.4.1.1466.20036", "preamble"},
			{"half a request", startTLSLDAP[:9], "", "timeout"},
			{"a bind without TLS", "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00\x30\x05\x02\x01\x02\x42\x00", "\x61\x15\x0a\x01\x0d", "plaintext"},
			{"more behind StartTLS", startTLSLDAP + "\x30\x05\x02\x01\x02\x42\x00", "\x0a\x01\x01", "injection"},
			{"TLS at once", hello, "1.3.6.1.4.1.1466.20036", "preamble"},
		},
		"auto": {
			{"another protocol", http, "", "preamble"},
			{"no TLS", string(postgresStart("app")), "C28000\x00", "plaintext"},
			{"nothing", "", "", "timeout"},
		},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newMail(t, protocol, "limits: {hello_timeout: 1s}")
			counted := map[string]int{}
			for _, c := range clients {
				began := time.Now()
				got, _ := exchange(t, w.address, []byte(c.sends))
				took := time.Since(began)
				counted[c.reason]++
				if !strings.Contains(string(got), c.answer) || c.answer == "" && len(got) > 0 {
					t.Errorf("%s: answered %q, want %q", c.name, got, c.answer)
				}
				if took > 5*time.Second || c.reason == "timeout" && took < time.Second {
					t.Errorf("%s: closed after %v", c.name, took)
				}
				w.eventually(c.name+" is counted as "+c.reason, func() bool { return w.refusals(c.reason) == counted[c.reason] })
				if series := w.preambles(protocol, c.reason); c.name != "no TLS behind the S" && series < 1 {
					t.Errorf("%s: the metric says %v", c.name, series)
				}
			}
			w.backend.wantNone(t)
		})
	}
}
