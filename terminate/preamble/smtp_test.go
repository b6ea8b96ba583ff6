package preamble

import (
	"strings"
	"testing"
)

const (
	smtpGreeting = "<220 mx.example ESMTP\r\n"
	smtpOffer    = "<250-mx.example\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n"
	smtpReady    = "<220 2.0.0 Ready to start TLS\r\n"
	smtpFirst    = "<530 5.7.0 Must issue a STARTTLS command first\r\n"
)

func TestSMTPClients(t *testing.T) {
	twenty := talk{smtpGreeting}
	for range 20 {
		twenty = append(twenty, ">NOOP\r\n", "<250 2.0.0 OK\r\n")
	}
	negotiate(t, smtp{}, []client{
		{name: "as most", script: talk{smtpGreeting, ">EHLO me\r\n", smtpOffer, ">STARTTLS\r\n", smtpReady}},
		{name: "in lower case, by hand", script: talk{smtpGreeting, ">ehlo me\n", smtpOffer, ">starttls\n", smtpReady}},
		{name: "at once", script: talk{smtpGreeting, ">STARTTLS\r\n", smtpReady}},
		{name: "in one segment", script: talk{smtpGreeting, ">EHLO me\r\nSTARTTLS\r\n", smtpOffer, smtpReady}},
		{name: "what may come before", script: talk{
			smtpGreeting, ">HELO me\r\n", "<250 mx.example\r\n", ">NOOP\r\n", "<250 2.0.0 OK\r\n",
			">RSET\r\n", "<250 2.0.0 OK\r\n", ">STARTTLS\r\n", smtpReady,
		}},
		{name: "mail, then TLS", script: talk{smtpGreeting, ">MAIL FROM:<a@b>\r\n", smtpFirst, ">STARTTLS\r\n", smtpReady}},
		{name: "bytes behind STARTTLS", script: talk{
			smtpGreeting, ">STARTTLS\r\nMAIL FROM:<a@b>\r\n",
			"<421 4.7.0 mx.example bytes behind the request for TLS, closing the connection\r\n",
		}, segment: true, fault: Injection},
		{name: "a hello behind STARTTLS", script: talk{
			smtpGreeting, ">STARTTLS\r\n" + hello,
			"<421 4.7.0 mx.example bytes behind the request for TLS, closing the connection\r\n",
		}, segment: true, fault: Injection},
		{
			name: "STARTTLS with an argument", script: talk{smtpGreeting, ">STARTTLS now\r\n", "<501 5.5.4 STARTTLS takes no argument\r\n"},
			fault: ClosedEarly,
		},
		{name: "EHLO without a name", script: talk{smtpGreeting, ">EHLO\r\n", "<501 5.5.4 EHLO needs a name\r\n"}, fault: ClosedEarly},
		{name: "QUIT", script: talk{smtpGreeting, ">QUIT\r\n", "<221 2.0.0 mx.example closing the connection\r\n"}, fault: ClosedEarly},
		{name: "no TLS", script: talk{
			smtpGreeting, ">EHLO me\r\n", smtpOffer, ">AUTH PLAIN c2VjcmV0\r\n", smtpFirst,
			">QUIT\r\n", "<221 2.0.0 mx.example closing the connection\r\n",
		}, fault: Plaintext, says: "the client wants AUTH without TLS"},
		{name: "no TLS and away", script: talk{smtpGreeting, ">MAIL FROM:<a@b>\r\n", smtpFirst}, fault: Plaintext},
		{name: "HTTP", script: talk{
			smtpGreeting, ">GET / HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nCookie: y\r\n\r\n", smtpFirst, smtpFirst, smtpFirst,
			"<421 4.7.0 mx.example too many commands, closing the connection\r\n",
		}, fault: Malformed},
		{name: "TLS at once", script: talk{
			smtpGreeting, ">" + hello,
			"<421 4.7.0 mx.example TLS where its request was expected, closing the connection\r\n",
		}, fault: Malformed},
		{name: "not text", script: talk{smtpGreeting, ">EHLO \x01", "<421 4.7.0 mx.example not text, closing the connection\r\n"}, fault: Malformed},
		{name: "a carriage return within a line", script: talk{
			smtpGreeting, ">NOOP\rSTARTTLS\r\n",
			"<421 4.7.0 mx.example not text, closing the connection\r\n",
		}, fault: Malformed},
		{name: "a line too long", script: talk{
			smtpGreeting, ">" + strings.Repeat("x", longestLine),
			"<421 4.7.0 mx.example too long, closing the connection\r\n",
		}, fault: Malformed},
		{name: "the longest line", script: talk{
			smtpGreeting, ">EHLO " + strings.Repeat("x", longestLine-7) + "\r\n", smtpOffer,
			">STARTTLS\r\n", smtpReady,
		}},
		{name: "too many commands", script: append(twenty, "<421 4.7.0 mx.example too many commands, closing the connection\r\n"), fault: Malformed},
		{name: "nothing", script: talk{smtpGreeting}, fault: ClosedEarly},
		{name: "half a line", script: talk{smtpGreeting, ">EHLO m"}, fault: ClosedEarly},
	})
}

