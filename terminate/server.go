package terminate

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"hellogate/sni"
	"hellogate/terminate/limit"
	"hellogate/terminate/preamble"
	"hellogate/terminate/socket"
)

// Server carries connections from its listeners to the backends of its routes.
type Server struct {
	Options
	plan       atomic.Pointer[Plan]
	gate       *limit.Gate    // for handshakes
	clients    *limit.Clients // by address
	process    [4]byte        // tells this process' connection ids from another's
	counter    atomic.Uint64
	bytesIn    atomic.Int64
	bytesOut   atomic.Int64
	ended      tally
	handshakes handshakeCounts
	times      times
	preambles  preambleCounts
	cancels    cancels
	keys       *preamble.Keys[*connection] // of PostgreSQL's sessions
	limited    throttle
	sockets    *socket.Group   // while it serves
	life       context.Context // of the connections, which outlive Serve's by the drain

	group sync.WaitGroup // connections
	mutex sync.Mutex     // guards open
	open  map[*connection]struct{}
	count atomic.Int64 // of open; apart, so that a full house is told without the lock

	accepting sync.Mutex // guards what follows, and is held while a Plan takes effect
	acceptors map[net.Listener]*acceptor
	serving   bool
	over      bool // nobody is accepted any more

	hurry chan time.Duration // see Hurry
}

// errOver is the error of Use when Serve has begun to end.
var errOver = errors.New("it has begun to end")

// New returns a Server that goes by a plan.
func New(options Options, plan *Plan) *Server {
	s := &Server{
		Options: options, ended: newTally(), open: map[*connection]struct{}{}, acceptors: map[net.Listener]*acceptor{},
		gate:    limit.NewGate(plan.Limits.Handshakes, plan.Limits.Waiting),
		clients: limit.NewClients(plan.Limits.Client),
		keys:    preamble.NewKeys[*connection](mostKeys),
		hurry:   make(chan time.Duration, 1),
	}
	_, _ = rand.Read(s.process[:]) // never fails: crypto/rand ends the program first
	s.plan.Store(plan)
	return s
}

// Use has the Server go by another plan: the connections that are accepted from now on, those that are open keep theirs.
// Listeners that the plan does not have are closed, when everybody who connected to them before has been accepted. An
// error leaves everything as it was; it is one that nobody is accepted any more.
func (s *Server) Use(plan *Plan) error {
	s.accepting.Lock()
	defer s.accepting.Unlock()
	if s.over {
		return errOver
	}
	if s.serving {
		if err := s.listen(plan); err != nil {
			return err
		}
	}
	s.plan.Store(plan)
	s.gate.Resize(plan.Limits.Handshakes, plan.Limits.Waiting)
	s.clients.SetRules(plan.Limits.Client)
	return nil
}

// Plan returns what the Server goes by.
func (s *Server) Plan() *Plan { return s.plan.Load() }

// Serve accepts connections until ctx is done. Then it closes the listeners at once, gives the connections until
// the time that drain tells to end, resets those that are left, and returns when all is over. It returns nil after a
// drain that left nothing, and an error that counts what was cut.
func (s *Server) Serve(ctx context.Context, drain Drain) error {
	sockets, err := socket.Start()
	if err != nil {
		return err
	}
	defer sockets.Close()
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	s.sockets, s.life = sockets, life
	if err := s.acceptUntil(ctx); err != nil {
		return err
	}
	return s.drain(drain, cut)
}

// Stats counts connections.
type Stats struct {
	Active, Total, Limit int64
	Handshaking, Waiting int64             // handshakes under way, and those that wait to be
	BytesIn, BytesOut    int64             // plaintext of connections that are over, from and to clients
	Refused              map[string]uint64 // connections that did not end well, by reason
	Handshakes           []HandshakeCount
	Preambles            []PreambleCount
	Cancels              Cancels
	Stages               []StageTimes
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Active: s.count.Load(), Total: int64(s.counter.Load()), Limit: int64(s.Plan().Limits.Connections),
		Handshaking: int64(s.gate.Open()), Waiting: int64(s.gate.Waiting()),
		BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(), Refused: s.ended.snapshot(),
		Handshakes: s.handshakes.snapshot(), Stages: s.times.snapshot(),
		Preambles: s.preambles.snapshot(), Cancels: s.cancels.snapshot(),
	}
}

// Route returns the route that a client takes, and the pattern that matched.
func (s *Server) Route(query sni.Query) (*Route, sni.Pattern, bool) {
	return s.Plan().Routes.Find(query)
}

// take starts a connection's life, or resets it where there are too many, and reports which.
func (s *Server) take(in *entrance, accepted socket.Conn) bool {
	id := s.counter.Add(1)
	kept, why := s.admit(in.plan, in.listener, accepted.Remote().Addr())
	if why != "" {
		s.refuseAtOnce(accepted, why)
		return false
	}
	c := newConnection(s, in.plan, in.listener, accepted, s.id(id))
	c.kept = kept
	s.enter(c)
	c.start()
	return true
}

// refuseAtOnce resets a connection before anything is read from it: it costs next to nothing, and no line in the access
// log.
func (s *Server) refuseAtOnce(accepted socket.Conn, why Reason) {
	s.ended.add(why)
	if e := s.limited.event(s.Log, string(why)); e != nil {
		e.Stringer("client", accepted.Remote()).Str("reason", string(why)).Msg("connection refused: a limit is reached")
	}
	accepted.Abort()
}

// id is a connection's id: 12 bytes, unlike any other's in this process and likely in any other.
func (s *Server) id(n uint64) [12]byte {
	var id [12]byte
	copy(id[:], s.process[:])
	binary.BigEndian.PutUint64(id[4:], n)
	return id
}

func (s *Server) enter(c *connection) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.group.Add(1)
	s.open[c] = struct{}{}
}

func (s *Server) leave(c *connection) {
	s.mutex.Lock()
	delete(s.open, c)
	s.mutex.Unlock()
	c.kept.release()
	s.count.Add(-1)
	s.group.Done()
}
