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
	"hellogate/terminate/socket"
)

// Server carries connections from its listeners to the backends of its routes.
type Server struct {
	Options
	configs     configs
	tickets     tls.Config // holds the one set of ticket keys, which crypto/tls rotates
	process     [4]byte    // tells this process' connection ids from another's
	counter     atomic.Uint64
	handshaking atomic.Int64
	bytesIn     atomic.Int64
	bytesOut    atomic.Int64
	ended       tally
	limited     throttle
	sockets     *socket.Group   // while it serves
	life        context.Context // of the connections, which outlive Serve's by the drain

	group sync.WaitGroup // connections
	mutex sync.Mutex     // guards open
	open  map[*connection]struct{}
	count atomic.Int64 // of open; apart, so that a full house is told without the lock
}

// New returns a Server.
func New(options Options) *Server {
	s := &Server{Options: options, ended: newTally(), open: map[*connection]struct{}{}}
	_, _ = rand.Read(s.process[:]) // never fails: crypto/rand ends the program first
	return s
}

// Serve accepts connections until ctx is done. Then it closes the listeners at once, gives the connections until the
// drain timeout to end, resets those that are left, and returns when all is over. It returns nil after a drain that
// left nothing, and an error that counts what was cut.
func (s *Server) Serve(ctx context.Context) error {
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
	return s.drain(cut)
}

// acceptUntil takes connections off all listeners until ctx is done, and closes them.
func (s *Server) acceptUntil(ctx context.Context) error {
	var accepting sync.WaitGroup
	listeners := make([]*socket.Listener, len(s.Listeners))
	for i, l := range s.Listeners {
		defer l.Close()
		listener, err := s.sockets.Listen(l.Listener)
		if err != nil {
			return err
		}
		listeners[i] = listener
	}
	for i := range s.Listeners {
		accepting.Go(func() { s.accept(ctx, &s.Listeners[i], listeners[i]) })
	}
	<-ctx.Done()
	for _, l := range listeners {
		l.End()
	}
	accepting.Wait()
	for _, l := range listeners {
		_ = l.Close()
	}
	return nil
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
func (s *Server) accept(ctx context.Context, l *Listener, from *socket.Listener) {
	pause := time.Duration(0)
	for {
		accepted, err := from.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(l, accepted)
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
func (s *Server) take(l *Listener, accepted socket.Conn) {
	id := s.counter.Add(1)
	if s.count.Add(1) > int64(s.Limits.Connections) {
		s.count.Add(-1)
		s.ended.add(ReasonLimited)
		s.limited.event(s.Log, "connections").Stringer("client", accepted.RemoteAddr()).Str("reason", string(ReasonLimited)).Msg("connection limit reached")
		accepted.Abort()
		return
	}
	c := newConnection(s, l, accepted, s.id(id))
	s.enter(c)
	c.start()
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
	s.count.Add(-1)
	s.group.Done()
}