func TestSMTPServers(t *testing.T) {
	const ehlo, start = "<EHLO lb.example\r\n", "<STARTTLS\r\n"
	request(t, smtp{}, []server{
		{name: "as Postfix", script: talk{
			">220 mx ESMTP Postfix\r\n", ehlo, ">250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 CHUNKING\r\n",
			start, ">220 2.0.0 Ready to start TLS\r\n",
		}},
		{name: "a greeting of two lines", script: talk{">220-wait\r\n220 mx\r\n", ehlo, ">250-mx\r\n250 starttls\r\n", start, ">220\r\n"}},
		{name: "a code alone in a reply", script: talk{">220\r\n", ehlo, ">250-\r\n250-STARTTLS\r\n250\r\n", start, ">220 x\r\n"}},
		{
			name: "no STARTTLS", script: talk{">220 mx\r\n", ehlo, ">250-mx\r\n250-STARTTLSX\r\n250 PIPELINING\r\n"}, fault: Plaintext,
			says: "the server offers no TLS",
		},
		{name: "no mail", script: talk{">554 no mail here\r\n"}, fault: Plaintext, says: `"554 no mail here"`},
		{name: "no EHLO", script: talk{">220 mx\r\n", ehlo, ">502 what\r\n"}, fault: Plaintext},
		{
			name: "not now", script: talk{">220 mx\r\n", ehlo, ">250-mx\r\n250 STARTTLS\r\n", start, ">454 4.7.0 TLS not available\r\n"},
			fault: Plaintext, says: "TLS not available",
		},
		{
			name: "bytes behind the answer", script: talk{">220 mx\r\n", ehlo, ">250-mx\r\n250 STARTTLS\r\n", start, ">220 go\r\n250 evil\r\n"},
			segment: true, fault: Injection,
		},
		{name: "IMAP", script: talk{">* OK ready\r\n"}, fault: Malformed},
		{name: "a code that is none", script: talk{">920 mx\r\n"}, fault: Malformed},
		{name: "a number", script: talk{">2200\r\n"}, fault: Malformed},
		{name: "TLS", script: talk{">" + hello}, fault: Malformed, says: "TLS where"},
		{name: "endless", script: talk{">" + strings.Repeat("220-x\r\n", 101)}, fault: Malformed, says: "too long"},
		{name: "long", script: talk{">" + strings.Repeat("220-"+strings.Repeat("x", 1000)+"\r\n", 17)}, fault: Malformed, says: "too long"},
		{name: "away", script: talk{">220 mx\r\n", ehlo, ">250-mx\r\n"}, fault: ClosedEarly},
	})
}

func TestSMTPGreetings(t *testing.T) {
	swallow(t, smtp{}, []welcome{
		{name: "ready", said: "220 mx ESMTP\r\n"},
		{name: "postscreen", said: "220-wait\r\n220 mx ESMTP\r\n"},
		{name: "no mail", said: "554-mx\r\n554 go away\r\n", refusal: "554-mx\r\n554 go away\r\n"},
		{name: "busy", said: "421 busy\r\n", refusal: "421 busy\r\n"},
		{name: "busy, with more", said: "421 busy\r\n500 x", refusal: "421 busy\r\n500 x", segment: true},
		{name: "more behind", said: "220 mx\r\n250 x\r\n", unread: "250 x\r\n"},
		{name: "another code", said: "250 mx\r\n", fault: Malformed},
		{name: "a question", said: "354 go on\r\n", fault: Malformed},
		{name: "IMAP", said: "* OK\r\n", fault: Malformed},
		{name: "half", said: "220 mx", fault: ClosedEarly},
		{name: "nothing", said: "", fault: ClosedEarly},
	})
}
