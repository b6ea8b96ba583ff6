package terminate

import (
	"crypto"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"hellogate/control/logging"
	"hellogate/sni"
	"hellogate/terminate/limit"
	"hellogate/terminate/socket"
)

// BenchmarkCareful sets the steps that guard a handshake beside the handshake itself, each in turn, by medians of CPU time:
// the access log with the writing of its lines, the limits, and what binding adds to tickets. careful-% is the share of
// their sum.
func BenchmarkCareful(b *testing.B) {
	for _, kind := range kindsOfHandshake {
		b.Run(kind.name, func(b *testing.B) {
			onOneProcessor(b)
			h := newHandshakes(b, kind.resumed)
			c := newCareful(b, h.connected)
			sink := c.logInto(b)
			var handshake, access, limits, plain, bound medians
			for b.Loop() {
				handshake.add(h.once())
				access.add(spent(func() { c.connection.log(ReasonOK, nil) }))
				limits.add(spent(func() { c.limits(c.connection) }))
				c.plainTicket(kind.resumed) // for both to find the caches warm
				plain.add(spent(func() { c.plainTicket(kind.resumed) }))
				bound.add(spent(func() { c.boundTicket(kind.resumed) }))
			}
			log := access.median() + float64(sink.spent.Load())/float64(b.N)
			binding := bound.median() - plain.median()
			b.ReportMetric(handshake.median(), "handshake-ns")
			b.ReportMetric(log, "log-ns")
			b.ReportMetric(limits.median(), "limits-ns")
			b.ReportMetric(binding, "binding-ns")
			b.ReportMetric(100*(log+limits.median()+binding)/handshake.median(), "careful-%")
		})
	}
}

// The line of a connection that ended well, but for handing it to the writer.
func BenchmarkAccessLog(b *testing.B) {
	c := newCareful(b, newHandshakes(b, false).connected)
	lines := zerolog.New(io.Discard).With().Timestamp().Logger()
	c.connection.server.Access = &lines
	b.ReportAllocs()
	for b.Loop() {
		c.connection.log(ReasonOK, nil)
	}
}

func BenchmarkLimits(b *testing.B) {
	c := newCareful(b, newHandshakes(b, false).connected)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.limits(c.connection)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for own := c.another(); p.Next(); {
				c.limits(own)
			}
		})
	})
}

// Tickets as crypto/tls has them alone, and bound.
func BenchmarkTicketBinding(b *testing.B) {
	c := newCareful(b, newHandshakes(b, false).connected)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"wrap/plain", c.wrapPlain},
		{"wrap/bound", c.wrapBound},
		{"unwrap/plain", c.unwrapPlain},
		{"unwrap/bound", c.unwrapBound},
	} {
		b.Run(step.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step.do()
			}
		})
	}
}

// careful is a connection with what the steps need that guard it, and nothing of the path.
type careful struct {
	b            *testing.B
	connection   *connection
	signer       crypto.Signer
	policy       policy
	plainTickets *tls.Config
	session      *tls.SessionState // to make tickets of
	plain, bound []byte            // tickets
}

// newCareful makes a connection in a house of 10,000, that has come through all stages.
func newCareful(b *testing.B, session *tls.Conn) *careful {
	b.Helper()
	route := &Route{
		Backend: backendOf(b, "default", "127.0.0.1:9000"), Tickets: newTickets(b),
		Connections: countOf(100000), Clients: limit.NewClients(limit.Rules{Connections: 100000}),
	}
	plan := &Plan{Routes: routesTo(b, route), Limits: Limits{
		Connections: 100000, Handshakes: 20000, Hello: time.Hour, Client: limit.Rules{Connections: 100000, Rate: 1e9},
	}}
	s := New(Options{}, plan)
	for range 10000 {
		s.enter(&connection{})
	}
	c := &connection{server: s, plan: plan, listener: &Listener{Name: ":443", DefaultName: "a.test", Connections: countOf(100000)}, id: s.id(1), name: "a.test", from: "hit"}
	c.route, c.pattern, _ = s.Route(sni.Query{Name: c.name})
	c.source = netip.MustParseAddrPort("192.0.2.1:1000")
	c.to = destination{backend: c.route.Backend, address: "127.0.0.1:9000"}
	c.client = stream{transport: transport{Conn: accepted(b)}, session: session}
	for c.stages.began = time.Now(); c.stages.at < stageSplice; {
		c.stages.begin(c.stages.at + 1)
	}
	guarded := &careful{
		b: b, connection: c, signer: LimitSignatures(noSigner{}), policy: c.policy(),
		plainTickets: &tls.Config{}, session: sessionState(b),
	}
	guarded.wrapPlain()
	guarded.wrapBound()
	return guarded
}

