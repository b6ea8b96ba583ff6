package preamble

import (
	"bytes"
	"errors"
	"io"
)

// The bounds of a text protocol.
const (
	longestLine  = 1024 // of a client: RFC 5321 wants 512 taken, RFC 2449 has 255, RFC 7162 advises 8192 for what there is no TLS for
	longestReply = 4096 // a line of a server
	mostLines    = 100  // of a server's answer
	mostReply    = 16 << 10
)

var (
	errNoText = errors.New("not text")
	errTLS    = errors.New("TLS where its request was expected")
)

const handshakeRecord = 0x16 // what TLS begins with

// line reads a line and returns it without its end, which is a line feed, behind a carriage return or not.
func (b *inbox) line() (string, error) {
	for {
		text, _, ended := bytes.Cut(b.held, []byte{'\n'})
		size := len(text)
		text = bytes.TrimSuffix(text, []byte{'\r'})
		if i := bytes.IndexFunc(text, isControl); i >= 0 {
			return "", notText(text, i)
		}
		if ended {
			line := string(text)
			b.drop(size + 1)
			return line, nil
		}
		if err := b.more(); err != nil {
			return "", err
		}
	}
}

// isControl finds what no line of text has. What speaks another protocol need not send a line feed ever, and would be waited
// for.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func notText(text []byte, i int) error {
	if i == 0 && text[0] == handshakeRecord {
		return errTLS
	}
	return errNoText
}

// unspoken is the error for a line that could not be read.
func unspoken(err error) error {
	switch err {
	case errFull, errNoText, errTLS:
		return &Error{Malformed, err}
	}
	return early(err)
}

// expect has a server's lines judged until one of them is the last of its answer.
func (b *inbox) expect(judge func(line string) (last bool, err error)) error {
	size := 0
	for range mostLines {
		line, err := b.line()
		if err != nil {
			return unspoken(err)
		}
		if size += len(line); size > mostReply {
			break
		}
		if last, err := judge(line); last || err != nil {
			return err
		}
	}
	return fault(Malformed, "the server's answer is too long")
}

// send writes a command or an answer in one piece.
func send(conn io.Writer, text string) error {
	_, err := io.WriteString(conn, text)
	return err
}
