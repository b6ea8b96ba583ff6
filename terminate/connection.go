package terminate

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"hellogate/cache"
	"hellogate/sni"
	"hellogate/terminate/limit"
	"hellogate/terminate/pool"
	"hellogate/terminate/proxyproto"
	"hellogate/terminate/socket"
)

// connection is a client's connection, from accept to its line in the access log.
type connection struct {
	server   *Server
	plan     *Plan
	listener *Listener
	id       [12]byte
	strand   socket.Strand
	client   stream
	hello    *sni.Conn
	stages   stages
	kept     kept
	permit   limit.Ticket // for the handshake
	killed   atomic.Pointer[Reason]

	// What is found out on the way.
	source, destination netip.AddrPort     // the two ends of the client's connection, as far as they are known
	received            []proxyproto.Field // of the PROXY header that came first
	helloName           string             // as the client sent it, normalised; empty: it sent none
	name                string             // the one routed, looked up and announced
	route               *Route
	pattern             sni.Pattern
	certificate         *tls.Certificate
	schemes             []tls.SignatureScheme // that the client takes
	from                string                // where the certificate is from, for the log
	fallback            bool
	postgres            bool     // it speaks PostgreSQL's protocol
	opening             *opening // nil: there is no preamble, or its time is over
	forgetKey           func()   // nil: no key of it is kept
	proves              bool     // a certificate authority is given its proof, and nothing else

	to       destination
	dialed   atomic.Pointer[pool.Server] // see KillServer
	upstream stream                      // to the server
	bytes    splice
	seen     atomic.Uint32 // the stage that others know of: see show
}

func newConnection(s *Server, plan *Plan, l *Listener, accepted socket.Conn, id [12]byte) *connection {
	c := &connection{server: s, plan: plan, listener: l, id: id}
	s.sockets.Begin(&c.strand, c.step)
	c.client = stream{transport: transport{Conn: accepted, strand: &c.strand, patient: true}, onReset: ReasonClientReset}
	c.hello = sni.NewConn(&c.client.transport, plan.Limits.HelloBytes)
	c.source, c.destination = accepted.Remote(), addrPortOf(accepted.LocalAddr())
	c.stages.began = time.Now()
	return c
}

// start begins to wait for the first bytes, which takes no goroutine.
func (c *connection) start() {
	within := c.plan.Limits.Hello
	c.stages.at = c.listener.firstStage()
	trusted := c.listener.trusts(c.source.Addr())
	if trusted {
		within, c.stages.at = c.listener.Proxy.Timeout, stageProxy
	}
	c.show()
	c.strand.SetDeadline(c.stages.began.Add(within))
	if err := socket.Attach(c.client.Conn, &c.strand); err != nil {
		c.end(c.reset(err))
		return
	}
	greets := c.listener.StartTLS.greets() && !trusted
	c.strand.Rest()
	if greets {
		c.strand.Wake()
	}
}

// step goes on with the connection when something has happened. Until its bytes flow that takes a goroutine, which may
// wait; from then on it is a moment's work, and bulk.
func (c *connection) step(alone bool) socket.Progress {
	if c.stages.at != stageSplice {
		if !alone {
			return socket.More
		}
		if reason, err := c.open(c.server.life); reason != "" {
			c.end(reason, err)
			return socket.Done
		}
	}
	progress := c.bytes.step()
	c.to.heard(c.bytes.down.moved.Load())
	if progress == socket.Done {
		c.end(c.bytes.result())
	}
	return progress
}

// open is the life of a connection up to where its bytes flow. A reason says that it ends before that.
func (c *connection) open(life context.Context) (Reason, error) {
	if err := c.meet(life); err != nil {
		return c.refuse(err)
	}
	if c.proves {
		return c.proved()
	}
	if err := c.startUp(); err != nil {
		return c.dismiss(err)
	}
	if c.cancels() {
		return c.cancel(life)
	}
	header, err := c.announce()
	if err != nil {
		return c.turnAway(err)
	}
	if err := c.dial(life, header); err != nil {
		return c.turnAway(err)
	}
	if c.isRefused() {
		return c.passRefusal()
	}
	c.splice(header)
	return "", nil
}

