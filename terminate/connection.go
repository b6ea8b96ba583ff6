package terminate

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"hellogate/cache"
	"hellogate/sni"
	"hellogate/terminate/proxyproto"
)

// connection is a client's connection, from accept to its line in the access log.
type connection struct {
	server   *Server
	listener Listener
	id       string
	client   *transport
	hello    *sni.Conn
	session  *tls.Conn
	stages   stages

	// What is found out on the way.
	helloName   string // as the client sent it, normalised; empty: it sent none
	name        string // the one routed, looked up and announced
	route       *Route
	pattern     sni.Pattern
	certificate *tls.Certificate
	source      string // of the certificate, for the log
	fallback    bool
	handshaking bool // counted among the open handshakes

	backend *Backend
	target  *server
	conn    net.Conn // to the target
	bytes   *splice

	// isCut is set, and the sockets closed, when the drain is over. upstream is what cut closes besides the client.
	isCut    atomic.Bool
	upstream atomic.Pointer[transport]
}

func newConnection(s *Server, l Listener, conn net.Conn, id [12]byte) *connection {
	client := newTransport(conn)
	c := &connection{
		server: s, listener: l, id: hex.EncodeToString(id[:]),
		client: client, hello: sni.NewConn(client, s.Limits.HelloBytes),
	}
	c.stages.begin(stageHello)
	return c
}

// serve carries the connection to its end, whatever that is, and sees to what is left of it then.
func (c *connection) serve(life context.Context) {
	reason, err := c.carry(life)
	if c.isCut.Load() {
		reason = ReasonDrained
	}
	c.release()
	c.server.ended.add(reason)
	c.log(reason, err)
}

// carry is the life of a connection.
func (c *connection) carry(life context.Context) (Reason, error) {
	if err := c.handshake(life); err != nil {
		return c.refuse(err)
	}
	if err := c.confirmName(); err != nil {
		return c.reset(err)
	}
	if err := c.dial(life); err != nil {
		return c.reset(err)
	}
	if err := c.announce(); err != nil {
		return c.reset(err)
	}
	return c.splice()
}

// handshake reads the hello, chooses route and certificate, and completes the TLS handshake.
func (c *connection) handshake(life context.Context) error {
	defer c.leaveHandshake()
	_ = c.client.SetDeadline(time.Now().Add(c.server.Limits.HelloTimeout))
	c.session = sni.Server(c.hello, func(hello *sni.Hello) (*tls.Config, error) { return c.choose(life, hello) })
	if err := c.hello.Handshake(c.session); err != nil {
		return err
	}
	_ = c.client.SetDeadline(time.Time{})
	return nil
}

// confirmName makes sure that the name negotiated is the one that was routed and looked up: after a HelloRetryRequest
// crypto/tls takes the second hello's name without comparing it with the first's.
func (c *connection) confirmName() error {
	if state := c.session.ConnectionState(); !sameName(state.ServerName, c.helloName) {
		return &refusal{ReasonNameMismatch, 0, errors.New("the second hello names another server than the first")}
	}
	return nil
}

// dial connects to a server of the backend.
func (c *connection) dial(life context.Context) error {
	c.stages.begin(stageConnect)
	conn, target, err := c.backend.dial(life)
	if err != nil {
		return &refusal{ReasonNoBackend, 0, err}
	}
	c.conn, c.target = conn, target
	upstream := newTransport(conn)
	c.upstream.Store(upstream)
	if c.isCut.Load() { // cut may have looked before there was something to close
		upstream.abort()
	}
	return nil
}

// announce sends the PROXY header.
func (c *connection) announce() error {
	c.stages.begin(stageHeader)
	header, err := c.proxyHeader()
	if err != nil {
		return &refusal{ReasonInternal, 0, err}
	}
	if len(header) == 0 {
		return nil
	}
	upstream := c.upstream.Load()
	_ = upstream.SetWriteDeadline(time.Now().Add(c.backend.ConnectTimeout))
	if _, err := upstream.Write(header); err != nil {
		return &refusal{ReasonServerReset, 0, err}
	}
	return nil
}

func (c *connection) proxyHeader() ([]byte, error) {
	if c.backend.SendProxy == proxyproto.Off {
		return nil, nil
	}
	state := c.session.ConnectionState()
	return proxyproto.Format(c.backend.SendProxy, proxyproto.Client{
		Source: c.client.RemoteAddr(), Destination: c.client.LocalAddr(),
		Authority: c.name, Protocol: state.NegotiatedProtocol, UniqueID: []byte(c.id),
		TLSVersion: state.Version, CipherSuite: state.CipherSuite,
	}, c.backend.TLVs)
}

// splice moves the bytes.
func (c *connection) splice() (Reason, error) {
	c.stages.begin(stageSplice)
	limits := c.server.Limits
	c.bytes = &splice{
		client:  &stream{transport: c.client, session: c.session, onReset: ReasonClientReset},
		backend: &stream{transport: c.upstream.Load(), onReset: ReasonServerReset},
		idle:    limits.IdleTimeout, half: limits.HalfCloseTimeout, resetTruncated: c.route.ResetOnTruncation,
	}
	return c.bytes.run()
}

// release closes what is still open and gives back what was counted.
func (c *connection) release() {
	_ = c.client.Close()
	if c.conn != nil {
		_ = c.conn.Close()
		c.target.release()
	}
	if c.bytes != nil {
		c.server.bytesIn.Add(c.bytes.in.Load())
		c.server.bytesOut.Add(c.bytes.out.Load())
	}
}

// cut resets the connection, whatever it is doing. Another goroutine's.
func (c *connection) cut() {
	c.isCut.Store(true)
	c.client.abort()
	if upstream := c.upstream.Load(); upstream != nil {
		upstream.abort()
	}
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

// servedBy is the backend that the route or the fallback names.
func (c *connection) servedBy() *Backend {
	if c.fallback {
		return cmp.Or(c.server.Fallback.Backend, c.route.Backend)
	}
	return c.route.Backend
}

// query is what the cache is asked.
func (c *connection) query(hello *sni.Hello) cache.Query {
	return cache.Query{Name: c.name, Client: remoteIP(c.client), Hello: hello.Info}
}
