package preamble

import (
	"bytes"
	"encoding/binary"
)

// errorMessage finds the text in what follows the E of a PostgreSQL error: fields, of which one is the message, or, of a server
// older than 7.4 and of one that could not even start a process for the client, the bare text. It reports whether all of it
// is there.
func errorMessage(p []byte) (text string, whole bool) {
	if len(p) < 4 {
		return "", false
	}
	length := binary.BigEndian.Uint32(p)
	if length < 5 || length > longestReply {
		bare, _, ended := bytes.Cut(p, []byte{0})
		return string(bytes.TrimSpace(bare)), ended
	}
	if uint32(len(p)) < length {
		return "", false
	}
	for field := range bytes.SplitSeq(p[4:length], []byte{0}) {
		if len(field) > 0 && field[0] == 'M' {
			return string(field[1:]), true
		}
	}
	return "", true
}
