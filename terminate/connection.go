package terminate

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"time"

	"hellogate/cache"
	"hellogate/sni"
	"hellogate/terminate/proxyproto"
	"hellogate/terminate/socket"
)

// connection is a client's connection, from accept to its line in the access log.
type connection struct {
	server   *Server
	listener *Listener
	id       [12]byte
	strand   socket.Strand
	client   stream
	hello    *sni.Conn
	stages   stages

	// What is found out on the way.
	helloName   string // as the client sent it, normalised; empty: it sent none
	name        string // the one routed, looked up and announced
	route       *Route
	pattern     sni.Pattern
	certificate *tls.Certificate
	source      string         // of the certificate, for the log
	routing     *cache.Routing // that came with it; nil: the route says where to go
	fallback    bool
	handshaking bool // counted among the open handshakes

	backend  *Backend
	target   *server
	upstream stream // to the target
	bytes    splice
}

func newConnection(s *Server, l *Listener, accepted socket.Conn, id [12]byte) *connection {
	c := &connection{server: s, listener: l, id: id}
	s.sockets.Begin(&c.strand, c.step)
	c.client = stream{transport: transport{Conn: accepted, strand: &c.strand, patient: true}, onReset: ReasonClientReset}
	c.hello = sni.NewConn(&c.client.transport, s.Limits.HelloBytes)
	c.stages.began = time.Now()
	return c
}

// start begins to wait for the hello, which takes no goroutine.
func (c *connection) start() {
	c.strand.SetDeadline(c.stages.began.Add(c.server.Limits.HelloTimeout))
	if err := socket.Attach(c.client.Conn, &c.strand); err != nil {
		c.end(c.reset(err))
		return
	}
	c.strand.Rest()
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
	if progress == socket.Done {
		c.end(c.bytes.result())
	}
	return progress
}

// open is the life of a connection up to where its bytes flow. A reason says that it ends before that.
func (c *connection) open(life context.Context) (Reason, error) {
	if err := c.handshake(life); err != nil {
		return c.refuse(err)
	}
	if err := c.dial(life); err != nil {
		return c.reset(err)
	}
	header, err := c.announce()
	if err != nil {
		return c.reset(err)
	}
	c.splice(header)
	return "", nil
}

// end sees to what is left of a connection that is over, whatever it came to.
func (c *connection) end(reason Reason, err error) {
	if c.strand.IsCut() {
		reason = ReasonDrained
	}
	c.release()
	c.server.ended.add(reason)
	c.log(reason, err)
	c.server.leave(c)
}

// handshake reads the hello, chooses route and certificate, and completes the TLS handshake.
func (c *connection) handshake(life context.Context) error {
	defer c.leaveHandshake()
	c.client.session = sni.Server(c.hello, func(hello *sni.Hello) (sni.Choice, error) { return c.choose(life, hello) })
	return c.hello.Handshake(c.client.session)
}

// dial connects to a server of the backend.
func (c *connection) dial(life context.Context) error {
	c.stages.begin(stageConnect)
	conn, target, err := c.backend.dial(life, c.connect)
	if err != nil {
		return &refusal{ReasonNoBackend, 0, err}
	}
	c.upstream = stream{transport: transport{Conn: conn, strand: &c.strand}, onReset: ReasonServerReset}
	c.target = target
	return nil
}

// connect connects beside the client's socket.
func (c *connection) connect(life context.Context, to socket.Target) (socket.Conn, error) {
	return c.server.sockets.Dial(life, &c.strand, c.client.Conn, to)
}

// announce makes the PROXY header, which goes to the backend with the first bytes.
func (c *connection) announce() ([]byte, error) {
	c.stages.begin(stageHeader)
	if c.backend.SendProxy == proxyproto.Off {
		return nil, nil
	}
	state := c.client.session.ConnectionState()
	header, err := proxyproto.Format(c.backend.SendProxy, proxyproto.Client{
		Source: c.client.RemoteAddr(), Destination: c.client.LocalAddr(),
		Authority: c.name, Protocol: state.NegotiatedProtocol, UniqueID: []byte(c.hexID()),
		TLSVersion: state.Version, CipherSuite: state.CipherSuite,
	}, c.backend.TLVs)
	if err != nil {
		return nil, &refusal{ReasonInternal, 0, err}
	}
	return header, nil
}

// hexID is the connection's id as the log and the backend are told.
func (c *connection) hexID() string { return hex.EncodeToString(c.id[:]) }

// splice begins to move the bytes.
func (c *connection) splice(header []byte) {
	c.stages.begin(stageSplice)
	c.client.patient = false
	limits := c.server.Limits
	c.bytes = splice{
		strand: &c.strand, client: &c.client, backend: &c.upstream,
		idle: limits.IdleTimeout, half: limits.HalfCloseTimeout, resetTruncated: c.route.ResetOnTruncation,
	}
	c.bytes.start(header)
}

// release closes what is still open and gives back what was counted.
func (c *connection) release() {
	_ = c.client.Close()
	if c.target != nil {
		_ = c.upstream.Close()
		c.target.release()
	}
	c.server.bytesIn.Add(c.bytes.up.moved)
	c.server.bytesOut.Add(c.bytes.down.moved)
}

// enterHandshake counts the connection among the open handshakes, unless there are too many.
func (c *connection) enterHandshake() error {
	c.handshaking = true
	if n := c.server.handshaking.Add(1); n > int64(c.server.Limits.Handshakes) {
		c.server.limited.event(c.server.Log, "handshakes").Str("reason", string(ReasonLimited)).Msg("handshake limit reached")
		return &refusal{ReasonLimited, AlertInternalError, errors.New("too many open handshakes")}
	}
	return nil
}

func (c *connection) leaveHandshake() {
	if c.handshaking {
		c.server.handshaking.Add(-1)
		c.handshaking = false
	}
}

// servedBy is the backend that the fallback, the store's answer or the route names.
func (c *connection) servedBy() (*Backend, error) {
	switch {
	case c.fallback:
		return cmp.Or(c.server.Fallback.Backend, c.route.Backend), nil
	case c.routing != nil:
		return c.server.routed(c.routing, c.route.Backend)
	}
	return c.route.Backend, nil
}

// query is what the cache is asked.
func (c *connection) query(hello *sni.Hello) cache.Query {
	return cache.Query{Name: c.name, Client: remoteIP(&c.client), Hello: hello.Info}
}
