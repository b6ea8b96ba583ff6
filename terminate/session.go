package terminate

import (
	"crypto/tls"
	"slices"
)

// config is what the handshake goes on with. Its certificate is the connection's alone, chosen already.
func (c *connection) config() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.certificate, nil },
		MinVersion:     max(c.route.MinVersion, tls.VersionTLS12),
		NextProtos:     c.route.ALPN,
		// A ticket of a name that was not served its own certificate would outlive the reason for that.
		SessionTicketsDisabled: c.fallback,
		WrapSession:            c.wrapSession,
		UnwrapSession:          c.unwrapSession,
	}
}

// sessionPolicy is the client-certificate policy that a session was made under. This version knows one.
const sessionPolicy = "off"

// binding is what a session is good for: the name as it was sent, the name it was taken for, and the policy for client
// certificates. Without it a ticket of one tenant's name resumes under another's, and one of an open name under one
// that asks for a client certificate (RFC 6066, section 3, forbids the former; CVE-2025-23419 was the latter). None of
// the parts can hold the separator.
func (c *connection) binding() []byte {
	return []byte("hellogate session\x00" + c.helloName + "\x00" + c.name + "\x00" + sessionPolicy)
}

// wrapSession makes a ticket, bound to this connection's name and policy.
func (c *connection) wrapSession(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
	session.Extra = append(session.Extra, c.binding())
	return c.server.tickets.EncryptTicket(state, session)
}

// unwrapSession opens a ticket. One that can't be read, or is bound otherwise, means a full handshake, not an error.
func (c *connection) unwrapSession(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
	session, err := c.server.tickets.DecryptTicket(identity, state)
	if err != nil || session == nil {
		return nil, nil
	}
	want := string(c.binding())
	if !slices.ContainsFunc(session.Extra, func(extra []byte) bool { return string(extra) == want }) {
		return nil, nil
	}
	return session, nil
}
