package preamble

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Key is what a PostgreSQL client has to know to cancel a query: the number and the secret of its server process. It is a
// secret: whatever prints it prints no more than that it is a key.
type Key struct {
	bytes string // as on the wire
}

// isKey reports whether a key may be that long: 4 bytes of number, and 4 to 256 of secret (protocol 3.2; of 3.0 always 4).
func isKey(size int) bool { return size >= 4+4 && size <= 4+256 }

// String does not tell the key.
func (Key) String() string { return "key" }

// Format does not tell the key, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// Request is the CancelRequest with the key, to be sent to the server on a connection of its own.
func (k Key) Request() []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(startupHeader+len(k.bytes)))
	p = binary.BigEndian.AppendUint32(p, codeCancel)
	return append(p, k.bytes...)
}
