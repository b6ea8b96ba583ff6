package preamble

import (
	"bytes"
	"errors"
	"io"
)

// inbox holds what a peer sent and what is not understood yet, of bounded size. It reads what there is, not what is needed:
// so it shows what a peer sent too early.
type inbox struct {
	conn io.Reader
	held []byte // within its capacity
}

var errFull = errors.New("too long")

func newInbox(conn io.Reader, size int) *inbox { return &inbox{conn, make([]byte, 0, size)} }

// more reads once.
func (b *inbox) more() error {
	if len(b.held) == cap(b.held) {
		return errFull
	}
	n, err := b.conn.Read(b.held[len(b.held):cap(b.held)])
	b.held = b.held[:len(b.held)+n]
	switch {
	case n > 0:
		return nil // the next read has the error again
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// drop forgets the first n bytes.
func (b *inbox) drop(n int) { b.held = b.held[:copy(b.held, b.held[n:])] }

// rest is what nobody has read yet, nil if that is nothing. It does not share the inbox's memory.
func (b *inbox) rest() []byte {
	if len(b.held) == 0 {
		return nil
	}
	return bytes.Clone(b.held)
}

// early classes the error of a read: an end of stream is the peer's doing, all else the connection's.
func early(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return &Error{ClosedEarly, errGone}
	}
	return err
}

var errGone = errors.New("the peer closed the connection")
