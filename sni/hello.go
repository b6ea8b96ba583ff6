package sni

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Hello is what a client asked for in its ClientHello.
type Hello struct {
	// Name is the host name that the client sent, normalised; empty when it sent none.
	Name string
	// Info is crypto/tls' own view of the same message: protocols, versions, groups, signature schemes.
	// Its ServerName is as it came over the wire: use Name.
	Info *tls.ClientHelloInfo
}

// Fault says in one word what was wrong with the first bytes of a connection.
type Fault string

// The faults of a hello. Their texts are the reasons of the access log.
const (
	NotTLS      Fault = "not_tls"       // the bytes are of another protocol
	TooBig      Fault = "too_big"       // the message, or the records that carry it, pass the bound
	TooSlow     Fault = "timeout"       // the connection's deadline passed before the hello was whole
	CutShort    Fault = "truncated"     // the client ended the stream inside the hello
	ClosedEarly Fault = "client_closed" // the client closed without sending anything, as a port probe does
	Reset       Fault = "client_reset"  // the client reset the connection, or its network failed
	Malformed   Fault = "bad_hello"     // a TLS record stream that holds no acceptable ClientHello
	BadName     Fault = "bad_sni"       // the server_name extension holds no host name
	ClientAlert Fault = "client_alert"  // the client sent an alert instead of a hello
)

// HelloError says why no hello could be had.
type HelloError struct {
	Fault Fault
	// Alert is the TLS alert that the client should be sent. 0, close_notify, is never one: it means to close
	// without an alert.
	Alert uint8
	Err   error
}

func (e *HelloError) Error() string { return fmt.Sprintf("hello: %s: %v", e.Fault, e.Err) }

// Unwrap returns the cause.
func (e *HelloError) Unwrap() error { return e.Err }

// The alerts with which a hello is refused (RFC 8446, section 6.2).
const (
	alertDecodeError      = 50
	alertUserCanceled     = 90
	alertUnrecognizedName = 112
)

// Choice is what a handshake goes on with.
type Choice struct {
	// Config may serve many handshakes. A GetCertificate of [Certificate] makes it serve each its own.
	Config      *tls.Config
	Certificate *tls.Certificate
}

// Server returns the server side of a TLS connection over conn. During its handshake choose is called once, with the
// client's hello, while nothing has been written yet. The name that choose sees and the name that the handshake goes on
// with come from one parse of one message: a peek that reads a hello differently from the TLS stack behind it routes a
// client by one name and serves it by another.
//
// When choose returns an error, or no hello comes, nothing at all is sent to the client: the handshake's error says
// why (a *[HelloError] where it was the hello's fault), and the caller refuses the client as it sees fit.
func Server(conn *Conn, choose func(*Hello) (Choice, error)) *tls.Conn {
	conn.choose = choose
	return tls.Server(conn, peek)
}

// peek is the configuration that every handshake begins with. One made for each would make itself ticket keys, too.
var peek = &tls.Config{
	GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) { return info.Conn.(*Conn).judge(info) },
}

// judge has the hello judged, and lets the handshake go on with what was chosen for it.
func (c *Conn) judge(info *tls.ClientHelloInfo) (*tls.Config, error) {
	hello, err := c.complete(info)
	if err != nil {
		return nil, err
	}
	choice, err := c.choose(hello)
	if err != nil {
		return nil, err
	}
	c.certificate = choice.Certificate
	c.release()
	return choice.Config, nil
}

// Certificate returns the certificate that was chosen for a handshake, as tls.Config's GetCertificate. The name is still
// the one that was chosen for: crypto/tls refuses a second hello, after a HelloRetryRequest, that names another.
func Certificate(info *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return info.Conn.(*Conn).certificate, nil
}

// Handshake runs the handshake of a connection made by [Server] and classes its error: a failure before the hello was
// whole comes back as a *[HelloError], everything else as it is.
func (c *Conn) Handshake(session *tls.Conn) error {
	err := session.Handshake()
	c.choose, c.certificate = nil, nil
	if err == nil || c.state != reading {
		return err
	}
	return c.classify(err)
}

// errTaken ends the handshake that ReadHello runs only for its parser.
var errTaken = errors.New("hello taken")

// ReadHello takes the hello off raw and returns a connection that still reads every byte, hello included. It writes
// nothing. message bounds the size of the hello in bytes. The caller sets one absolute deadline on raw beforehand; it
// holds for all of the reading, however slowly bytes trickle in. An error is a *[HelloError].
func ReadHello(raw net.Conn, message int) (*Hello, *Conn, error) {
	conn := NewConn(raw, message)
	var hello *Hello
	session := Server(conn, func(h *Hello) (Choice, error) {
		hello = h
		return Choice{}, errTaken
	})
	if err := conn.Handshake(session); !errors.Is(err, errTaken) {
		return nil, conn, err
	}
	conn.Rewind()
	return hello, conn, nil
}

// complete turns crypto/tls' parse into a Hello and enforces what it does not: the size asked for, and names.
func (c *Conn) complete(info *tls.ClientHelloInfo) (*Hello, error) {
	if size := messageSize(c.record); size > c.message {
		return nil, &HelloError{TooBig, alertDecodeError, fmt.Errorf("a ClientHello of %d bytes, %d allowed", size, c.message)}
	}
	hello := &Hello{Info: info}
	if info.ServerName != "" {
		name, err := Normalize(info.ServerName)
		if err != nil {
			return nil, &HelloError{BadName, alertUnrecognizedName, err}
		}
		hello.Name = name
	}
	c.state = holding
	return hello, nil
}

// classify says which fault of the hello made the handshake end with err.
func (c *Conn) classify(err error) error {
	if e, ok := errors.AsType[*HelloError](err); ok {
		return e
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && c.alert == 0 {
		return &HelloError{NotTLS, 0, fmt.Errorf("first bytes %x: %w", e.RecordHeader, err)}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &HelloError{TooSlow, c.alertIfTLS(alertUserCanceled), fmt.Errorf("%d bytes came: %w", len(c.record), err)}
	case errors.Is(err, io.EOF) && len(c.record) == 0:
		return &HelloError{ClosedEarly, 0, err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &HelloError{CutShort, c.alertIfTLS(alertDecodeError), fmt.Errorf("after %d bytes: %w", len(c.record), err)}
	case errors.Is(err, syscall.ECONNRESET):
		return &HelloError{Reset, 0, err}
	case c.alert == 0 && isRemote(err):
		return &HelloError{ClientAlert, 0, err}
	case c.alert == 0:
		return &HelloError{Reset, 0, err}
	case messageSize(c.record) > c.message:
		return &HelloError{TooBig, alertDecodeError, fmt.Errorf("a ClientHello of %d bytes announced, %d allowed", messageSize(c.record), c.message)}
	default:
		return &HelloError{Malformed, c.alert, err}
	}
}

// alertIfTLS is alert when what came so far may be TLS: an alert in reply to another protocol is noise to it.
func (c *Conn) alertIfTLS(alert uint8) uint8 {
	if len(c.record) > 0 && c.record[0] == recordHandshake {
		return alert
	}
	return 0
}

// isRemote reports whether crypto/tls' error is about an alert that the peer sent.
func isRemote(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "remote error"
}
