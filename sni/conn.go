package sni

import (
	"crypto/tls"
	"fmt"
	"net"
)

// MaxHello is the largest ClientHello that crypto/tls reads, in bytes behind the header of the handshake message.
const MaxHello = 65536

// inflation bounds the bytes on the wire: a hello in records of one byte is six times its size, and crypto/tls
// tolerates a few records that carry nothing.
const inflation = 8

// The record layer's shapes that matter before a handshake (RFC 8446, section 5.1).
const (
	recordHandshake  = 22
	recordHeaderSize = 5
	messageHeader    = 4
)

// state says how far a connection's hello is.
type state uint8

const (
	reading  state = iota // the hello is being read: bytes are recorded, writes are held back
	holding               // the hello is whole and being judged: writes are still held back
	released              // the connection is the TLS stack's
)

// Conn is a client's connection whose hello is read, or about to be. It records what it reads until the hello has been
// judged, within a bound, and keeps the TLS stack from answering before that. It is used by one goroutine at a time
// until the handshake is over. Closing it closes the connection beneath.
type Conn struct {
	net.Conn
	message int
	state   state
	record  []byte // what was read so far
	replay  []byte // what Read gives again, after Rewind
	alert   uint8  // what the TLS stack would have sent

	// For the handshake.
	choose      func(*Hello) (Choice, error)
	certificate *tls.Certificate // chosen
}

// NewConn returns a Conn that reads a hello of at most message bytes from raw, and at most eight times as many on the
// wire. Zero, or more than [MaxHello], means MaxHello.
func NewConn(raw net.Conn, message int) *Conn {
	if message <= 0 || message > MaxHello {
		message = MaxHello
	}
	return &Conn{Conn: raw, message: message}
}

// Recorded returns the bytes that the client sent up to its hello's end, and perhaps some behind it. They are dropped
// when the handshake goes on.
func (c *Conn) Recorded() []byte { return c.record }

// Rewind makes Read start over with what was recorded, and writes pass: the connection is as if nothing had been read.
func (c *Conn) Rewind() {
	c.replay, c.record = c.record, nil
	c.state = released
}

// release hands the connection to the TLS stack, which already holds what was recorded.
func (c *Conn) release() {
	c.record = nil
	c.state = released
}

// Read reads from the client, recording while the hello is being read.
func (c *Conn) Read(p []byte) (int, error) {
	if c.state == released {
		return c.pass(p)
	}
	room := c.message*inflation - len(c.record)
	if room <= 0 {
		return 0, &HelloError{TooBig, alertDecodeError, fmt.Errorf("no hello within %d bytes", len(c.record))}
	}
	n, err := c.Conn.Read(p[:min(len(p), room)])
	c.record = append(c.record, p[:n]...)
	return n, err
}

// pass gives what is left to be read again, then reads from the client.
func (c *Conn) pass(p []byte) (int, error) {
	if len(c.replay) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.replay)
	if c.replay = c.replay[n:]; len(c.replay) == 0 {
		c.replay = nil
	}
	return n, nil
}

// Write writes to the client once the hello has been judged. Before that the TLS stack can only want to send an alert:
// it is noted and held back, because whoever refuses the client may know a better one.
func (c *Conn) Write(p []byte) (int, error) {
	if c.state == released {
		return c.Conn.Write(p)
	}
	if len(p) == recordHeaderSize+2 {
		c.alert = p[recordHeaderSize+1]
	}
	return len(p), nil
}

// messageSize is the size that the first handshake message in a stream of records announces, without its header; 0 when
// too little came to tell.
func messageSize(stream []byte) int {
	var header [messageHeader]byte
	have := 0
	for len(stream) > recordHeaderSize && have < messageHeader {
		size := int(stream[3])<<8 | int(stream[4])
		body := stream[recordHeaderSize:]
		part := body[:min(size, len(body))]
		if stream[0] == recordHandshake { // a warning alert may come in between
			have += copy(header[have:], part)
		}
		stream = body[len(part):]
	}
	if have < messageHeader {
		return 0
	}
	return int(header[1])<<16 + int(header[2])<<8 + int(header[3])
}
