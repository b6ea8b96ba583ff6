package preamble

import "io"

// ldap is LDAP with the StartTLS extended operation (RFC 4511, section 4.14).
type ldap struct{}

const (
	oidStartTLS      = "1.3.6.1.4.1.1466.20037"
	oidDisconnection = "1.3.6.1.4.1.1466.20036"
	longestMessage   = 4096
)

// The tags of what is asked and answered (section 4).
const (
	tagUnbind           = 0x42
	tagAbandon          = 0x50
	tagExtendedRequest  = 0x77
	tagExtendedResponse = 0x78
	tagRequestName      = 0x80
	tagResponseName     = 0x8a
	tagControls         = 0xa0
)

// The result codes (section 4.1.9).
const (
	success                      = 0
	operationsError              = 1
	protocolError                = 2
	unavailableCriticalExtension = 12
	confidentialityRequired      = 13
)

// operations are what is asked, with the tags of the answers.
var operations = map[byte]struct {
	name   string
	answer byte
}{
	0x60:               {"bind", 0x61},
	0x63:               {"search", 0x65},
	0x66:               {"modify", 0x67},
	0x68:               {"add", 0x69},
	0x4a:               {"delete", 0x6b},
	0x6c:               {"rename", 0x6d},
	0x6e:               {"compare", 0x6f},
	tagExtendedRequest: {"an extended operation", tagExtendedResponse},
}

func (ldap) Negotiate(conn io.ReadWriter, _ string) (Opening, error) {
	s := directory{conn: conn, in: newInbox(conn, longestMessage)}
	for range mostCommands {
		m, err := s.in.message()
		if err != nil {
			return Opening{}, s.broken(err)
		}
		if ready, err := s.serve(m); ready || err != nil {
			return Opening{}, err
		}
	}
	if s.wanted != "" {
		return Opening{}, s.disconnect(s.gone())
	}
	return Opening{}, s.disconnect(&Error{Malformed, errTooMany})
}

// directory is a server of LDAP that knows nothing but StartTLS, with one client.
type directory struct {
	conn   io.Writer
	in     *inbox
	wanted string // the last operation that was refused
}

// serve answers a request, and reports whether TLS begins behind the answer.
func (s *directory) serve(m message) (ready bool, err error) {
	asked, known := operations[m.operation]
	switch {
	case m.operation == tagAbandon: // which nobody answers
		return false, nil
	case m.operation == tagUnbind:
		return false, s.gone()
	case !known, m.isUnsolicited():
		return false, s.disconnect(&Error{Malformed, errBER})
	case !m.isStartTLS():
		s.wanted = asked.name
		return false, s.answer(m, asked.answer, confidentialityRequired, "StartTLS first", "")
	}
	switch code, text := m.judgeStartTLS(); {
	case code != success:
		return false, s.answer(m, asked.answer, code, text, oidStartTLS)
	case len(s.in.held) > 0:
		_ = s.answer(m, asked.answer, operationsError, "nothing may follow StartTLS before its answer", oidStartTLS)
		return false, &Error{Injection, errPipelined}
	}
	return true, s.answer(m, asked.answer, success, "", oidStartTLS)
}

func (s *directory) answer(m message, tag, code byte, text, name string) error {
	_, err := s.conn.Write(result(m.id, tag, code, text, name))
	return err
}

// broken ends what can't go on because no message could be read.
func (s *directory) broken(err error) error {
	switch err {
	case io.EOF:
		return s.gone()
	case errBER, errFull, errTLS:
		return s.disconnect(&Error{Malformed, err})
	}
	return err
}

// disconnect sends the notice of disconnection (section 4.4.1) and returns why.
func (s *directory) disconnect(why error) error {
	_, _ = s.conn.Write(result([]byte{0}, tagExtendedResponse, protocolError, "no StartTLS request", oidDisconnection))
	return why
}

// gone says why a client left.
func (s *directory) gone() error {
	if s.wanted != "" {
		return fault(Plaintext, "the client wants %s without TLS", s.wanted)
	}
	return &Error{ClosedEarly, errGone}
}

func (ldap) Request(conn io.ReadWriter, _ string) error {
	request := element(tagExtendedRequest, element(tagRequestName, []byte(oidStartTLS)))
	if _, err := conn.Write(element(tagSequence, element(tagInteger, []byte{1}), request)); err != nil {
		return err
	}
	in := newInbox(conn, longestMessage)
	m, err := in.message()
	if err != nil {
		switch err {
		case errBER, errFull, errTLS:
			return &Error{Malformed, err}
		}
		return early(err)
	}
	return in.last(m.granted())
}

// granted judges the answer to StartTLS.
func (m message) granted() error {
	answer := m.content
	code, hasCode := answer.next(tagEnumerated)
	_, hasName := answer.next(tagOctets)
	text, hasText := answer.next(tagOctets)
	switch {
	case m.operation != tagExtendedResponse, !hasCode, !hasName, !hasText, len(code) != 1:
		return fault(Malformed, "StartTLS: not an answer")
	case code[0] != success: // as of a notice of disconnection, too
		return fault(Plaintext, "StartTLS: result %d: %.200q", code[0], text)
	case len(m.id) != 1 || m.id[0] != 1:
		return fault(Malformed, "StartTLS: the answer to something else")
	}
	return nil
}

func (ldap) Swallow(io.Reader) (Greeting, error) { return Greeting{}, nil }
func (ldap) Farewell(string) []byte              { return nil }
