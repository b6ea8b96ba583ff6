package preamble

import (
	"strings"
	"testing"
)

const (
	pop3Greeting = "<+OK mx.example ready\r\n"
	pop3Ready    = "<+OK Begin TLS negotiation\r\n"
)

func TestPOP3Clients(t *testing.T) {
	negotiate(t, pop3{}, []client{
		{name: "as most", script: talk{pop3Greeting, ">CAPA\r\n", "<+OK\r\nSTLS\r\n.\r\n", ">STLS\r\n", pop3Ready}},
		{name: "in lower case, by hand", script: talk{pop3Greeting, ">stls\n", pop3Ready}},
		{name: "a login, then TLS", script: talk{pop3Greeting, ">USER me\r\n", "<-ERR STLS first\r\n", ">STLS\r\n", pop3Ready}},
		{
			name: "bytes behind STLS", script: talk{pop3Greeting, ">STLS\r\nUSER me\r\n", "<-ERR bytes behind the request for TLS\r\n"},
			segment: true, fault: Injection,
		},
		{name: "STLS with an argument", script: talk{pop3Greeting, ">STLS x\r\n", "<-ERR STLS takes no argument\r\n"}, fault: ClosedEarly},
		{name: "QUIT", script: talk{pop3Greeting, ">QUIT\r\n", "<+OK Bye\r\n"}, fault: ClosedEarly},
		{
			name: "no TLS", script: talk{pop3Greeting, ">USER me\r\nPASS secret\r\n", "<-ERR STLS first\r\n-ERR STLS first\r\n", ">QUIT\r\n", "<+OK Bye\r\n"},
			fault: Plaintext, says: "the client wants PASS without TLS",
		},
		{name: "APOP", script: talk{pop3Greeting, ">APOP me 0\r\n", "<-ERR STLS first\r\n"}, fault: Plaintext},
		{name: "twenty passwords", script: talk{
			pop3Greeting, ">" + strings.Repeat("PASS x\r\n", 21),
			"<" + strings.Repeat("-ERR STLS first\r\n", 20) + "-ERR too many commands\r\n",
		}, fault: Plaintext},
		{name: "HTTP", script: talk{
			pop3Greeting, ">GET / HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
			"<-ERR STLS first\r\n-ERR STLS first\r\n-ERR STLS first\r\n-ERR too many commands\r\n",
		}, fault: Malformed},
		{name: "TLS at once", script: talk{pop3Greeting, ">" + hello, "<-ERR TLS where its request was expected\r\n"}, fault: Malformed},
		{name: "a megabyte", script: talk{pop3Greeting, ">" + strings.Repeat("x", 1<<20), "<-ERR too long\r\n"}, fault: Malformed},
		{name: "nothing", script: talk{pop3Greeting}, fault: ClosedEarly},
	})
}

func TestPOP3Servers(t *testing.T) {
	request(t, pop3{}, []server{
		{name: "as Dovecot", script: talk{">+OK Dovecot ready. <1.2@x>\r\n", "<STLS\r\n", ">+OK Begin TLS negotiation now.\r\n"}},
		{name: "no STLS", script: talk{">+OK\r\n", "<STLS\r\n", ">-ERR what\r\n"}, fault: Plaintext, says: `"-ERR what"`},
		{name: "not now", script: talk{">-ERR full\r\n"}, fault: Plaintext, says: "full"},
		{name: "bytes behind the answer", script: talk{">+OK\r\n", "<STLS\r\n", ">+OK\r\n+OK\r\n"}, segment: true, fault: Injection},
		{name: "TLS", script: talk{">" + hello}, fault: Malformed},
		{name: "away", script: talk{">+OK\r\n", "<STLS\r\n"}, fault: ClosedEarly},
	})
}

func TestPOP3Greetings(t *testing.T) {
	swallow(t, pop3{}, []welcome{
		{name: "ready", said: "+OK <1.2@x>\r\n"},
		{name: "full", said: "-ERR full\r\n", refusal: "-ERR full\r\n"},
		{name: "more behind", said: "+OK x\r\n+OK y\r\n", unread: "+OK y\r\n"},
		{name: "IMAP", said: "* OK\r\n", fault: Malformed},
		{name: "nothing", said: "", fault: ClosedEarly},
	})
}

// What a protocol does not say is nothing to write, and what it does ends a line.
func TestFarewells(t *testing.T) {
	for name, want := range map[string]string{
		"postgres": "", "auto": "", "ldap": "",
		"smtp": "421 4.4.2 mx.example took too long, closing the connection\r\n",
		"imap": "* BYE Took too long\r\n",
		"pop3": "-ERR Took too long\r\n",
	} {
		p, ok := Named(name)
		if got := string(p.Farewell("mx.example")); !ok || got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if _, ok := Named(""); ok {
		t.Error("a protocol without a name")
	}
}
