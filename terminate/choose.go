package terminate

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"hellogate/cache"
	"hellogate/sni"
	"hellogate/store"
)

// ACMEProtocol is what a certificate authority's validation offers, alone (RFC 8737, section 3). It is not for backends.
const ACMEProtocol = "acme-tls/1"

// choose takes every decision that needs the hello, before anything has been written to the client: it returns the
// TLS configuration and the certificate to go on with, or a refusal.
func (c *connection) choose(life context.Context, hello *sni.Hello) (chosen sni.Choice, err error) {
	c.stages.begin(stageRoute)
	c.strand.SetDeadline(time.Now().Add(c.server.Limits.HandshakeTimeout))
	if err := c.takeName(hello); err != nil {
		return chosen, err
	}
	if err := c.match(hello); err != nil {
		return chosen, err
	}
	c.stages.begin(stageCertificate)
	if err := c.lookUp(life, hello); err != nil {
		return chosen, err
	}
	c.stages.begin(stageHandshake)
	// Not before: a store that hangs would fill the house with clients that wait for it, and names in the cache would be
	// refused for them.
	if err := c.enterHandshake(); err != nil {
		return chosen, err
	}
	return sni.Choice{Config: c.server.configs.get(c.policy()), Certificate: c.certificate}, nil
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
	route, pattern, ok := c.server.Route(c.name, hello.Info.SupportedProtos)
	if !ok {
		return &refusal{ReasonNoRoute, AlertUnrecognizedName, nil}
	}
	c.route, c.pattern = route, pattern
	if reason, alert, refused := route.Refuses(hello.Info.SupportedProtos); refused {
		return &refusal{reason, alert, nil}
	}
	if !speaks(hello, max(route.MinVersion, tls.VersionTLS12)) {
		return &refusal{ReasonHandshake, alertProtocolVersion, errors.New("the client's TLS versions are too old")}
	}
	return nil
}

// Refuses reports whether the route refuses a client for the protocols that it offers, whatever its name: the reason and
// the TLS alert.
func (r *Route) Refuses(protocols []string) (reason Reason, alert uint8, refused bool) {
	switch {
	case r.Action == Reject:
		return ReasonRejected, alertAccessDenied, true
	case slices.Equal(protocols, []string{ACMEProtocol}), !overlap(r.ALPN, protocols):
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
		c.certificate, c.source, c.routing = got.Certificate, got.Source.String(), got.Routing
	} else if err := c.fallBack(err); err != nil {
		return err
	}
	if c.backend, err = c.servedBy(); err != nil {
		return &refusal{ReasonNoBackend, AlertInternalError, err}
	}
	return nil
}

// fallBack serves the fallback certificate in place of the one that could not be had, where that is wanted.
func (c *connection) fallBack(err error) error {
	unknown := errors.Is(err, store.ErrUnknown)
	if f := c.server.Fallback; f != nil && (unknown && f.OnUnknown || !unknown && f.OnFailure) {
		c.certificate, c.source, c.fallback = f.Certificate, "fallback", true
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

// remoteIP is the client's address; the zero Addr where it has none.
func remoteIP(conn net.Conn) netip.Addr {
	if address, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return address.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
