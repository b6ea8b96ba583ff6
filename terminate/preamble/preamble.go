// Package preamble speaks what some protocols say in the clear before their TLS, to clients and to servers.
//
// The rule that it guards: nothing that was said in the clear counts once TLS is on. What comes behind the request for TLS
// and before its answer is refused, never kept (CVE-2011-0411, CVE-2021-23214): it could have been put there by anybody.
//
// Nothing here waits by itself, sets a deadline or closes: that is the connection's, whose reads wait and fail when its time
// is over. What is read is bounded in bytes and in commands, and so is what is written.
package preamble

import (
	"fmt"
	"io"
)

// Protocol is a protocol whose TLS begins behind a preamble. A connection may be given to one method at a time, and any number
// of connections to one Protocol.
type Protocol interface {
	// Negotiate speaks to a client, as the server, up to where its ClientHello begins. The host is what a greeting names.
	//
	// An *Error says that there will be no TLS: the client has been sent what the protocol has to say about that, and is to
	// be closed so that it arrives, which takes that what it still sends is read. Any other error is the connection's.
	Negotiate(conn io.ReadWriter, host string) (Opening, error)

	// Request asks a server for TLS, as its client that is called host, up to where a ClientHello may be sent. An *Error says
	// that the server does not, any other error is the connection's.
	Request(conn io.ReadWriter, host string) error

	// Swallow reads the greeting of a server that is spoken to in the clear on behalf of a client whose TLS is on, and which
	// has had our greeting. Of protocols whose servers don't greet it reads nothing. An *Error says that what came is no
	// greeting, any other error is the connection's.
	Swallow(conn io.Reader) (Greeting, error)

	// Farewell is what a client may be sent whose time is over before it began with TLS. Nil: nothing.
	Farewell(host string) []byte
}

// Named returns the protocol of that name: postgres, smtp, imap, pop3, ldap or auto, which is TLS or postgres, whatever a
// client begins with; towards a server it is postgres.
func Named(name string) (Protocol, bool) {
	p, ok := protocols[name]
	return p, ok
}

var protocols = map[string]Protocol{
	"postgres": postgres{},
	"auto":     auto{},
	"smtp":     smtp{},
	"imap":     imap{},
	"pop3":     pop3{},
	"ldap":     ldap{},
}

// Opening is what a client's preamble came to.
type Opening struct {
	// Unread is what was read of the ClientHello; it comes before what the connection still has. Nil: nothing.
	Unread []byte
	// Direct says that the client began with TLS.
	Direct bool
	// ALPN is the protocol that the client has to offer, and to be given: a client that does not is to be refused with the
	// alert no_application_protocol. Empty: nothing is required.
	ALPN string
	// Cancel is not nil when the client wants no session but another's query cancelled: it is to be passed on to the server
	// that the key is of, or dropped. The client waits for the end of the connection, and is sent nothing.
	Cancel *Key
}

// Greeting is what a server said first.
type Greeting struct {
	// Refusal is what the server said in place of a greeting, to be passed on to the client as it is; then both sides
	// end. Nil: the server is ready.
	Refusal []byte
	// Unread is what was read behind the greeting, the first that the client is to get of the server. Nil: nothing.
	Unread []byte
}

// Fault says in one word what was wrong with a preamble.
type Fault string

// The faults.
const (
	Plaintext   Fault = "plaintext"    // the peer will not speak TLS
	Injection   Fault = "injection"    // bytes where none may be, right before TLS
	Malformed   Fault = "preamble"     // garbage, another protocol, or too much
	ClosedEarly Fault = "closed_early" // the peer went away before it had said what it wants
)

// Error says why there is no TLS behind a preamble. Its text has nothing of what a client sent, which may be a password, but
// the names of commands that are known; and of what a server sent no more than a line, quoted.
type Error struct {
	Fault Fault
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Fault, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fault(f Fault, format string, args ...any) error { return &Error{f, fmt.Errorf(format, args...)} }
