package preamble

import (
	"io"
	"strings"
)

// pop3 is POP3 with STLS (RFC 2595, section 4). Its greeting has no timestamp: APOP is not to be had, because the server's own
// greeting, which has one, is not the client's to see.
type pop3 struct{}

func (pop3) Negotiate(conn io.ReadWriter, host string) (Opening, error) {
	d := dialogue{greeting: "+OK " + host + " ready\r\n"}
	d.farewell = func(why string) string { return "-ERR " + why + "\r\n" }
	d.answer = func(line string) (string, verdict) {
		verb, argument, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		text, v := answerPOP3(verb, argument)
		if v == refused {
			d.wanted = verb
		}
		return text, v
	}
	return d.run(conn)
}

func answerPOP3(verb, argument string) (string, verdict) {
	switch verb {
	case "CAPA":
		return "+OK\r\nSTLS\r\n.\r\n", answered
	case "QUIT":
		return "+OK Bye\r\n", leave
	case "USER", "PASS", "APOP", "AUTH":
		return "-ERR STLS first\r\n", refused
	case "STLS":
		if argument == "" {
			return "+OK Begin TLS negotiation\r\n", begin
		}
		return "-ERR STLS takes no argument\r\n", unknown
	}
	return "-ERR STLS first\r\n", unknown
}

func (pop3) Request(conn io.ReadWriter, _ string) error {
	in := newInbox(conn, longestReply)
	if err := in.ok("the server's greeting"); err != nil {
		return err
	}
	if err := send(conn, "STLS\r\n"); err != nil {
		return err
	}
	return in.last(in.ok("STLS"))
}

// ok reads the answer to what was asked.
func (b *inbox) ok(asked string) error {
	line, err := b.line()
	switch {
	case err != nil:
		return unspoken(err)
	case !isWord(line, "+OK"):
		return fault(Plaintext, "%s: %.200q", asked, line)
	}
	return nil
}

func (pop3) Swallow(conn io.Reader) (Greeting, error) { return swallowLine(conn, "+OK", "-ERR") }

func (pop3) Farewell(string) []byte { return []byte("-ERR Took too long\r\n") }
