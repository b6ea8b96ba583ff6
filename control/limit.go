package control

import (
	"net"
	"sync"
)

// limited is a listener of which only so many connections are open at once; the others wait in the kernel.
type limited struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	close  func()
}

func limit(listener net.Listener, connections int) *limited {
	closed := make(chan struct{})
	return &limited{
		Listener: listener,
		places:   make(chan struct{}, connections),
		closed:   closed,
		close:    sync.OnceFunc(func() { close(closed) }),
	}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	accepted := &acceptedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.places })}
	accepted.peer, accepted.known = credentials(conn)
	return accepted, nil
}

func (l *limited) Close() error {
	l.close()
	return l.Listener.Close()
}

// acceptedConn is a connection that has one of the places, and knows who is at its other end.
type acceptedConn struct {
	net.Conn
	peer  peer
	known bool
	leave func()
}

func (c *acceptedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
