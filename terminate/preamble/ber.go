package preamble

import "errors"

// The little of BER that LDAP's StartTLS is made of. cryptobyte reads DER: LDAP's lengths need not be the shortest, and
// Windows sends four bytes of each (RFC 4511, section 5.1).

// The tags.
const (
	tagInteger    = 0x02
	tagOctets     = 0x04
	tagBoolean    = 0x01
	tagEnumerated = 0x0a
	tagSequence   = 0x30
)

// absurd is more than any element has.
const absurd = 1 << 24

var (
	errShort = errors.New("incomplete")
	errBER   = errors.New("not LDAP")
)

// measure finds the size of the header and of the content of the element that p begins with: errShort when p does not
// tell yet.
func measure(p []byte) (header, content int, err error) {
	switch {
	case len(p) < 2:
		return 0, 0, errShort
	case p[1] < 0x80:
		return 2, int(p[1]), nil
	case p[1] == 0x80, p[1] > 0x84: // of indefinite length, or absurd
		return 0, 0, errBER
	}
	header = 2 + int(p[1]&0x7f)
	if len(p) < header {
		return 0, 0, errShort
	}
	for _, b := range p[2:header] {
		content = content<<8 | int(b)
	}
	if uint(content) > absurd { // negative, perhaps, where an int has 32 bits
		return 0, 0, errBER
	}
	return header, content, nil
}

// fields are elements one after the other, of which none is left when they were read.
type fields []byte

// next takes the first element, whose tag has to be the one given.
func (f *fields) next(tag byte) (content fields, ok bool) {
	if !f.is(tag) {
		return nil, false
	}
	header, size, err := measure(*f)
	if err != nil || size > len(*f)-header {
		return nil, false
	}
	content = (*f)[header : header+size]
	*f = (*f)[header+size:]
	return content, true
}

// is reports whether the first element has that tag.
func (f *fields) is(tag byte) bool { return len(*f) > 0 && (*f)[0] == tag }

// element is an element of less than 128 bytes.
func element(tag byte, parts ...[]byte) []byte {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	p := []byte{tag, byte(size)}
	for _, part := range parts {
		p = append(p, part...)
	}
	return p
}
