package terminate

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"hellogate/sni"
	"hellogate/terminate/preamble"
)

// StartTLS is a protocol in which TLS is asked for before it begins. The zero value is none.
type StartTLS struct {
	name     string
	protocol preamble.Protocol
}

// ParseStartTLS returns the protocol of that name, one that [preamble.Named] knows. An empty name is the zero value.
func ParseStartTLS(name string) (StartTLS, error) {
	if name == "" {
		return StartTLS{}, nil
	}
	protocol, ok := preamble.Named(name)
	if !ok {
		return StartTLS{}, fmt.Errorf("starttls %q: no such protocol", name)
	}
	return StartTLS{name, protocol}, nil
}

// String is the name; empty: none.
func (s StartTLS) String() string { return s.name }

// Request asks a server for TLS, up to where a ClientHello may be sent. The caller bounds the time that it takes. It must not be
// called on the zero value.
func (s StartTLS) Request(conn io.ReadWriter) error { return s.protocol.Request(conn, hostname()) }

func (s StartTLS) on() bool { return s.protocol != nil }

const (
	postgres = "postgres"
	auto     = "auto" // TLS or postgres
)

// greets reports whether the server is who speaks first.
func (s StartTLS) greets() bool { return s.name == "smtp" || s.name == "imap" || s.name == "pop3" }

// opening is what is known of a connection's preamble, until its bytes flow.
type opening struct {
	preamble.Opening
	offers   bool              // the hello offers PostgreSQL's protocol
	startup  []byte            // PostgreSQL's first message within TLS, which the server is to be sent first
	greeting preamble.Greeting // of the server
	name     string            // in place of the connection's towards the server; empty: that
}

// cancels reports whether the client wants no session but another's query cancelled.
func (c *connection) cancels() bool { return c.opening != nil && c.opening.Cancel != nil }

// negotiate speaks to the client what its protocol says in the clear, up to the hello.
func (c *connection) negotiate() error {
	speaks := c.listener.StartTLS
	if !speaks.on() {
		return nil
	}
	opened, err := speaks.protocol.Negotiate(&c.client.transport, c.host())
	if err != nil {
		return c.failedOpening(err)
	}
	c.server.preambles.add(speaks.name, outcome(opened))
	c.opening = &opening{Opening: opened}
	c.postgres = speaks.name == postgres || speaks.name == auto && !opened.Direct
	c.client.unread = append(opened.Unread, c.client.unread...)
	if len(c.client.unread) == 0 {
		c.client.unread = nil
	}
	if opened.Cancel == nil {
		c.stages.begin(stageHello)
		c.show()
	}
	return nil
}

// failedOpening classes what ended the preamble, counts it, and takes leave of a client whose time is over.
func (c *connection) failedOpening(err error) error {
	speaks, failed := c.listener.StartTLS, preambleRefusal(err)
	refused, told := failed.(*refusal)
	switch {
	case told:
	case c.strand.IsCut():
		refused = &refusal{c.cutBy(), 0, err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		_, _ = c.client.transport.Write(speaks.protocol.Farewell(c.host()))
		refused = &refusal{ReasonTimeout, 0, err}
	default:
		refused = &refusal{ReasonClientReset, 0, err}
	}
	c.server.preambles.add(speaks.name, string(refused.reason))
	return refused
}

// outcome is what a preamble that went well came to.
func outcome(opened preamble.Opening) string {
	switch {
	case opened.Cancel != nil:
		return "cancel"
	case opened.Direct:
		return "direct"
	}
	return "starttls"
}

// preambleRefusal classes what ended a preamble. The client has been told, where the protocol has words for it.
func preambleRefusal(err error) error {
	failed, ok := errors.AsType[*preamble.Error](err)
	switch {
	case !ok:
		return err
	case failed.Fault == preamble.ClosedEarly:
		return &refusal{Reason(sni.ClosedEarly), 0, failed.Err}
	}
	return &refusal{Reason(failed.Fault), 0, failed.Err}
}

// hostname is this machine's.
var hostname = sync.OnceValue(func() string {
	name, _ := os.Hostname()
	return cmp.Or(name, "localhost")
})

// host is what a greeting says this is.
func (c *connection) host() string { return cmp.Or(c.listener.DefaultName, hostname()) }

// postgresProtocol is what PostgreSQL is called in a hello.
const postgresProtocol = "postgresql"

// tellPostgres looks whether the hello offers PostgreSQL's protocol: a client that began with TLS speaks it then, where
// others come, too.
func (c *connection) tellPostgres(hello *sni.Hello) {
	if c.opening == nil {
		return
	}
	c.opening.offers = slices.Contains(hello.Info.SupportedProtos, postgresProtocol)
	if c.opening.Direct && c.listener.StartTLS.name == auto {
		c.postgres = c.opening.offers && (c.route.Action == Passthrough || c.route.takesPostgres())
	}
}

// takesPostgres reports whether a client can be given PostgreSQL's protocol on the route.
func (r *Route) takesPostgres() bool {
	return len(r.ALPN) == 0 || slices.Contains(r.ALPN, postgresProtocol)
}

// refusesOpening refuses a client whose protocol has to be negotiated, and can't be.
func (c *connection) refusesOpening(hello *sni.Hello) error {
	if c.opening == nil || c.opening.ALPN == "" {
		return nil
	}
	needed := c.opening.ALPN
	if !slices.Contains(hello.Info.SupportedProtos, needed) {
		return &refusal{ReasonNoALPN, alertNoApplicationProtocol, fmt.Errorf("TLS without a request for it takes the protocol %s, which is not offered", needed)}
	}
	if c.route.Action == Terminate && !c.route.takesPostgres() {
		return &refusal{ReasonNoALPN, alertNoApplicationProtocol, fmt.Errorf("the route does not take the protocol %s", needed)}
	}
	return nil
}

// asks is the protocol in which the server is asked for TLS.
func (c *connection) asks() StartTLS {
	theirs := c.listener.StartTLS
	switch {
	case c.passes() && theirs.on() && (theirs.name != auto || c.postgres):
		return theirs
	case c.passes(), c.to.backend.TLS.on():
		return c.to.backend.StartTLS
	}
	return StartTLS{}
}

// passes reports whether TLS is between the client and the server.
func (c *connection) passes() bool { return c.route != nil && c.route.Action == Passthrough }
