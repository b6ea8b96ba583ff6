package terminate

import (
	"crypto/tls"
	"errors"
	"fmt"

	"hellogate/terminate/preamble"
)

// prepare says to a server that was connected to what there is to say before the client's bytes, if anything: the request
// for TLS, TLS, what greetings take. The PROXY header goes first, in the clear: whoever reads it is in front of all that.
func (c *connection) prepare(header []byte) error {
	asks, encrypts, greeted := c.asks(), c.to.backend.TLS.on() && !c.passes(), c.awaitsGreeting()
	c.to.isTold = asks.on() || encrypts || greeted
	if !c.to.isTold {
		return nil
	}
	if _, err := c.upstream.transport.Write(header); err != nil {
		return err
	}
	c.upstream.patient = true
	if asks.on() {
		if err := asks.Request(&c.upstream.transport); err != nil {
			return fmt.Errorf("ask for TLS: %w", err)
		}
	}
	if encrypts {
		if err := c.encrypt(!asks.on()); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	if greeted && !asks.on() {
		if err := c.swallow(); err != nil {
			return fmt.Errorf("greeting: %w", err)
		}
	}
	c.upstream.patient = false
	return nil
}

// encrypt has the server speak TLS; directly, when it was not asked for it. Then PostgreSQL's takes no client that does not offer
// its protocol, whatever the client in front of us knows to offer.
func (c *connection) encrypt(directly bool) error {
	protocol := ""
	if c.client.session != nil {
		protocol = c.client.session.ConnectionState().NegotiatedProtocol
	}
	config := c.to.backend.TLS.config(c.authority(), protocol)
	if directly && c.postgres && len(config.NextProtos) == 0 {
		config = config.Clone()
		config.NextProtos = []string{postgresProtocol}
	}
	session := tls.Client(&c.upstream.transport, config)
	if err := session.Handshake(); err != nil {
		return err
	}
	c.upstream.session = session
	return nil
}

// awaitsGreeting reports whether the server speaks first, to a client that has had the greeting.
func (c *connection) awaitsGreeting() bool { return !c.passes() && c.listener.StartTLS.greets() }

// swallow reads the server's greeting.
func (c *connection) swallow() (err error) {
	c.opening.greeting, err = c.listener.StartTLS.protocol.Swallow(&c.upstream)
	return err
}

// isRefused reports whether the server sent its client away in place of a greeting.
func (c *connection) isRefused() bool { return c.opening != nil && c.opening.greeting.Refusal != nil }

// passRefusal passes on what the server said in place of a greeting, and ends the connection as the server does.
func (c *connection) passRefusal() (Reason, error) {
	_, _ = c.client.Write(c.opening.greeting.Refusal) // whom it does not reach is gone
	c.hangUp()
	return ReasonServerRefused, nil
}

// first is what goes first to either side: to the server behind what is left of the PROXY header. It ends the time of the
// preamble.
func (c *connection) first(header []byte) (up, down []byte) {
	opened := c.opening
	if opened == nil {
		return header, nil
	}
	c.opening = nil
	if c.awaitsGreeting() {
		c.to.heard(1) // the greeting, of which the client gets nothing
	}
	if opened.startup != nil {
		c.bytes.down.watch = &keyWatch{connection: c}
	}
	c.bytes.up.moved.Add(int64(len(opened.startup)))
	c.bytes.down.moved.Add(int64(len(opened.greeting.Unread)))
	return append(header, opened.startup...), opened.greeting.Unread
}

// saysNo reports whether a server refused TLS: it is well, and the next may be like it.
func saysNo(err error) bool {
	failed, ok := errors.AsType[*preamble.Error](err)
	return ok && failed.Fault == preamble.Plaintext
}
