//go:build !noepoll

package socket

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listener accepts connections that never block.
type Listener struct {
	net.Listener
	group  *Group
	strand Strand
	conn   *conn // what the poller knows of it; nil: it is no TCP listener
	local  netip.AddrPort
	left   int // how many are accepted after its end at most

	gathers, unwatched bool // see Gather
	turn               int  // how many were accepted without a wait
}

// backlog is how many may wait to be accepted, by default (net.core.somaxconn): those that connected before a listener's
// end are accepted, and who goes on to connect does not keep it from ending.
const backlog = 4096

// Listen returns a Listener that takes connections off l. The caller ends it, and closes l behind it.
func (g *Group) Listen(l net.Listener) (*Listener, error) {
	listener := &Listener{Listener: l, group: g, left: backlog}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return listener, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	if bound := tcp.Addr().(*net.TCPAddr).AddrPort(); !bound.Addr().IsUnspecified() {
		listener.local = unmapped(bound)
	}
	if err := Control("", "", raw); err != nil {
		return nil, err
	}
	err = raw.Control(func(fd uintptr) {
		listener.conn = &conn{fd: int(fd), poller: g.next(), strand: &listener.strand}
	})
	if err != nil {
		return nil, err
	}
	return listener, listener.conn.poller.add(listener.conn, unix.EPOLLIN)
}

// Accept waits for a connection. Its strand is yet to be told: see Attach. An error is as of net.Listener's Accept.
func (l *Listener) Accept() (Conn, error) {
	if l.conn == nil {
		return acceptAny(l.Listener)
	}
	for l.left > 0 {
		if l.strand.IsCut() {
			l.left--
		}
		if l.turn++; l.turn%crowdTurns == 0 {
			l.group.relieve()
			runtime.Gosched()
		}
		accepted, err := accept(l.conn.fd)
		switch err {
		case nil:
			accepted.poller, accepted.local = l.group.next(), l.local
			return accepted, nil
		case unix.EAGAIN:
			if err := l.wait(); err != nil {
				return nil, err
			}
		default:
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: os.NewSyscallError("accept4", err)}
		}
	}
	return nil, net.ErrClosed
}

// crowdTurns is how many are accepted in a row before others come first: a flood leaves nobody to wait for.
const crowdTurns = 64

// gathering is how long connections come together: long enough for dozens in a flood, and for nobody to notice.
const gathering = time.Millisecond

// Gather says whether Accept, when there is nobody, lets some come together before it looks again. In a flood of those who
// are turned away, being woken for each costs more than turning them away.
func (l *Listener) Gather(yes bool) { l.gathers = yes }

// wait waits until somebody may have connected. While they gather, the poller is not told of each.
func (l *Listener) wait() error {
	switch {
	case l.gathers && (l.unwatched || l.conn.poller.ignore(l.conn) == nil):
		l.gathers, l.unwatched = false, true
		time.Sleep(gathering)
		return nil
	case l.unwatched:
		l.unwatched = false
		return l.conn.poller.change(l.conn, unix.EPOLLIN)
	}
	return l.strand.Wait()
}

// End makes Accept fail with net.ErrClosed, when it has accepted those who connected before. The listener itself must be
// open until Accept has returned; what can't be told to end otherwise is closed.
func (l *Listener) End() {
	if l.conn == nil {
		_ = l.Listener.Close()
		return
	}
	l.strand.Cut()
}

// Close closes the listener that was taken from.
func (l *Listener) Close() error {
	if l.conn != nil {
		// Closing would do, if another process did not have the socket open, too, after an upgrade.
		epollControl(l.conn.poller.fd, unix.EPOLL_CTL_DEL, l.conn.fd, nil)
		l.conn.poller.remove(l.conn)
	}
	return l.Listener.Close()
}

// accept takes a connection off a listener. What Go would set on it for every connection, it inherits from the listener:
// TCP_NODELAY and keepalives.
func accept(listener int) (*conn, error) {
	for {
		fd, from, err := acceptNow(listener)
		switch err {
		case 0:
			c := &conn{fd: fd, remote: from}
			c.ready.Store(writable)
			return c, nil
		case unix.EINTR, unix.ECONNABORTED: // the client is gone again
		default:
			return nil, err
		}
	}
}

// keepAlive is how long a silent peer is believed in before it is asked, and between the questions: as Go has it.
const (
	keepAlive      = 15 * time.Second
	keepAliveCount = 9
)

// Control sets what a listener's connections inherit, as net.ListenConfig's: those that come about before anyone accepts
// have it, too.
func Control(_, _ string, listener syscall.RawConn) error {
	return listener.Control(func(fd uintptr) {
		setNoDelay(int(fd))
		setKeepAlive(int(fd), keepAlive)
	})
}

