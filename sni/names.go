package sni

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxName  = 253 // octets, without the root's dot (RFC 1035 section 2.3.4)
	maxLabel = 63
)

var (
	errNoName       = errors.New("empty")
	errNameLength   = errors.New("longer than 253 octets")
	errLabelEmpty   = errors.New("empty label")
	errLabelLength  = errors.New("label longer than 63 octets")
	errLabelHyphen  = errors.New("label begins or ends with a hyphen")
	errUnderscore   = errors.New("underscore outside the first label")
	errTrailingDot  = errors.New("trailing dot")
	errAddress      = errors.New("last label is a number, as in an IP address")
	errNotNameOctet = errors.New("only letters, digits, hyphens and dots make a name")
	errNotUTF8      = errors.New("not UTF-8")
)

// Normalize returns name, as a ClientHello carries it, in lower case, or an
// error when it is not a host name: 1 to 253 octets of labels of 1 to 63
// letters, digits and inner hyphens. An underscore may stand in the first label
// only. A trailing dot is refused (RFC 6066 section 3), and so is anything a
// resolver could read as an IP address. Raw UTF-8 is refused: on the wire a
// name is in A-labels already.
//
// A name it accepts is safe as a path element, in a URL and in a log line.
// Nothing is allocated for a name that is in lower case already.
func Normalize(name string) (string, error) {
	if err := check(name); err != nil {
		return "", fmt.Errorf("name %s: %w", quote(name), err)
	}
	return strings.ToLower(name), nil
}

// Parse returns the name that text, as people write it, stands for: one
// trailing dot is taken off and U-labels become A-labels; then the rules of
// [Normalize] hold.
func Parse(text string) (string, error) {
	if isASCII(text) {
		return Normalize(strings.TrimSuffix(text, "."))
	}
	name, err := idna.Lookup.ToASCII(text)
	if err == nil && !utf8.ValidString(text) { // which idna lets pass
		err = errNotUTF8
	}
	if err != nil {
		return "", fmt.Errorf("name %s: %w", quote(text), err)
	}
	// After the conversion, which makes dots of the ideographic full stops.
	return Normalize(strings.TrimSuffix(name, "."))
}

func check(name string) error {
	switch {
	case name == "":
		return errNoName
	case len(name) > maxName:
		return errNameLength
	case name[len(name)-1] == '.':
		return errTrailingDot
	}
	for first := true; ; first = false {
		label, rest, more := strings.Cut(name, ".")
		if err := checkLabel(label, first); err != nil {
			return err
		}
		if !more {
			return checkLast(label)
		}
		name = rest
	}
}

func checkLabel(label string, first bool) error {
	switch {
	case label == "":
		return errLabelEmpty
	case len(label) > maxLabel:
		return errLabelLength
	case label[0] == '-' || label[len(label)-1] == '-':
		return errLabelHyphen
	}
	for i := range len(label) {
		switch c := label[i]; {
		case isLetter(c), isDigit(c), c == '-':
		case c == '_' && first:
		case c == '_':
			return errUnderscore
		default:
			return errNotNameOctet
		}
	}
	return nil
}

// checkLast refuses what inet_aton and the URL standard take for an IPv4
// address: a last label of digits, or 0x and hexadecimal digits.
func checkLast(label string) error {
	if allIn(label, isDigit) {
		return errAddress
	}
	if len(label) >= 2 && label[0] == '0' && label[1]|0x20 == 'x' && allIn(label[2:], isHex) {
		return errAddress
	}
	return nil
}

func allIn(text string, class func(byte) bool) bool {
	for i := range len(text) {
		if !class(text[i]) {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isHex(c byte) bool    { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func isASCII(text string) bool {
	return allIn(text, func(c byte) bool { return c < 0x80 })
}

// quote makes text from outside fit for an error: printable ASCII, and not
// longer than an attacker should be able to make a log line.
func quote(text string) string {
	const most = 80
	if len(text) > most {
		return strconv.QuoteToASCII(text[:most]) + "..."
	}
	return strconv.QuoteToASCII(text)
}
