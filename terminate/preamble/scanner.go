package preamble

import "encoding/binary"

// Scanner looks for the key in what a PostgreSQL server sends, from the first byte on. The zero value is ready. It holds at most
// the key.
type Scanner struct {
	header [5]byte // of the message: its type and length
	got    int     // bytes of the header
	left   int     // bytes of the message
	seen   int     // bytes of all, up to the end of the message
	key    []byte
	over   bool
}

// mostScanned is where no key is expected any more. A server that comes to its ReadyForQuery has sent a few hundred bytes.
const mostScanned = 1 << 20

// Scan is given what the server sent next, in pieces of any size, and reports whether that is enough: the key is there, or will
// not come. It never changes p nor keeps it.
func (s *Scanner) Scan(p []byte) (done bool) {
	for len(p) > 0 && !s.over {
		p = p[s.take(p):]
	}
	return s.over
}

// take takes what belongs to the header, or else to the message.
func (s *Scanner) take(p []byte) (n int) {
	if s.got < len(s.header) {
		n = copy(s.header[s.got:], p)
		if s.got += n; s.got == len(s.header) {
			s.begin()
		}
		return n
	}
	n = min(s.left, len(p))
	if s.header[0] == 'K' {
		s.key = append(s.key, p[:n]...)
	}
	if s.left -= n; s.left == 0 {
		s.got = 0
		s.over = s.header[0] == 'K'
	}
	return n
}

// begin begins with a message: one of those that come before ReadyForQuery, with more of the same behind it, or the last.
func (s *Scanner) begin() {
	s.left = int(binary.BigEndian.Uint32(s.header[1:])) - 4
	s.seen += len(s.header) + s.left
	switch s.header[0] {
	case 'R', 'S', 'N', 'v': // authentication, parameters, notices, the protocol's version
		s.over = s.left < 0 || s.seen > mostScanned
	case 'K':
		s.over = !isKey(s.left)
	default: // ReadyForQuery and errors; or it is another protocol
		s.over = true
	}
}

// Key returns the key that was found.
func (s *Scanner) Key() (Key, bool) {
	if !s.over || len(s.key) == 0 {
		return Key{}, false
	}
	return Key{string(s.key)}, true
}
