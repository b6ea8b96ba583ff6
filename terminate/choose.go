package terminate

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"slices"
	"time"

	"hellogate/cache"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/terminate/limit"
)

// errPassthrough ends the handshake that was begun only for its hello.
var errPassthrough = errors.New("passed through")

// choose takes every decision that needs the hello, before anything has been written to the client: it returns the
// TLS configuration and the certificate to go on with, or a refusal.
func (c *connection) choose(life context.Context, hello *sni.Hello) (chosen sni.Choice, err error) {
	c.stages.begin(stageRoute)
	if err := c.takeName(hello); err != nil {
		return chosen, err
	}
	if chosen, proves, err := c.prove(life, hello); proves || err != nil {
		return chosen, err
	}
	if err := c.match(hello); err != nil {
		return chosen, err
	}
	c.strand.SetDeadline(time.Now().Add(c.route.Timeouts.Handshake))
	if c.route.Action == Passthrough {
		c.to.backend = c.route.Backend
		return chosen, errPassthrough
	}
	c.stages.begin(stageCertificate)
	c.show()
	if err := c.lookUp(life, hello); err != nil {
		return chosen, err
	}
	c.stages.begin(stageHandshake)
	c.show()
	// Not before: a store that hangs would fill the house with clients that wait for it, and names in the cache would be
	// refused for them.
	if err := c.takeTurn(); err != nil {
		return chosen, err
	}
	return sni.Choice{Config: c.plan.configs.get(c.policy()), Certificate: c.certificate}, nil
}

// takeName settles the one name that everything else goes by.
func (c *connection) takeName(hello *sni.Hello) error {
	c.helloName, c.name = hello.Name, hello.Name
	if c.name == "" {
		c.name = c.listener.DefaultName
	}
	if c.name == "" {
		return &refusal{ReasonNoSNI, alertMissingExtension, nil}
	}
	return nil
}

// match finds the route and what can be said against the client before its name is looked up.
func (c *connection) match(hello *sni.Hello) error {
	protocols := hello.Info.SupportedProtos
	route, pattern, ok := c.plan.Routes.Find(sni.Query{Name: c.name, Protocols: protocols, Client: c.source.Addr(), Listener: c.listener.Name})
	if !ok {
		return &refusal{ReasonNoRoute, AlertUnrecognizedName, nil}
	}
	c.route, c.pattern = route, pattern
	c.tellPostgres(hello)
	if reason, alert, refused := route.Refuses(protocols); refused {
		return &refusal{reason, alert, nil}
	}
	if err := c.refusesOpening(hello); err != nil {
		return err
	}
	if route.Action == Terminate && !speaks(hello, max(route.MinVersion, tls.VersionTLS12)) {
		return &refusal{ReasonHandshake, alertProtocolVersion, errors.New("the client's TLS versions are too old")}
	}
	if !c.kept.count(route.Connections) {
		return &refusal{ReasonLimited, AlertInternalError, errors.New("too many connections of the route")}
	}
	if why := c.kept.countClient(route.Clients, c.source.Addr()); why != "" {
		return &refusal{why, AlertInternalError, errors.New("too many connections of the client on the route")}
	}
	return nil
}

// takeTurn waits until the handshake may go on, where there are as many as there may be.
func (c *connection) takeTurn() error {
	state := c.server.gate.Enter(&c.permit, c.source.Addr(), &c.strand)
	for state == limit.Waiting {
		if err := c.await(); err != nil {
			return turnRefusal(err)
		}
		state = c.permit.State()
	}
	if state == limit.Refused {
		c.server.limited.event(c.server.Log, "handshakes").Str("reason", string(ReasonLimited)).Msg("too many handshakes wait")
		return &refusal{ReasonLimited, AlertInternalError, errors.New("too many handshakes wait")}
	}
	return nil
}

// turnRefusal classes what ended the wait for a turn.
func turnRefusal(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{ReasonTimeout, AlertInternalError, errors.New("too many handshakes are under way")}
	case err == errGone:
		return &refusal{ReasonClientReset, 0, err}
	}
	return err
}

var errGone = errors.New("the client reset the connection while it waited")

// await waits until something happens, on behalf of a client that may go away meanwhile: whoever is gone must not take
// another's place.
func (c *connection) await() error {
	if err := c.strand.Wait(); err != nil {
		return err
	}
	if c.client.Over() {
		return errGone
	}
	return nil
}

// Refuses reports whether the route refuses a client for the protocols that it offers, whatever its name: the reason and
// the TLS alert.
func (r *Route) Refuses(protocols []string) (reason Reason, alert uint8, refused bool) {
	switch {
	case r.Action == Reject:
		return ReasonRejected, alertAccessDenied, true
	case isValidation(protocols), r.Action == Terminate && !overlap(r.ALPN, protocols):
		return ReasonNoALPN, alertNoApplicationProtocol, true
	}
	return "", 0, false
}

// speaks reports whether the client offers a TLS version that is new enough. Versions made up to keep servers tolerant
// (RFC 8701) don't count.
func speaks(hello *sni.Hello, oldest uint16) bool {
	return slices.ContainsFunc(hello.Info.SupportedVersions, func(v uint16) bool { return v >= oldest && v <= tls.VersionTLS13 })
}

// overlap reports whether a client that offers some protocols can be served by a route that takes some. Where one of
// the two has nothing to say, none is negotiated. crypto/tls is laxer: it lets clients of HTTP/1.1 pass where only h2 is
// taken, and the backend would be spoken to in the wrong protocol.
func overlap(taken, offered []string) bool {
	if len(taken) == 0 || len(offered) == 0 {
		return true
	}
	return slices.ContainsFunc(offered, func(p string) bool { return slices.Contains(taken, p) })
}

// lookUp gets the certificate, or the fallback in its place. It is asked before every handshake, resumed ones too: a
// name that has no certificate any more is refused whatever ticket its client holds.
func (c *connection) lookUp(life context.Context, hello *sni.Hello) error {
	got, err := c.server.Certificates.Get(life, c.query(hello))
	if err == nil {
		c.certificate, c.from, c.schemes = got.Certificate, got.Source.String(), hello.Info.SignatureSchemes
	} else if err := c.fallBack(err); err != nil {
		return err
	}
	if c.to, err = c.servedBy(got.Routing); err != nil {
		return &refusal{ReasonNoBackend, AlertInternalError, err}
	}
	return nil
}

// fallBack serves the fallback certificate in place of the one that could not be had, where that is wanted.
func (c *connection) fallBack(err error) error {
	unknown := errors.Is(err, store.ErrUnknown)
	if f := c.plan.Fallback; f != nil && (unknown && f.OnUnknown || !unknown && f.OnFailure) {
		c.certificate, c.from, c.fallback = f.Certificate, "fallback", true
		return nil
	}
	if unknown {
		return &refusal{ReasonNoCert, AlertUnrecognizedName, err}
	}
	return &refusal{failureReason(err), AlertInternalError, err}
}

// failureReason classes the failure of a look-up.
func failureReason(err error) Reason {
	failure, ok := errors.AsType[*store.Failure](err)
	switch {
	case errors.Is(err, cache.ErrLimited):
		return ReasonLimited
	case ok && failure.CutOff:
		return ReasonBreakerOpen
	case ok: // perhaps the store's own deadline passed, but not the look-up's
		return ReasonStoreDown
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonCertTimeout
	case errors.Is(err, context.Canceled):
		return ReasonDrained
	default:
		return ReasonStoreDown
	}
}