// meet has the client say what it wants, up to the end of its handshake.
func (c *connection) meet(life context.Context) error {
	if err := c.greet(); err != nil {
		return err
	}
	if err := c.negotiate(); err != nil || c.cancels() {
		return err
	}
	return c.handshake(life)
}

// end sees to what is left of a connection that is over, whatever it came to.
func (c *connection) end(reason Reason, err error) {
	if c.strand.IsCut() {
		reason, err = c.cutBy(), nil // what failed then failed for that reason
	}
	c.release(reason)
	c.server.ended.add(reason)
	c.server.times.add(&c.stages)
	c.log(reason, err)
	c.server.leave(c)
}

// cutBy is why the connection was cut: somebody wanted it, or the time to drain is over.
func (c *connection) cutBy() Reason {
	if why := c.killed.Load(); why != nil {
		return *why
	}
	return ReasonDrained
}

// handshake reads the hello, chooses route and certificate, and completes the TLS handshake; or leaves it to the server, of
// a client that is passed through.
func (c *connection) handshake(life context.Context) error {
	defer c.server.gate.Leave(&c.permit)
	c.client.session = sni.Server(c.hello, func(hello *sni.Hello) (sni.Choice, error) { return c.choose(life, hello) })
	err := c.hello.Handshake(c.client.session)
	if errors.Is(err, errPassthrough) {
		c.passThrough()
		return nil
	}
	if err == nil {
		state := c.client.session.ConnectionState()
		c.server.handshakes.add(&state)
	}
	return err
}

// passThrough has the server be sent all that came from the client.
func (c *connection) passThrough() {
	c.client.unread = append(c.hello.Recorded(), c.client.unread...)
	c.client.session, c.hello = nil, nil
}

// hexID is the connection's id as the log and the backend are told.
func (c *connection) hexID() string { return hex.EncodeToString(c.id[:]) }

// splice begins to move the bytes. The header goes first, if it is not sent yet. A server that went down while it was
// connected to is as if it did now.
func (c *connection) splice(header []byte) {
	c.stages.begin(stageSplice)
	c.client.patient = false
	c.received, c.schemes = nil, nil
	timeouts := c.route.Timeouts
	s := &c.bytes // whose counts others read all the time
	s.strand, s.client, s.backend, s.keepAlive = &c.strand, &c.client, &c.upstream, c.plan.Limits.KeepAlive
	s.idle, s.half, s.resetTruncated = timeouts.Idle, timeouts.HalfClose, c.route.ResetOnTruncation
	if timeouts.Life > 0 {
		s.until = c.stages.began.Add(limit.Lifetime(timeouts.Life, timeouts.LifeJitter))
	}
	if c.to.isTold {
		header = nil
	}
	s.start(c.first(header))
	c.show()
	if c.to.server != nil && c.dialed.Load() == nil {
		c.kill(ReasonServerDown)
	}
}

// release closes what is still open and gives back what was counted.
func (c *connection) release(reason Reason) {
	if c.forgetKey != nil {
		c.forgetKey()
	}
	_ = c.client.Close()
	if c.to.connected() {
		_ = c.upstream.Close()
	}
	c.to.release(reason, c.source.Addr())
	c.server.bytesIn.Add(c.bytes.up.moved.Load())
	c.server.bytesOut.Add(c.bytes.down.moved.Load())
}

// servedBy is where the fallback, the store's answer or the route has the connection go.
func (c *connection) servedBy(routing *cache.Routing) (destination, error) {
	switch {
	case c.fallback:
		return destination{backend: cmp.Or(c.plan.Fallback.Backend, c.route.Backend)}, nil
	case routing != nil:
		return c.plan.routed(routing, c.route.Backend)
	}
	return destination{backend: c.route.Backend}, nil
}

// query is what the cache is asked.
func (c *connection) query(hello *sni.Hello) cache.Query {
	return cache.Query{Name: c.name, Client: c.source.Addr(), Hello: hello.Info}
}
