package terminate

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// tlsBuffers is where tls.Conn keeps what it has read. It never lets go of a buffer: after bulk an idle connection would
// hold the largest record it ever read, 16 KB and more, and after a mere handshake a kilobyte, most of what it costs.
var tlsBuffers = findTLSBuffers()

// bufferOffsets is where the fields are in a tls.Conn.
type bufferOffsets struct {
	known                 bool
	rawInput, input, hand uintptr
}

// findTLSBuffers looks the fields up by name and type. In a Go where they are not what is known here, nothing is given
// back, and TestTLSMemory says so.
func findTLSBuffers() (found bufferOffsets) {
	conn := reflect.TypeFor[tls.Conn]()
	field := func(name string, want reflect.Type) uintptr {
		f, ok := conn.FieldByName(name)
		found.known = found.known && ok && f.Type == want
		return f.Offset
	}
	found.known = true
	found.rawInput = field("rawInput", reflect.TypeFor[bytes.Buffer]())
	found.input = field("input", reflect.TypeFor[bytes.Reader]())
	found.hand = field("hand", reflect.TypeFor[bytes.Buffer]())
	return found
}

// giveBack drops the buffers of a connection that holds nothing unread, not even part of a record. The caller must be the
// only one who uses the connection.
func (b bufferOffsets) giveBack(conn *tls.Conn) {
	if !b.known {
		return
	}
	at := unsafe.Pointer(conn)
	rawInput := (*bytes.Buffer)(unsafe.Add(at, b.rawInput))
	input := (*bytes.Reader)(unsafe.Add(at, b.input))
	hand := (*bytes.Buffer)(unsafe.Add(at, b.hand))
	if rawInput.Len() > 0 || input.Len() > 0 || hand.Len() > 0 {
		return
	}
	*rawInput, *hand = bytes.Buffer{}, bytes.Buffer{}
	input.Reset(nil)
}
