package e2e

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// patience is how long anything may take that should happen at once.
const patience = 15 * time.Second

// peer is a connection that a backend accepted, behind its PROXY header.
type peer struct {
	*net.TCPConn
	header proxyHeader
}

// backend accepts connections, judges their PROXY headers and does with each as told; left alone it echoes.
type backend struct {
	t        testing.TB
	address  string
	mu       sync.Mutex
	do       func(*peer)
	bare     bool // no PROXY header is expected
	listener *net.TCPListener
	accepted chan *peer
	running  sync.WaitGroup
}

func newBackend(t testing.TB, do func(*peer)) *backend {
	t.Helper()
	b := &backend{t: t, address: freeAddress(t), do: do, accepted: make(chan *peer, 1<<14)}
	b.start()
	t.Cleanup(func() { b.stop(); b.running.Wait() })
	return b
}

// start listens, again after a stop, at the same address.
func (b *backend) start() {
	b.t.Helper()
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.listener = listener.(*net.TCPListener)
	b.running.Go(func() { b.accept(b.listener) })
}

// stop closes the listener and leaves the connections alone.
func (b *backend) stop() { b.listener.Close() }

// does sets what is done with connections from now on.
func (b *backend) does(do func(*peer)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.do = do
}

// expectsNoHeader makes it take connections as they are.
func (b *backend) expectsNoHeader() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bare = true
}

func (b *backend) accept(listener *net.TCPListener) {
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return
		}
		b.running.Go(func() { b.serve(conn) })
	}
}

func (b *backend) serve(conn *net.TCPConn) {
	p := &peer{TCPConn: conn}
	conn.SetDeadline(time.Now().Add(4 * patience))
	b.mu.Lock()
	do, bare := b.do, b.bare
	b.mu.Unlock()
	if !bare {
		var err error
		if p.header, err = readProxyHeader(conn); err != nil {
			if !errors.Is(err, io.EOF) && !isReset(err) {
				b.t.Errorf("backend %s got a bad PROXY header: %v", b.address, err)
			}
			conn.Close()
			return
		}
	}
	b.accepted <- p
	do(p)
}

// next is the next connection that got through to the backend.
func (b *backend) next(t testing.TB) *peer {
	t.Helper()
	select {
	case p := <-b.accepted:
		return p
	case <-time.After(patience):
		t.Fatalf("no connection came to backend %s", b.address)
		return nil
	}
}

// wantNone checks that no connection came.
func (b *backend) wantNone(t testing.TB) {
	t.Helper()
	select {
	case p := <-b.accepted:
		t.Errorf("a connection came to backend %s: %+v", b.address, p.header)
	case <-time.After(200 * time.Millisecond):
	}
}

// echo gives back what comes, then ends as the client did.
func echo(p *peer) {
	defer p.Close()
	io.Copy(p, p)
}

// leave does nothing: the test drives the connection itself and has to close it.
func leave(*peer) {}

// abort resets the connection.
func (p *peer) abort() {
	p.SetLinger(0)
	p.Close()
}
