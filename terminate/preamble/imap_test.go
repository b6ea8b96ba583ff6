package preamble

import (
	"strings"
	"testing"
)

const (
	imapGreeting = "<* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] mx.example ready\r\n"
	imapReady    = "<a OK Begin TLS negotiation now\r\n"
)

func TestIMAPClients(t *testing.T) {
	negotiate(t, imap{}, []client{
		{name: "as most", script: talk{imapGreeting, ">a STARTTLS\r\n", imapReady}},
		{name: "in lower case, by hand", script: talk{imapGreeting, ">a starttls\n", imapReady}},
		{name: "as openssl", script: talk{
			imapGreeting, ">. CAPABILITY\r\n",
			"<* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n. OK CAPABILITY completed\r\n", ">. STARTTLS\r\n", "<. OK Begin TLS negotiation now\r\n",
		}},
		{name: "NOOP", script: talk{imapGreeting, ">a NOOP\r\n", "<a OK NOOP completed\r\n", ">a STARTTLS\r\n", imapReady}},
		{name: "a login, then TLS", script: talk{
			imapGreeting, ">a LOGIN me secret\r\n", "<a NO [PRIVACYREQUIRED] STARTTLS first\r\n",
			">a STARTTLS\r\n", imapReady,
		}},
		{
			name: "bytes behind STARTTLS", script: talk{imapGreeting, ">a STARTTLS\r\nb LOGIN x y\r\n", "<* BYE bytes behind the request for TLS\r\n"},
			segment: true, fault: Injection,
		},
		{name: "LOGOUT", script: talk{imapGreeting, ">a LOGOUT\r\n", "<* BYE Logging out\r\na OK LOGOUT completed\r\n"}, fault: ClosedEarly},
		{name: "no TLS", script: talk{
			imapGreeting, ">a AUTHENTICATE PLAIN c2VjcmV0\r\n", "<a NO [PRIVACYREQUIRED] STARTTLS first\r\n",
			">b LOGOUT\r\n", "<* BYE Logging out\r\nb OK LOGOUT completed\r\n",
		}, fault: Plaintext, says: "the client wants AUTHENTICATE without TLS"},
		{name: "a login with a literal", script: talk{imapGreeting, ">a LOGIN {2}\r\n", "<a NO [PRIVACYREQUIRED] STARTTLS first\r\n"}, fault: Plaintext},
		{name: "a login with a literal that comes at once", script: talk{
			imapGreeting, ">a LOGIN {10+}\r\nb STARTTLS\r\n x\r\n",
			"<a BAD No literals before STARTTLS\r\n* BYE No literals before STARTTLS\r\n",
		}, fault: Plaintext},
		{name: "a literal that comes at once", script: talk{
			imapGreeting, ">a SELECT {10+}\r\nb STARTTLS\r\n x\r\n",
			"<a BAD No literals before STARTTLS\r\n* BYE No literals before STARTTLS\r\n",
		}, fault: Malformed},
		{name: "a literal", script: talk{imapGreeting, ">a SELECT {5}\r\n", "<a BAD STARTTLS first\r\n", ">a STARTTLS\r\n", imapReady}},
		{name: "STARTTLS with an argument", script: talk{imapGreeting, ">a STARTTLS x\r\n", "<a BAD STARTTLS first\r\n"}, fault: ClosedEarly},
		{name: "HTTP", script: talk{
			imapGreeting, ">GET / HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nCookie: y\r\n\r\n",
			"<GET BAD STARTTLS first\r\nHost: BAD STARTTLS first\r\nAccept: BAD STARTTLS first\r\n* BYE too many commands\r\n",
		}, fault: Malformed},
		{name: "no tag", script: talk{
			imapGreeting, ">\r\n", "<* BAD Not a tag\r\n", ">+ NOOP\r\n", "<* BAD Not a tag\r\n",
			">" + strings.Repeat("t", 65) + " NOOP\r\n", "<* BAD Not a tag\r\n* BYE too many commands\r\n",
		}, fault: Malformed},
		{name: "a tag that is a placeholder", script: talk{
			imapGreeting, ">TAG CAPABILITY\r\n",
			"<* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nTAG OK CAPABILITY completed\r\n",
		}, fault: ClosedEarly},
		{name: "a tag alone", script: talk{imapGreeting, ">a\r\n", "<a BAD STARTTLS first\r\n"}, fault: ClosedEarly},
		{name: "TLS at once", script: talk{imapGreeting, ">" + hello, "<* BYE TLS where its request was expected\r\n"}, fault: Malformed},
		{name: "a line too long", script: talk{imapGreeting, ">a LOGIN " + strings.Repeat("x", longestLine), "<* BYE too long\r\n"}, fault: Malformed},
		{name: "nothing", script: talk{imapGreeting}, fault: ClosedEarly},
	})
}

func TestIMAPServers(t *testing.T) {
	const start = "<a STARTTLS\r\n"
	request(t, imap{}, []server{
		{name: "as Dovecot", script: talk{">* OK [CAPABILITY IMAP4rev1 STARTTLS] ready.\r\n", start, ">a OK Begin TLS negotiation now.\r\n"}},
		{name: "with more before the answer", script: talk{">* ok\r\n", start, ">* CAPABILITY IMAP4rev1\r\n* OK hm\r\na ok\r\n"}},
		{name: "no STARTTLS", script: talk{">* OK ready\r\n", start, ">a BAD what\r\n"}, fault: Plaintext, says: `"a BAD what"`},
		{name: "another tag", script: talk{">* OK ready\r\n", start, ">aa OK\r\n"}, fault: Plaintext},
		{name: "PREAUTH", script: talk{">* PREAUTH welcome\r\n"}, fault: Plaintext},
		{name: "BYE", script: talk{">* BYE full\r\n"}, fault: Plaintext, says: "full"},
		{name: "OKAY", script: talk{">* OKAY\r\n"}, fault: Plaintext},
		{name: "bytes behind the answer", script: talk{">* OK ready\r\n", start, ">a OK go\r\n* x"}, segment: true, fault: Injection},
		{name: "endless", script: talk{">* OK ready\r\n", start, ">" + strings.Repeat("* x\r\n", 101)}, fault: Malformed},
		{name: "TLS", script: talk{">" + hello}, fault: Malformed},
		{name: "away", script: talk{">* OK ready\r\n", start}, fault: ClosedEarly},
	})
}

func TestIMAPGreetings(t *testing.T) {
	swallow(t, imap{}, []welcome{
		{name: "ready", said: "* OK [CAPABILITY IMAP4rev1] ready\r\n"},
		{name: "full", said: "* BYE full\r\n", refusal: "* BYE full\r\n"},
		{name: "more behind", said: "* OK x\r\n* y\r\n", unread: "* y\r\n"},
		{name: "PREAUTH", said: "* PREAUTH hello root\r\n", fault: Malformed},
		{name: "POP3", said: "+OK\r\n", fault: Malformed},
		{name: "too long", said: "* OK " + strings.Repeat("x", longestReply) + "\r\n", fault: Malformed},
		{name: "nothing", said: "", fault: ClosedEarly},
	})
}