// accepted is a connection as a listener gives it.
func accepted(b *testing.B) socket.Conn {
	b.Helper()
	group, err := socket.Start()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(group.Close)
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	listener, err := group.Listen(front)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	client, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	conn, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return conn
}

// sessionState is a session as crypto/tls has a ticket made of it.
func sessionState(b *testing.B) (state *tls.SessionState) {
	b.Helper()
	h := newHandshakes(b, false)
	h.server.WrapSession = func(_ tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		state = s
		return []byte("ticket"), nil
	}
	h.once()
	return state
}

// logInto gives the connection the log that the command makes.
func (c *careful) logInto(b *testing.B) *meteredSink {
	b.Helper()
	file, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	sink := &meteredSink{file: file}
	log, err := logging.New(sink, "info", logging.JSON)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		log.Close()
		file.Close()
	})
	c.connection.server.Access = &log.Logger
	return sink
}

// meteredSink counts the CPU time of writing, which happens while others run.
type meteredSink struct {
	file  *os.File
	spent atomic.Int64
}

func (s *meteredSink) Write(p []byte) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := cpuTime(unix.CLOCK_THREAD_CPUTIME_ID)
	defer func() { s.spent.Add(int64(cpuTime(unix.CLOCK_THREAD_CPUTIME_ID) - start)) }()
	return s.file.Write(p)
}

// another is a connection of another client.
func (c *careful) another() *connection {
	own := &connection{server: c.connection.server, plan: c.connection.plan, listener: c.connection.listener, route: c.connection.route}
	n := c.connection.server.counter.Add(1)
	own.source = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 1000)
	return own
}

// limits is what a connection goes through from take to leave because connections are counted, timed and bounded, with every
// limit that there is.
func (c *careful) limits(guarded *connection) {
	s := guarded.server
	var why, whyNot Reason
	guarded.kept, why = s.admit(guarded.plan, guarded.listener, guarded.source.Addr())
	if guarded.kept.count(guarded.route.Connections) {
		whyNot = guarded.kept.countClient(guarded.route.Clients, guarded.source.Addr())
	}
	if why+whyNot != "" {
		c.b.Error(why, whyNot)
	}
	guarded.id = s.id(s.counter.Add(1))
	s.enter(guarded)
	guarded.stages = stages{began: time.Now()}
	timer := time.AfterFunc(guarded.plan.Limits.Hello, func() {}) // a strand's: later deadlines seldom move it
	for at := range stageCount {
		guarded.stages.begin(at)
	}
	if err := guarded.takeTurn(); err != nil {
		c.b.Error(err)
	}
	_, _ = c.signer.Sign(nil, nil, nil)
	s.gate.Leave(&guarded.permit)
	s.bytesIn.Add(80)
	s.bytesOut.Add(208)
	s.ended.add(ReasonOK)
	timer.Stop()
	s.leave(guarded)
}

// noSigner signs at once.
type noSigner struct{ crypto.Signer }

func (noSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, nil }

// plainTicket is what crypto/tls does by itself: a ticket is made in every handshake, and one is opened in a resumed one.
func (c *careful) plainTicket(resumed bool) {
	if resumed {
		c.unwrapPlain()
	}
	c.wrapPlain()
}

func (c *careful) boundTicket(resumed bool) {
	if resumed {
		c.unwrapBound()
	}
	c.wrapBound()
}

func (c *careful) wrapPlain() {
	c.session.Extra = nil
	c.plain = c.made(c.plainTickets.EncryptTicket(tls.ConnectionState{}, c.session))
}

// wrapBound has the connection's state put together, as crypto/tls does for a WrapSession.
func (c *careful) wrapBound() {
	c.session.Extra = nil
	c.bound = c.made(c.policy.wrapSession(c.connection.client.session.ConnectionState(), c.session))
}

func (c *careful) made(ticket []byte, err error) []byte {
	if err != nil {
		c.b.Fatal(err)
	}
	return ticket
}

func (c *careful) unwrapPlain() {
	c.opened(c.plainTickets.DecryptTicket(c.plain, tls.ConnectionState{}))
}

func (c *careful) unwrapBound() {
	c.opened(c.policy.unwrapSession(c.bound, c.connection.client.session.ConnectionState()))
}

func (c *careful) opened(session *tls.SessionState, err error) {
	if session == nil || err != nil {
		c.b.Fatal("the ticket can't be opened: ", err)
	}
}
