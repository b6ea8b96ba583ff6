package preamble

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// smtp is SMTP with STARTTLS (RFC 3207). Within TLS the client begins anew with EHLO (section 4.2): the server behind needs to
// know nothing of what was said here.
type smtp struct{}

func (smtp) Negotiate(conn io.ReadWriter, host string) (Opening, error) {
	d := dialogue{greeting: "220 " + host + " ESMTP\r\n"}
	d.farewell = func(why string) string { return "421 4.7.0 " + host + " " + why + ", closing the connection\r\n" }
	d.answer = func(line string) (string, verdict) {
		verb, argument, _ := strings.Cut(line, " ")
		verb, argument = strings.ToUpper(verb), strings.TrimSpace(argument)
		text, v := answerSMTP(host, verb, argument)
		if v == refused {
			d.wanted = verb
		}
		return text, v
	}
	return d.run(conn)
}

func answerSMTP(host, verb, argument string) (string, verdict) {
	switch verb {
	case "EHLO", "HELO":
		switch {
		case argument == "":
			return "501 5.5.4 " + verb + " needs a name\r\n", unknown
		case verb == "HELO":
			return "250 " + host + "\r\n", answered
		}
		return "250-" + host + "\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n", answered
	case "STARTTLS":
		if argument != "" {
			return "501 5.5.4 STARTTLS takes no argument\r\n", unknown
		}
		return "220 2.0.0 Ready to start TLS\r\n", begin
	case "NOOP", "RSET":
		return "250 2.0.0 OK\r\n", answered
	case "QUIT":
		return "221 2.0.0 " + host + " closing the connection\r\n", leave
	}
	const mustStart = "530 5.7.0 Must issue a STARTTLS command first\r\n" // of every other command (RFC 3207, section 4)
	switch verb {
	case "MAIL", "RCPT", "DATA", "BDAT", "AUTH", "VRFY", "EXPN", "ETRN", "HELP":
		return mustStart, refused
	}
	return mustStart, unknown
}

func (smtp) Request(conn io.ReadWriter, host string) error {
	in := newInbox(conn, longestReply)
	if err := in.reply("220", "the server's greeting", nil); err != nil {
		return err
	}
	if err := send(conn, "EHLO "+host+"\r\n"); err != nil {
		return err
	}
	offered := false
	err := in.reply("250", "EHLO", func(line string) { offered = offered || strings.EqualFold(strings.TrimSpace(line[4:]), "STARTTLS") })
	if err != nil {
		return err
	}
	if !offered {
		return &Error{Plaintext, errNoTLS}
	}
	if err := send(conn, "STARTTLS\r\n"); err != nil {
		return err
	}
	return in.last(in.reply("220", "STARTTLS", nil))
}

var errNoTLS = errors.New("the server offers no TLS")

// last is the error for the answer behind which TLS begins.
func (b *inbox) last(err error) error {
	if err == nil && len(b.held) > 0 {
		return fault(Injection, "bytes of the server behind its answer to the request for TLS")
	}
	return err
}

// reply reads the reply to what was asked, of one line or more (RFC 5321, section 4.2.1), and has each line that is as it is
// wanted shown, which is four bytes or longer. A reply with another code is an error.
func (b *inbox) reply(code, asked string, show func(line string)) error {
	return b.expect(func(line string) (bool, error) {
		got, last, ok := replyLine(line)
		switch {
		case !ok:
			return true, fault(Malformed, "%s: %.200q", asked, line)
		case got != code:
			return true, fault(Plaintext, "%s: %.200q", asked, line)
		case show != nil && len(line) >= 4:
			show(line)
		}
		return last, nil
	})
}

// replyLine takes a line of a reply apart: the code, and whether it is the last.
func replyLine(line string) (code string, last, ok bool) {
	if len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" || line[0] < '2' || line[0] > '5' {
		return "", false, false
	}
	if len(line) == 3 || line[3] == ' ' {
		return line[:3], true, true
	}
	return line[:3], false, line[3] == '-'
}

func (smtp) Swallow(conn io.Reader) (Greeting, error) {
	in := newInbox(conn, longestReply)
	var said strings.Builder
	ready := false
	err := in.expect(func(line string) (bool, error) {
		code, last, ok := replyLine(line)
		if !ok || code[0] == '3' || code[0] == '2' && code != "220" {
			return true, noGreeting(line)
		}
		ready = code == "220"
		fmt.Fprintf(&said, "%s\r\n", line)
		return last, nil
	})
	return in.greeting(said.String(), ready, err)
}

// greeting is what a server said first, which says that it is ready, or that it is not.
func (b *inbox) greeting(said string, ready bool, err error) (Greeting, error) {
	switch {
	case err != nil:
		return Greeting{}, err
	case ready:
		return Greeting{Unread: b.rest()}, nil
	}
	return Greeting{Refusal: append([]byte(said), b.held...)}, nil
}

func noGreeting(line string) error { return fault(Malformed, "the server's greeting: %.200q", line) }

func (smtp) Farewell(host string) []byte {
	return []byte("421 4.4.2 " + host + " took too long, closing the connection\r\n")
}
