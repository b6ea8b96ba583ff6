package terminate

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"slices"
	"sync"

	"hellogate/sni"
	"hellogate/terminate/clientauth"
)

// policy is what a handshake depends on besides its certificate. Handshakes of one policy share one tls.Config: one made
// for each would live as long as its connection.
type policy struct {
	route       *Route
	defaultName string // of the listener
	fallback    bool   // the certificate is the fallback
	postgres    bool   // PostgreSQL's protocol is negotiated, whatever else the client offers
}

func (c *connection) policy() policy {
	return policy{c.route, c.listener.DefaultName, c.fallback, c.postgres && c.opening.offers && c.route.takesPostgres()}
}

// configs has a tls.Config for each policy that was met. The zero value is ready.
type configs struct{ made sync.Map }

// prepared is a tls.Config with the authorities for client certificates that it was made with, which may change.
type prepared struct {
	trust  *clientauth.Trust
	config *tls.Config
}

func (c *configs) get(p policy) *tls.Config {
	if made, ok := c.made.Load(p); ok && made.(*prepared).trust == p.route.ClientAuth.Trust() {
		return made.(*prepared).config
	}
	config := p.config()
	c.made.Store(p, &prepared{p.route.ClientAuth.Configure(config), config})
	return config
}

func (p policy) config() *tls.Config {
	protocols := p.route.ALPN
	if p.postgres {
		protocols = []string{postgresProtocol}
	}
	return &tls.Config{
		GetCertificate: sni.Certificate,
		MinVersion:     max(p.route.MinVersion, tls.VersionTLS12),
		NextProtos:     protocols,
		// A ticket of a name that was not served its own certificate would outlive the reason for that.
		SessionTicketsDisabled: p.fallback || p.route.Tickets == nil,
		WrapSession:            p.wrapSession,
		UnwrapSession:          p.unwrapSession,
	}
}

// binding is what a session is good for: the name as it was sent, the name it was taken for, and the policy for client
// certificates. Without it a ticket of one tenant's name resumes under another's, and one of an open name under one
// that asks for a client certificate (RFC 6066, section 3, forbids the former; CVE-2025-23419 was the latter). None of
// the parts can hold the separator.
func (p policy) binding(state tls.ConnectionState) []byte {
	sent, _ := sni.Normalize(state.ServerName) // it was found good when the hello was taken; empty: none was sent
	const first = "hellogate session\x00"
	name, clients := cmp.Or(sent, p.defaultName), p.route.ClientAuth.Binding()
	binding := make([]byte, 0, len(first)+len(sent)+1+len(name)+1+len(clients))
	binding = append(append(append(binding, first...), sent...), 0)
	return append(append(append(binding, name...), 0), clients...)
}

// wrapSession makes a ticket, bound to its connection's name and policy.
func (p policy) wrapSession(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
	session.Extra = append(session.Extra, p.binding(state))
	return p.route.Tickets.EncryptTicket(state, session)
}

// unwrapSession opens a ticket. One that can't be read, or is bound otherwise, means a full handshake, not an error.
func (p policy) unwrapSession(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
	session, err := p.route.Tickets.DecryptTicket(identity, state)
	if err != nil || session == nil {
		return nil, nil
	}
	want := p.binding(state)
	if !slices.ContainsFunc(session.Extra, func(extra []byte) bool { return bytes.Equal(extra, want) }) {
		return nil, nil
	}
	return session, nil
}
