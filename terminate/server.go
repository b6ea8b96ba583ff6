package terminate

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"hellogate/sni"
)

// Server carries connections from its listeners to the backends of its routes.
type Server struct {
	Options
	tickets     *tls.Config // holds the one set of ticket keys, which crypto/tls rotates
	process     [4]byte     // tells this process' connection ids from another's
	counter     atomic.Uint64
	handshaking atomic.Int64
	bytesIn     atomic.Int64
	bytesOut    atomic.Int64
	ended       tally
	limited     throttle

	group sync.WaitGroup // connections
	mutex sync.Mutex     // guards open
	open  map[*connection]struct{}
	count atomic.Int64 // of open; apart, so that a full house is told without the lock
}

// New returns a Server.
func New(options Options) *Server {
	s := &Server{Options: options, tickets: &tls.Config{}, ended: newTally(), open: map[*connection]struct{}{}}
	_, _ = rand.Read(s.process[:]) // never fails: crypto/rand ends the program first
	return s
}

// Serve accepts connections until ctx is done. Then it closes the listeners at once, gives the connections until the
// drain timeout to end, resets those that are left, and returns when all is over. It returns nil after a drain that
// left nothing, and an error that counts what was cut.
func (s *Server) Serve(ctx context.Context) error {
	// A connection outlives ctx, by the drain; what it waits for ends with life.
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var accepting sync.WaitGroup
	for _, l := range s.Listeners {
		accepting.Go(func() { s.accept(life, ctx, l) })
	}
	<-ctx.Done()
	for _, l := range s.Listeners {
		_ = l.Close()
	}
	accepting.Wait()
	return s.drain(cut)
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Active: s.count.Load(), Total: int64(s.counter.Load()), Limit: int64(s.Limits.Connections), Handshaking: s.handshaking.Load(),
		BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(), Refused: s.ended.snapshot(),
	}
}

// Route returns the route that a client takes which asks for name and offers protocols, and the pattern that matched.
func (s *Server) Route(name string, protocols []string) (*Route, sni.Pattern, bool) {
	return s.Routes.Match(name, protocols)
}

// The pauses after a failed accept, as in net/http.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
)

// accept takes connections off a listener until it is closed. Running out of descriptors is not the end: whoever polls
// on then burns the CPU that the open connections need to close, and whoever gives up turns it into an outage.
func (s *Server) accept(life, ctx context.Context, l Listener) {
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(life, l, conn)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			pause = min(max(2*pause, shortestPause), longestPause)
			s.limited.event(s.Log, "accept").Str("listener", l.Name).Str("error", quote(err.Error())).Msg("accept failed")
			wait(ctx, pause)
		}
	}
}

// wait pauses, at most until ctx is done.
func wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// take starts a connection's life, or resets it where there are too many.
func (s *Server) take(life context.Context, l Listener, conn net.Conn) {
	id := s.counter.Add(1)
	if s.count.Add(1) > int64(s.Limits.Connections) {
		s.count.Add(-1)
		s.ended.add(ReasonLimited)
		s.limited.event(s.Log, "connections").Stringer("client", conn.RemoteAddr()).Str("reason", string(ReasonLimited)).Msg("connection limit reached")
		newTransport(conn).abort()
		return
	}
	c := newConnection(s, l, conn, s.id(id))
	s.enter(c)
	s.group.Go(func() {
		defer s.leave(c)
		c.serve(life)
	})
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
	s.open[c] = struct{}{}
}

func (s *Server) leave(c *connection) {
	s.mutex.Lock()
	delete(s.open, c)
	s.mutex.Unlock()
	s.count.Add(-1)
}
