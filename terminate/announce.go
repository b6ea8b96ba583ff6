package terminate

import (
	"crypto/tls"

	"hellogate/terminate/proxyproto"
)

// announce makes the PROXY header, which goes to the server with the first bytes, or ahead of its TLS. nil: none is sent.
func (c *connection) announce() ([]byte, error) {
	sender := c.to.backend.Proxy
	if sender == nil {
		return nil, nil
	}
	told := proxyproto.Connection{
		Source: c.source, Destination: c.destination, Authority: c.authority(), UniqueID: []byte(c.hexID()),
		Namespace: namespace, Received: c.received,
	}
	if c.client.session != nil {
		state := c.client.session.ConnectionState()
		told.Protocol, told.TLS = state.NegotiatedProtocol, c.told(&state)
	}
	header, err := sender.Append(nil, told)
	if err != nil {
		return nil, &refusal{ReasonProxyHeader, AlertInternalError, err}
	}
	return header, nil
}

// authority is the name that the server is told, which is the client's own; of who cancels a query, that of whose it is.
func (c *connection) authority() string {
	if c.opening != nil && c.opening.name != "" {
		return c.opening.name
	}
	return c.name
}

// told is what the header tells of a client's TLS.
func (c *connection) told(state *tls.ConnectionState) *proxyproto.TLS {
	told := &proxyproto.TLS{
		Version: state.Version, CipherSuite: state.CipherSuite, Group: state.CurveID, Resumed: state.DidResume,
		Verified: len(state.VerifiedChains) > 0,
	}
	if len(state.PeerCertificates) > 0 {
		told.ClientCertificate = state.PeerCertificates[0]
	}
	if c.to.backend.TellsCertificate {
		told.Certificate = leaves.of(c.certificate)
		if !state.DidResume {
			told.SignatureScheme = signedWith(c.schemes, c.certificate, state.Version)
		}
	}
	return told
}
