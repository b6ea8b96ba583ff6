//go:build !linux || noepoll

package socket

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// Group is what serves a program's sockets.
type Group struct{ workers workers }

// Start returns a running Group. The caller closes it.
func Start() (*Group, error) {
	g := &Group{}
	g.workers.start(func() {})
	return g, nil
}

// Close ends the group, when the last of its strands is over.
func (g *Group) Close() { g.workers.close() }

// Control does nothing: Go sets its options on every connection.
func Control(_, _ string, _ syscall.RawConn) error { return nil }

// Listener accepts connections that never block.
type Listener struct {
	net.Listener
	keepAlive atomic.Pointer[time.Duration] // of those accepted from now on; nil: as Go has it
}

// Listen returns a Listener that takes connections off l. The caller ends it, and closes l behind it.
func (g *Group) Listen(l net.Listener) (*Listener, error) { return &Listener{Listener: l}, nil }

// Inherit sets what connections have that are accepted from now on: see Conn's KeepAlive. Go knows nothing of the other.
func (l *Listener) Inherit(keepAlive, _ time.Duration) { l.keepAlive.Store(&keepAlive) }

// Gather does nothing: Go is told of every connection.
func (l *Listener) Gather(bool) {}

// Accept waits for a connection. Its strand is yet to be told: see Attach. An error is as of net.Listener's Accept.
func (l *Listener) Accept() (Conn, error) {
	accepted, err := acceptAny(l.Listener)
	if every := l.keepAlive.Load(); err == nil && every != nil {
		accepted.KeepAlive(*every)
	}
	return accepted, err
}

// End makes Accept fail with net.ErrClosed.
func (l *Listener) End() { _ = l.Listener.Close() }

// Attach makes strand the owner of an accepted connection: it is woken from now on.
func Attach(accepted Conn, strand *Strand) error {
	accepted.(*relay).attach(strand)
	return nil
}

// Dial connects to a target, for the strand whose goroutine calls it.
func (g *Group) Dial(ctx context.Context, strand *Strand, _ Conn, to Target) (Conn, error) {
	if to.Network == "unix" {
		return dialUnix(ctx, strand, to)
	}
	dialer := net.Dialer{Timeout: to.Within, Control: func(_, address string, _ syscall.RawConn) error {
		if chosen, err := netip.ParseAddrPort(address); err != nil || to.forbids(chosen) {
			return to.forbidden()
		}
		return nil
	}}
	dialer.SetMultipathTCP(false)
	dialed, err := dialer.DialContext(ctx, "tcp", to.Address)
	if err != nil {
		return nil, err
	}
	r := &relay{Conn: dialed}
	r.attach(strand)
	return r, nil
}
