package redis

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"hellogate/store"
)

// Bounds on what is read off a connection. What goes beyond them but for a single value ends the connection.
const (
	// maxValue is the size in bytes of one value. A larger one is passed over and replaced by an error of that value.
	maxValue = store.MaxBody
	// maxMessage is the size in bytes of one answer or push with all that is in it, values passed over left out.
	maxMessage = 8 << 20
	// maxElements is the number of elements of an answer or a push. A push holds every key that changed at once: with more,
	// the connection that tells of changes ends, and when there is another one all is told.
	maxElements = 1 << 17
	// maxDepth is how deep arrays may be nested. The deepest in use, CLUSTER SLOTS, has 4.
	maxDepth = 8
	// maxLine is the length in bytes of a line: of a number, a simple string, an error.
	maxLine = 16 << 10
)

// invalidate is the first element of the push that says which keys have changed.
const invalidate = "invalidate"

// tooLarge is the code of the error that stands for a value that was passed over.
const tooLarge = "TOOLARGE"

// errProtocol is wrapped by the errors of a connection whose other end does not speak RESP, or not within bounds.
var errProtocol = errors.New("not an answer of redis")

func malformed(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, arguments...))
}

// scanner follows RESP as it passes, in pieces of any size. The client library allocates what a length says before
// anything has come, and panics where an answer comes that nobody asked for: neither gets that far.
type scanner struct {
	// values is the number of answers that were complete; pushes do not count.
	values int64

	line     []byte // what has come of a line
	left     int    // bytes to come of a bulk string, its line end included
	skip     bool   // that bulk string is passed over
	kind     []byte // what has come of the first element of a push
	open     []int  // elements to come of the arrays that are open, the outermost first
	push     bool
	elements int // that came
	promised int // that are to come and came
	size     int
}

// scan takes the next bytes and appends to out what is to be passed on.
func (s *scanner) scan(in, out []byte) ([]byte, error) {
	for len(in) > 0 {
		if s.left > 0 {
			n := min(s.left, len(in))
			var err error
			if out, err = s.bulk(in[:n], out); err != nil {
				return out, err
			}
			in = in[n:]
			continue
		}
		at := bytes.IndexByte(in, '\n') + 1
		if at == 0 {
			at = len(in)
		}
		s.line, in = append(s.line, in[:at]...), in[at:]
		if len(s.line) > maxLine {
			return out, malformed("a line of more than %d bytes", maxLine)
		}
		if s.line[len(s.line)-1] != '\n' {
			break
		}
		var err error
		if out, err = s.header(out); err != nil {
			return out, err
		}
		s.line = s.line[:0]
	}
	return out, nil
}

// bulk takes a piece of a bulk string.
func (s *scanner) bulk(piece, out []byte) ([]byte, error) {
	if s.push && s.elements == 1 {
		s.kind = append(s.kind, piece...)
	}
	if !s.skip {
		out = append(out, piece...)
	}
	if s.left -= len(piece); s.left > 0 {
		return out, nil
	}
	if s.skip {
		// Not sooner: the connection is of no use before.
		out = append(out, "-"+tooLarge+"\r\n"...)
		s.skip = false
	}
	// Any other push would be taken for the answer to a subscription.
	if s.push && s.elements == 1 && string(s.kind) != invalidate+"\r\n" {
		return out, malformed("an unexpected push")
	}
	s.end()
	return out, nil
}

// header takes the line that is complete: a whole value, or the beginning of one.
func (s *scanner) header(out []byte) ([]byte, error) {
	if len(s.line) < 3 || s.line[len(s.line)-2] != '\r' {
		return out, malformed("a line without its end")
	}
	if s.size += len(s.line); s.size > maxMessage {
		return out, malformed("more than %d bytes", maxMessage)
	}
	if len(s.open) > 0 {
		s.elements++
	}
	kind, text := s.line[0], s.line[1:len(s.line)-2]
	first := s.push && s.elements == 1
	switch {
	case kind == '$', kind == '=' && !first, kind == '!' && !first:
		return s.begin(kind, text, out)
	case first:
		return out, malformed("an unexpected push")
	case kind == '+', kind == '-', kind == ',', kind == '(':
	case kind == ':':
		if _, err := strconv.ParseInt(string(text), 10, 64); err != nil {
			return out, malformed("a malformed integer")
		}
	case kind == '#' && len(text) == 1, kind == '_' && len(text) == 0:
	case kind == '*', kind == '~', kind == '%', kind == '>' && len(s.open) == 0:
		return s.array(kind, text, out)
	default:
		return out, malformed("an unexpected type")
	}
	out = append(out, s.line...)
	s.end()
	return out, nil
}

// begin begins a bulk string.
func (s *scanner) begin(kind byte, text, out []byte) ([]byte, error) {
	if kind == '$' && string(text) == "-1" {
		out = append(out, s.line...)
		s.end()
		return out, nil
	}
	length, err := number(text)
	if err != nil {
		return out, err
	}
	if s.push && s.elements == 1 && length != len(invalidate) {
		return out, malformed("an unexpected push")
	}
	s.left = length + len("\r\n")
	if s.skip = length > maxValue; s.skip {
		return out, nil
	}
	if s.size += length; s.size > maxMessage {
		return out, malformed("more than %d bytes", maxMessage)
	}
	return append(out, s.line...), nil
}

// array begins an array, a set, a map or a push.
func (s *scanner) array(kind byte, text, out []byte) ([]byte, error) {
	length := 0
	if kind != '*' || string(text) != "-1" {
		var err error
		if length, err = number(text); err != nil {
			return out, err
		}
	}
	if kind == '%' {
		length *= 2
	}
	s.push = s.push || kind == '>'
	if length > maxElements-s.promised || len(s.open) == maxDepth || kind == '>' && length == 0 {
		return out, malformed("an array of %d elements, %d deep", length, len(s.open)+1)
	}
	out = append(out, s.line...)
	if length == 0 {
		s.end()
		return out, nil
	}
	s.open = append(s.open, length)
	s.promised += length
	return out, nil
}

// end ends a value, and the arrays that it was the last element of.
func (s *scanner) end() {
	for len(s.open) > 0 {
		last := len(s.open) - 1
		if s.open[last]--; s.open[last] > 0 {
			return
		}
		s.open = s.open[:last]
	}
	if !s.push {
		s.values++
	}
	s.push, s.elements, s.promised, s.size, s.kind = false, 0, 0, 0, s.kind[:0]
}

// number reads a length. Ten digits hold more than Redis allows.
func number(text []byte) (int, error) {
	if len(text) == 0 || len(text) > 10 {
		return 0, malformed("a malformed length")
	}
	length := 0
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			return 0, malformed("a malformed length")
		}
		length = 10*length + int(digit-'0')
	}
	return length, nil
}
