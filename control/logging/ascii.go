package logging

import (
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// ascii rewrites whatever is not ASCII as \uXXXX. In JSON that is the same text, since it can only stand
// inside a string; in a terminal it takes the effect out of U+202E and its like, which zerolog lets through.
type ascii struct{ next io.Writer }

func (a ascii) Write(line []byte) (int, error) {
	if isASCII(line) {
		return a.next.Write(line)
	}
	if _, err := a.next.Write(escape(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

func isASCII(line []byte) bool {
	for _, b := range line {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func escape(line []byte) []byte {
	escaped := make([]byte, 0, 2*len(line))
	for len(line) > 0 {
		r, size := utf8.DecodeRune(line)
		switch {
		case r < utf8.RuneSelf:
			escaped = append(escaped, line[0])
		case r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
		line = line[size:]
	}
	return escaped
}