// Inherit sets what connections have that are accepted from now on: see Conn's KeepAlive and SetUserTimeout.
func (l *Listener) Inherit(keepAlive, userTimeout time.Duration) {
	if l.conn != nil {
		setKeepAlive(l.conn.fd, keepAlive)
		setUserTimeout(l.conn.fd, userTimeout)
	}
}

// None of these can fail on a TCP socket.

func setNoDelay(fd int) { setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

func setKeepAlive(fd int, every time.Duration) {
	if every <= 0 {
		setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
		return
	}
	seconds := max(1, int(every/time.Second))
	setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount)
}

func setUserTimeout(fd int, timeout time.Duration) {
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout/time.Millisecond))
}

// Attach makes strand the owner of an accepted connection: it is woken from now on.
func Attach(accepted Conn, strand *Strand) error {
	c, ok := accepted.(*conn)
	if !ok {
		accepted.(*relay).attach(strand)
		return nil
	}
	c.strand = strand
	if err := c.poller.add(c, unix.EPOLLIN); err != nil {
		c.strand = nil
		return err
	}
	return nil
}

// Dial connects to a target, for the strand whose goroutine calls it. beside is a connection of the same strand, or nil: one
// poller then serves both.
func (g *Group) Dial(ctx context.Context, strand *Strand, beside Conn, to Target) (Conn, error) {
	if to.Network == "unix" {
		return dialUnix(ctx, strand, to)
	}
	p := g.pollers[0]
	if c, ok := beside.(*conn); ok {
		p = c.poller
	}
	end := time.Now().Add(to.Within)
	targets, err := resolve(ctx, to.Address, end)
	if err != nil {
		return nil, err
	}
	if targets = slices.DeleteFunc(targets, to.forbids); len(targets) == 0 {
		return nil, to.forbidden()
	}
	for i, target := range targets {
		var c *conn
		if c, err = p.dial(strand, target, share(end, len(targets)-i)); err == nil {
			return c, nil
		}
		if strand.IsCut() {
			break
		}
	}
	return nil, err
}

// share is the deadline of the first of n attempts that must be over by end.
func share(end time.Time, n int) time.Time {
	now := time.Now()
	return now.Add(end.Sub(now) / time.Duration(n))
}

// dialTries is how often a connection is tried that came about with itself.
const dialTries = 3

// dial connects to one address. A port of this machine that nobody listens on may be the one that the kernel picks for
// our own end: the socket is then connected to itself, and a client would be sent its own bytes.
func (p *poller) dial(strand *Strand, target netip.AddrPort, end time.Time) (*conn, error) {
	err := error(unix.ECONNREFUSED)
	for range dialTries {
		var c *conn
		if c, err = p.connect(strand, target); err == nil {
			if err = c.connected(end); err == nil && localName(c.fd) != unmapped(target) {
				return c, nil
			}
			_ = c.Close()
			if err == nil { // with itself
				err = os.NewSyscallError("connect", unix.ECONNREFUSED)
				continue
			}
		}
		if !errors.Is(err, unix.EADDRNOTAVAIL) { // no port was free, for a moment
			break
		}
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(target), Err: err}
}

// connect begins to connect.
func (p *poller) connect(strand *Strand, target netip.AddrPort) (*conn, error) {
	fd, failed := newSocket(family(target))
	if failed != 0 {
		return nil, os.NewSyscallError("socket", failed)
	}
	setNoDelay(fd)
	c := &conn{fd: fd, poller: p, remote: target}
	if failed := connectNow(fd, target); failed != 0 && failed != unix.EINPROGRESS {
		_ = c.Close()
		return nil, os.NewSyscallError("connect", failed)
	}
	c.strand = strand
	c.watchesOut = !c.established()
	events := uint32(unix.EPOLLIN)
	if c.watchesOut {
		events |= unix.EPOLLOUT
	} else {
		c.ready.Store(writable)
	}
	if err := p.add(c, events); err != nil {
		c.strand = nil
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// established reports whether the socket has a peer.
func (c *conn) established() bool { return peerName(c.fd).IsValid() }

// connected waits until the connection is there.
func (c *conn) connected(end time.Time) error {
	if !c.watchesOut { // it is already
		return nil
	}
	c.strand.SetDeadline(end)
	for {
		if c.ready.Load()&(writable|hungUp) != 0 {
			if code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
				return os.NewSyscallError("connect", cmp.Or(err, error(unix.Errno(code))))
			}
			if c.established() {
				return nil
			}
		}
		if err := c.strand.Wait(); err != nil {
			return err
		}
	}
}

// resolve returns the addresses that a name stands for, or the one that address is.
func resolve(ctx context.Context, address string, end time.Time) ([]netip.AddrPort, error) {
	if literal, err := netip.ParseAddrPort(address); err == nil {
		return []netip.AddrPort{literal}, nil
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", cmp.Or(host, "localhost"))
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	targets := make([]netip.AddrPort, len(found))
	for i, ip := range found {
		targets[i] = netip.AddrPortFrom(ip, uint16(port))
	}
	return targets, nil
}
