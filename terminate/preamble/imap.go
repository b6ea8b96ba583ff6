package preamble

import (
	"io"
	"strings"
)

// imap is IMAP with STARTTLS (RFC 9051, section 6.2.1). Within TLS the client has to forget what it was told before, and asks
// the server behind.
type imap struct{}

const (
	capability = "CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED"
	longestTag = 64
)

func (imap) Negotiate(conn io.ReadWriter, host string) (Opening, error) {
	d := dialogue{greeting: "* OK [" + capability + "] " + host + " ready\r\n"}
	d.farewell = func(why string) string { return "* BYE " + why + "\r\n" }
	d.answer = func(line string) (string, verdict) {
		tag, rest, _ := strings.Cut(line, " ")
		if !isTag(tag) {
			return "* BAD Not a tag\r\n", unknown
		}
		verb, argument, _ := strings.Cut(rest, " ")
		verb = strings.ToUpper(verb)
		text, v := answerIMAP(verb, argument)
		if verb == "LOGIN" || verb == "AUTHENTICATE" {
			d.wanted = verb
		}
		return strings.ReplaceAll(text, "TAG ", tag+" "), v
	}
	return d.run(conn)
}

// answerIMAP has TAG where the tag goes.
func answerIMAP(verb, argument string) (string, verdict) {
	switch {
	case strings.HasSuffix(argument, "+}"):
		return "TAG BAD No literals before STARTTLS\r\n* BYE No literals before STARTTLS\r\n", hopeless // it comes, asked for or not (RFC 7888)
	case verb == "LOGIN", verb == "AUTHENTICATE":
		return "TAG NO [PRIVACYREQUIRED] STARTTLS first\r\n", refused
	case argument != "":
		return "TAG BAD STARTTLS first\r\n", unknown
	}
	switch verb {
	case "CAPABILITY":
		return "* " + capability + "\r\nTAG OK CAPABILITY completed\r\n", answered
	case "NOOP":
		return "TAG OK NOOP completed\r\n", answered
	case "LOGOUT":
		return "* BYE Logging out\r\nTAG OK LOGOUT completed\r\n", leave
	case "STARTTLS":
		return "TAG OK Begin TLS negotiation now\r\n", begin
	}
	return "TAG BAD STARTTLS first\r\n", unknown
}

// isTag reports whether text is a tag (RFC 9051, section 9), and not too long to be given back.
func isTag(text string) bool {
	return text != "" && len(text) <= longestTag && !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\+`, r)
	})
}

func (imap) Request(conn io.ReadWriter, _ string) error {
	in := newInbox(conn, longestReply)
	line, err := in.line()
	switch {
	case err != nil:
		return unspoken(err)
	case !isWord(line, "* OK"): // PREAUTH is too late for TLS
		return fault(Plaintext, "the server's greeting: %.200q", line)
	}
	if err := send(conn, "a STARTTLS\r\n"); err != nil {
		return err
	}
	return in.last(in.expect(func(line string) (bool, error) {
		switch {
		case strings.HasPrefix(line, "* "):
			return false, nil
		case isWord(line, "a OK"):
			return true, nil
		}
		return true, fault(Plaintext, "STARTTLS: %.200q", line)
	}))
}

// isWord reports whether a line begins with that, and a space if with more. Case does not matter.
func isWord(line, word string) bool {
	return len(line) >= len(word) && strings.EqualFold(line[:len(word)], word) && (len(line) == len(word) || line[len(word)] == ' ')
}

func (imap) Swallow(conn io.Reader) (Greeting, error) { return swallowLine(conn, "* OK", "* BYE") }

// swallowLine swallows a greeting of one line. What is neither ready nor refused is none: PREAUTH, which would have any client
// log in as whoever the server takes us for.
func swallowLine(conn io.Reader, ready, refusal string) (Greeting, error) {
	in := newInbox(conn, longestReply)
	line, err := in.line()
	if err != nil {
		return Greeting{}, unspoken(err)
	}
	if !isWord(line, ready) && !isWord(line, refusal) {
		return Greeting{}, noGreeting(line)
	}
	return in.greeting(line+"\r\n", isWord(line, ready), nil)
}

func (imap) Farewell(string) []byte { return []byte("* BYE Took too long\r\n") }
