package terminate

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"hellogate/terminate/socket"
)

// acceptor takes connections off a listener.
type acceptor struct {
	entrance atomic.Pointer[entrance]
	socket   *socket.Listener
	group    sync.WaitGroup
	leaving  atomic.Bool
}

// entrance is what holds for those who come in. Both change at once: the routes of one plan need not know the listeners of
// another.
type entrance struct {
	plan     *Plan
	listener *Listener
}

// acceptUntil takes connections off the listeners of the plan until ctx is done, and closes them.
func (s *Server) acceptUntil(ctx context.Context) error {
	s.accepting.Lock()
	s.serving = true
	err := s.listen(s.Plan())
	s.accepting.Unlock()
	if err == nil {
		<-ctx.Done()
	}
	s.accepting.Lock()
	defer s.accepting.Unlock()
	s.serving, s.over = false, true
	_ = s.listen(&Plan{})
	return err
}

// listen takes connections off the listeners of a plan from now on, and off no others. On an error all is as it was.
func (s *Server) listen(plan *Plan) error {
	wanted := make(map[net.Listener]*acceptor, len(plan.Listeners))
	var added []*acceptor
	for _, l := range plan.Listeners {
		a := s.acceptors[l.Socket]
		if a == nil {
			opened, err := s.sockets.Listen(l.Socket)
			if err != nil {
				for _, a := range added {
					_ = a.socket.Close()
				}
				return err
			}
			a = &acceptor{socket: opened}
			added = append(added, a)
		}
		wanted[l.Socket] = a
	}
	for _, l := range plan.Listeners {
		a := wanted[l.Socket]
		a.entrance.Store(&entrance{plan, &l})
		a.socket.Inherit(plan.Limits.KeepAlive, plan.Limits.UserTimeout)
	}
	for socket, a := range s.acceptors {
		if wanted[socket] == nil {
			a.end()
		}
	}
	for _, a := range added {
		a.group.Go(func() { s.accept(a) })
	}
	s.acceptors = wanted
	return nil
}

// end waits until nothing is accepted any more, and closes the listener.
func (a *acceptor) end() {
	a.leaving.Store(true)
	a.socket.End()
	a.group.Wait()
	_ = a.socket.Close()
	_ = a.entrance.Load().listener.Socket.Close()
}

// The pauses after a failed accept, as in net/http.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
)

// accept takes connections off a listener until it is closed. Running out of descriptors is not the end: whoever polls
// on then burns the CPU that the open connections need to close, and whoever gives up turns it into an outage.
func (s *Server) accept(a *acceptor) {
	pause := time.Duration(0)
	for {
		accepted, err := a.socket.Accept()
		switch {
		case err == nil:
			pause = 0
			a.socket.Gather(!s.take(a.entrance.Load(), accepted))
		case a.leaving.Load() || errors.Is(err, net.ErrClosed):
			return
		default:
			pause = min(max(2*pause, shortestPause), longestPause)
			s.limited.event(s.Log, "accept").Str("listener", a.entrance.Load().listener.Name).Str("error", quote(err.Error())).Msg("accept failed")
			wait(s.life, pause)
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
