package terminate

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"hellogate/sni"
	"hellogate/terminate/proxyproto"
)

// Proxy says whose PROXY header is read.
type Proxy struct {
	From     []netip.Prefix // anyone else's bytes are a client's
	Required bool           // those who come without one are refused
	Timeout  time.Duration  // from the accept
}

// trusts reports whether a peer is one of those. A network has the addresses of all links.
func (p *Proxy) trusts(peer netip.Addr) bool {
	peer = peer.WithZone("")
	return slices.ContainsFunc(p.From, func(network netip.Prefix) bool { return network.Contains(peer) })
}

// greet reads the PROXY header of a trusted proxy, and takes the client's address from there. What comes behind the header
// is read again.
func (c *connection) greet() error {
	proxy := c.listener.Proxy
	if !c.listener.trusts(c.source.Addr()) {
		return nil
	}
	header, err := c.readHeader(proxy.Required)
	if err != nil {
		return err
	}
	if !header.Local && header.Source.IsValid() && header.Destination.IsValid() {
		c.source, c.destination = header.Source, header.Destination
	}
	c.received = header.TLVs
	if why := c.kept.countClient(c.server.clients, c.source.Addr()); why != "" {
		return &refusal{why, AlertInternalError, nil}
	}
	c.stages.begin(c.listener.firstStage())
	c.show()
	c.strand.SetDeadline(time.Now().Add(c.plan.Limits.Hello))
	return nil
}

// readHeader reads from the client until the header is whole, or it is plain that there is none.
func (c *connection) readHeader(required bool) (proxyproto.Header, error) {
	var got []byte
	var chunk [proxyproto.MaxSize]byte
	for {
		n, err := c.client.transport.Read(chunk[:])
		got = append(got, chunk[:n]...)
		header, size, fault := proxyproto.Parse(got, proxyproto.MaxSize)
		switch {
		case fault == nil, fault == proxyproto.ErrNone && !required:
			if size < len(got) {
				c.client.unread = got[size:]
			}
			return header, nil
		case fault != proxyproto.ErrShort:
			return header, headerRefusal(fault, len(got))
		case err == io.EOF:
			return header, headerRefusal(err, len(got))
		case err != nil:
			return header, err
		}
	}
}

var errNoHeader = errors.New("a trusted proxy sent no PROXY header")

// headerRefusal classes what went wrong with a header. Who sends none, or a bad one, gets no answer (specification, 2.1).
func headerRefusal(err error, got int) error {
	switch {
	case err == io.EOF && got == 0: // as a health check does
		return &sni.HelloError{Fault: sni.ClosedEarly, Err: err}
	case err == proxyproto.ErrNone:
		err = errNoHeader
	}
	return &refusal{ReasonProxyHeader, 0, err}
}
