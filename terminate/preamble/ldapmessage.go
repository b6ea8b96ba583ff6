package preamble

import (
	"bytes"
	"slices"
)

// message is an LDAPMessage (RFC 4511, section 4.1.1).
type message struct {
	id        []byte // as on the wire
	operation byte   // its tag
	content   fields
	controls  fields
}

// message reads a message. What is not LDAP is found as early as it can be told.
func (b *inbox) message() (message, error) {
	for {
		header, content, err := measureMessage(b.held)
		switch size := header + content; {
		case err == nil && size <= len(b.held):
			m, ok := parseMessage(bytes.Clone(b.held[:size]))
			if !ok {
				return message{}, errBER
			}
			b.drop(size)
			return m, nil
		case err == nil && size > cap(b.held):
			return message{}, errFull
		case err != nil && err != errShort:
			return message{}, err
		}
		if err := b.more(); err != nil {
			return message{}, err
		}
	}
}

func measureMessage(p []byte) (header, content int, err error) {
	switch {
	case len(p) == 0:
		return 0, 0, errShort
	case p[0] == handshakeRecord:
		return 0, 0, errTLS
	case p[0] != tagSequence:
		return 0, 0, errBER
	}
	return measure(p)
}

func parseMessage(p fields) (m message, ok bool) {
	body, ok := p.next(tagSequence)
	if !ok {
		return m, false
	}
	if m.id, ok = body.next(tagInteger); !ok || !isID(m.id) || len(body) == 0 {
		return m, false
	}
	m.operation = body[0]
	if m.content, ok = body.next(m.operation); !ok {
		return m, false
	}
	if body.is(tagControls) {
		if m.controls, ok = body.next(tagControls); !ok {
			return m, false
		}
	}
	return m, len(body) == 0
}

// isID reports whether a number is one from 0 to maxInt, as short as it can be (X.690, section 8.3.2).
func isID(p []byte) bool {
	return len(p) >= 1 && len(p) <= 4 && p[0] < 0x80 && (len(p) == 1 || p[0] > 0 || p[1] >= 0x80)
}

// isUnsolicited reports whether it answers nothing, as only a server's message can.
func (m message) isUnsolicited() bool { return len(m.id) == 1 && m.id[0] == 0 }

func (m message) isStartTLS() bool {
	request := m.content
	name, ok := request.next(tagRequestName)
	return m.operation == tagExtendedRequest && ok && string(name) == oidStartTLS
}

// judgeStartTLS finds the result of a request for TLS, but for what may have come behind it.
func (m message) judgeStartTLS() (code byte, text string) {
	request := m.content
	_, _ = request.next(tagRequestName)
	if len(request) > 0 {
		return protocolError, "StartTLS takes no value"
	}
	critical, ok := isCritical(m.controls)
	switch {
	case !ok:
		return protocolError, "the controls are malformed"
	case critical:
		return unavailableCriticalExtension, "no such control of StartTLS"
	}
	return success, ""
}

// isCritical reports whether one of the controls must not be ignored: Java's client sends one that may be with everything.
func isCritical(controls fields) (critical, ok bool) {
	for len(controls) > 0 {
		control, ok := controls.next(tagSequence)
		if !ok {
			return false, false
		}
		if _, ok := control.next(tagOctets); !ok {
			return false, false
		}
		if value, ok := control.next(tagBoolean); ok && !slices.Equal(value, fields{0}) {
			critical = true
		}
	}
	return critical, true
}

// result is a message with an LDAPResult, of an extended operation if it has a name.
func result(id []byte, tag, code byte, text, name string) []byte {
	parts := [][]byte{element(tagEnumerated, []byte{code}), element(tagOctets), element(tagOctets, []byte(text))}
	if name != "" {
		parts = append(parts, element(tagResponseName, []byte(name)))
	}
	return element(tagSequence, element(tagInteger, id), element(tag, parts...))
}
