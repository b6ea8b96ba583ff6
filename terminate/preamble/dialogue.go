package preamble

import (
	"errors"
	"io"
)

// The bounds of a client's text.
const (
	mostCommands = 20
	mostUnknown  = 3 // as Dovecot's, before a login: who speaks HTTP is not to be answered line by line
)

// verdict is what a command comes to.
type verdict uint8

const (
	answered verdict = iota
	refused          // it is for within TLS
	unknown
	begin    // TLS begins behind the answer
	leave    // the client goes
	hopeless // what comes next can't be told from what does not
)

// dialogue is a text protocol, with one client.
type dialogue struct {
	greeting string
	answer   func(line string) (text string, v verdict)
	farewell func(why string) string // says that it ends, and why
	wanted   string                  // the last command that was refused
}

// run speaks to a client until it begins with TLS, or will not.
func (d *dialogue) run(conn io.ReadWriter) (Opening, error) {
	if err := send(conn, d.greeting); err != nil {
		return Opening{}, err
	}
	in := newInbox(conn, longestLine)
	unknowns := 0
	for range mostCommands {
		line, err := in.line()
		if err != nil {
			return Opening{}, d.broken(conn, err)
		}
		text, v := d.answer(line)
		if v == begin && len(in.held) > 0 {
			return Opening{}, d.end(conn, errPipelined, &Error{Injection, errPipelined})
		}
		if err := send(conn, text); err != nil {
			return Opening{}, err
		}
		switch v {
		case begin:
			return Opening{}, nil
		case leave:
			return Opening{}, d.gone()
		case hopeless:
			return Opening{}, d.because(errLiteral)
		case unknown:
			unknowns++
		}
		if unknowns == mostUnknown {
			break
		}
	}
	return Opening{}, d.end(conn, errTooMany, d.because(errTooMany))
}

var (
	errLiteral   = errors.New("a literal before TLS")
	errPipelined = errors.New("bytes behind the request for TLS")
	errTooMany   = errors.New("too many commands")
)

// broken ends the dialogue because no line could be read.
func (d *dialogue) broken(conn io.Writer, err error) error {
	if err == io.EOF {
		return d.gone()
	}
	why := unspoken(err)
	if _, told := why.(*Error); told {
		return d.end(conn, err, why)
	}
	return why
}

// end tells the client why it ends. An error of that is of no interest: the client is gone, which does not change why.
func (d *dialogue) end(conn io.Writer, told, why error) error {
	_ = send(conn, d.farewell(told.Error()))
	return why
}

// gone says why a client left.
func (d *dialogue) gone() error {
	if d.wanted == "" {
		return &Error{ClosedEarly, errGone}
	}
	return d.because(nil)
}

// because says why a client is sent away: for what it did, unless it had been told to begin with TLS before it would do anything else.
func (d *dialogue) because(err error) error {
	if d.wanted == "" {
		return &Error{Malformed, err}
	}
	return fault(Plaintext, "the client wants %s without TLS", d.wanted)
}
