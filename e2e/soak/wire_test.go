package soak

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire is the connection under a TLS client. It can send in segments of a byte each, and keeps how the last record
// looked, which tells a close_notify from a bare FIN: crypto/tls does not. And it can hold back all that follows the
// hello, to have it arrive at once.
type wire struct {
	*net.TCPConn
	trickle int // so many bytes are sent one by one
	holds   bool
	held    []byte // not sent yet
	begun   bool   // the hello was sent
	open    *atomic.Int64
	close   sync.Once

	header []byte // of the record that is being read
	rest   int    // bytes of that record to come
	kind   byte   // kind and length of the last record
	length int
}

func (w *wire) Write(b []byte) (int, error) {
	if w.holds && w.begun {
		w.held = append(w.held, b...)
		return len(b), nil
	}
	w.begun = true
	return w.send(b)
}

// release sends what was held back.
func (w *wire) release() error {
	held := w.held
	w.holds, w.held = false, nil
	_, err := w.send(held)
	return err
}

func (w *wire) send(b []byte) (int, error) {
	written := 0
	for w.trickle > 0 && written < len(b) {
		n, err := w.TCPConn.Write(b[written : written+1])
		written += n
		if err != nil {
			return written, err
		}
		w.trickle--
	}
	if written == len(b) {
		return written, nil
	}
	n, err := w.TCPConn.Write(b[written:])
	return written + n, err
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.TCPConn.Read(b)
	w.note(b[:n])
	return n, err
}

func (w *wire) Close() error {
	w.close.Do(func() { w.open.Add(-1) })
	return w.TCPConn.Close()
}

// note follows the records over the bytes that came.
func (w *wire) note(b []byte) {
	for len(b) > 0 {
		if w.rest > 0 {
			n := min(w.rest, len(b))
			w.rest, b = w.rest-n, b[n:]
			continue
		}
		n := min(5-len(w.header), len(b))
		w.header, b = append(w.header, b[:n]...), b[n:]
		if len(w.header) == 5 {
			w.kind, w.length = w.header[0], int(w.header[3])<<8|int(w.header[4])
			w.header, w.rest = w.header[:0], w.length
		}
	}
}

// The kinds of record that an alert comes in: in TLS 1.3 it looks like 2 bytes of data.
const (
	recordAlert       = 21
	recordApplication = 23
	sealedAlert       = 2 + 1 + 16
)

// client is a TLS connection to hellogate.
type client struct {
	*tls.Conn
	name string // that it asked for
	wire *wire
}

// endedCleanly tells whether the last record was an alert, which in front of an io.EOF can only be close_notify.
func (c *client) endedCleanly() bool {
	w := c.wire
	return w.rest == 0 && (w.kind == recordAlert || w.kind == recordApplication && w.length == sealedAlert)
}

// CloseWrite sends what was held back, too. Behind a close_notify crypto/tls lets every write time out.
func (c *client) CloseWrite() error {
	err := c.Conn.CloseWrite()
	c.wire.SetWriteDeadline(time.Now().Add(patience))
	return errors.Join(err, c.wire.release())
}

func (c *client) sendFIN() error { return c.wire.CloseWrite() }

func (c *client) abort() {
	c.wire.SetLinger(0)
	c.wire.Close()
}

// plain is a connection that a backend accepted. It has read ahead of what is asked of it.
type plain struct {
	*net.TCPConn
	ahead io.Reader
}

func (p *plain) Read(b []byte) (int, error) { return p.ahead.Read(b) }
func (p *plain) sendFIN() error             { return p.TCPConn.CloseWrite() }
func (p *plain) abort()                     { abortTCP(p.TCPConn) }
func (p *plain) endedCleanly() bool         { return true }

// dial connects to hellogate; receive is the size of the receive buffer, 0 for the system's.
func (w *world) dial(receive int) (*wire, error) {
	dialer := net.Dialer{Timeout: patience, Control: smallBuffer(receive)}
	conn, err := dialer.Dial("tcp", w.address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	w.clients.Add(1)
	return &wire{TCPConn: conn.(*net.TCPConn), open: &w.clients}, nil
}
