package redis

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
)

// guard is a connection off which nothing is read that the client library could not bear: see scanner.
type guard struct {
	net.Conn
	// ended is closed at the first error but a deadline's, and when the connection is closed.
	ended chan struct{}
	once  sync.Once

	asked  atomic.Int64 // commands that were written
	sent   scanner
	came   scanner
	buffer []byte // read off the connection
	passed []byte // what the scanner passed of it
	ready  []byte // what nobody has read of that yet
	err    error
}

func newGuard(conn net.Conn) *guard {
	return &guard{Conn: conn, ended: make(chan struct{}), buffer: make([]byte, 16<<10)}
}

func (g *guard) Read(p []byte) (int, error) {
	for len(g.ready) == 0 {
		if g.err != nil {
			return 0, g.finish(g.err)
		}
		n, err := g.Conn.Read(g.buffer)
		if n > 0 {
			g.take(g.buffer[:n])
		} else if err != nil {
			return 0, g.finish(err)
		}
	}
	n := copy(p, g.ready)
	g.ready = g.ready[n:]
	return n, nil
}

func (g *guard) take(piece []byte) {
	g.passed, g.err = g.came.scan(piece, g.passed[:0])
	if g.err == nil && g.came.values > g.asked.Load() {
		g.err = malformed("an answer that nobody asked for")
	}
	if g.err == nil {
		g.ready = g.passed
	}
}

func (g *guard) Write(p []byte) (int, error) {
	// Counted before they are written: their answers come after.
	if _, err := g.sent.scan(p, nil); err != nil {
		return 0, g.finish(err)
	}
	g.asked.Store(g.sent.values)
	n, err := g.Conn.Write(p)
	if err != nil {
		return n, g.finish(err)
	}
	return n, nil
}

// Close closes the connection, more than once without harm.
func (g *guard) Close() error {
	_ = g.finish(net.ErrClosed)
	return g.Conn.Close()
}

func (g *guard) finish(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		g.once.Do(func() { close(g.ended) })
	}
	return err
}

func (g *guard) hasEnded() bool {
	select {
	case <-g.ended:
		return true
	default:
		return false
	}
}
