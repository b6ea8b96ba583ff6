package terminate

import (
	"context"
	"crypto/tls"
	"slices"
	"time"

	"hellogate/sni"
)

// ACMEProtocol is what a certificate authority's validation offers, alone (RFC 8737, section 3). It is not for backends,
// and in no route's protocols: with it in an otherwise empty list, every client would be refused that offers others.
const ACMEProtocol = "acme-tls/1"

// Challenges has the certificates that prove to a certificate authority that a name is served here (RFC 8737, section 3).
// It is safe for concurrent use.
type Challenges interface {
	// Certificate is that of a name, as sni.Normalize accepted it; nil: no proof is wanted. An error says that this could not
	// be found out.
	Certificate(ctx context.Context, name string) (*tls.Certificate, error)
}

// proofTimeout is how long the handshake of a validation may take: it has no route that would say so.
const proofTimeout = 10 * time.Second

// proof is what every validation goes by. It asks for no client certificate and gives no ticket, as it leads nowhere.
var proof = &tls.Config{
	GetCertificate:         sni.Certificate,
	MinVersion:             tls.VersionTLS12,
	NextProtos:             []string{ACMEProtocol},
	SessionTicketsDisabled: true,
}

// isValidation reports whether a client that offers protocols is a certificate authority that wants a proof.
func isValidation(protocols []string) bool { return slices.Equal(protocols, []string{ACMEProtocol}) }

// prove finds the proof for a certificate authority, whatever route the name has: the authority comes before there is a
// certificate, and where the name is passed through the backend could not know of the proof. Without one the client is for
// the routes to refuse. The name is the one that was sent: a listener's own proves nothing.
func (c *connection) prove(life context.Context, hello *sni.Hello) (chosen sni.Choice, proves bool, err error) {
	if c.server.Challenges == nil || hello.Name == "" || !isValidation(hello.Info.SupportedProtos) {
		return chosen, false, nil
	}
	c.strand.SetDeadline(time.Now().Add(proofTimeout))
	ctx, cancel := context.WithTimeout(life, proofTimeout)
	defer cancel()
	certificate, err := c.server.Challenges.Certificate(ctx, hello.Name)
	if err != nil {
		return chosen, false, &refusal{ReasonStoreDown, AlertInternalError, err}
	}
	if certificate == nil {
		return chosen, false, nil
	}
	c.certificate, c.from, c.proves = certificate, "challenge", true
	c.stages.begin(stageHandshake)
	c.show()
	if err := c.takeTurn(); err != nil {
		return chosen, false, err
	}
	return sni.Choice{Config: proof, Certificate: certificate}, true, nil
}

// proved ends the connection of a certificate authority that was given its proof. Nothing that it sends is for a backend.
func (c *connection) proved() (Reason, error) {
	c.hangUp() // or the authority has left, when it had seen what it came for
	return ReasonOK, nil
}
