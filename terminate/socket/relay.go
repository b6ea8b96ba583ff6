package socket

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// relay makes a Conn of any net.Conn: one goroutine waits in its Read, one in its Write, each holding a buffer.
type relay struct {
	net.Conn
	strand *Strand
	group  sync.WaitGroup
	read   chan struct{} // asks the reader for more; nil: it is not started
	write  chan []byte   // what the writer is to send; nil: it is not started

	mutex    sync.Mutex // guards what follows
	have     []byte     // of what the reader read
	readErr  error
	reading  bool
	queue    []byte // for the writer, besides what it has
	busy     int    // bytes that the writer has
	writeErr error
	closed   bool
}

// acceptAny accepts a connection of any kind.
func acceptAny(l net.Listener) (Conn, error) {
	accepted, err := l.Accept()
	if err != nil {
		return nil, err
	}
	return &relay{Conn: accepted}, nil
}

// dialUnix connects to a Unix socket, which two goroutines then serve. One whose backlog is full says so at once, where TCP
// would wait for room: so it is asked again.
func dialUnix(ctx context.Context, strand *Strand, to Target) (Conn, error) {
	dialer := net.Dialer{Deadline: time.Now().Add(to.Within)}
	dialed, err := dialer.DialContext(ctx, to.Network, to.Address)
	for pause := shortestPause; errors.Is(err, syscall.EAGAIN); pause = min(2*pause, longestPause) {
		strand.SetDeadline(time.Now().Add(pause))
		if strand.Wait() == net.ErrClosed {
			return nil, err
		}
		dialed, err = dialer.DialContext(ctx, to.Network, to.Address)
	}
	if err != nil {
		return nil, err
	}
	r := &relay{Conn: dialed}
	r.attach(strand)
	return r, nil
}

// The pauses before a Unix socket is asked again.
const (
	shortestPause = time.Millisecond
	longestPause  = 50 * time.Millisecond
)

// attach makes strand the owner, which is told once that there may be something to read.
func (r *relay) attach(strand *Strand) {
	r.strand = strand
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.ask()
}

// Read takes what the reader has, and asks it for more where that is nothing.
func (r *relay) Read(p []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch {
	case len(r.have) > 0:
		n := copy(p, r.have)
		r.have = r.have[n:]
		return n, nil
	case r.readErr != nil:
		return 0, r.readErr
	case r.closed:
		return 0, net.ErrClosed
	case !r.reading:
		r.ask()
	}
	return 0, ErrNothingYet
}

// ask makes the reader read. The mutex is held.
func (r *relay) ask() {
	if r.read == nil {
		r.read = make(chan struct{}, 1)
		r.group.Go(r.reader)
	}
	r.reading = true
	r.read <- struct{}{}
}

// smallBuffer is what a reader holds that waits, as long as no more comes than goes into it.
const smallBuffer = 2 << 10

func (r *relay) reader() {
	small := make([]byte, smallBuffer)
	into := small
	var big *Buffer
	defer func() {
		if big != nil {
			Buffers.Put(big)
		}
	}()
	for range r.read {
		n, err := r.Conn.Read(into)
		r.mutex.Lock()
		r.have, r.readErr, r.reading = into[:n], err, false
		r.mutex.Unlock()
		r.strand.Wake()
		switch {
		case n < smallBuffer:
			into = small
		case big == nil:
			big = Buffers.Get().(*Buffer)
			fallthrough
		default:
			into = big[:]
		}
	}
}

// Write queues p for the writer.
func (r *relay) Write(p []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.writeErr != nil {
		return 0, r.writeErr
	}
	r.queue = append(r.queue, p...)
	r.send()
	return len(p), nil
}

// send gives the writer what is queued, if it has nothing. The mutex is held.
func (r *relay) send() {
	if r.busy > 0 || len(r.queue) == 0 || r.closed {
		return
	}
	if r.write == nil {
		r.write = make(chan []byte, 1)
		r.group.Go(r.writer)
	}
	r.busy = len(r.queue)
	r.write <- r.queue
	r.queue = nil
}

func (r *relay) writer() {
	for p := range r.write {
		_, err := r.Conn.Write(p)
		r.mutex.Lock()
		if r.busy = 0; err != nil {
			r.writeErr, r.queue = err, nil
		}
		r.send()
		r.mutex.Unlock()
		r.strand.Wake()
	}
}

func (r *relay) Remote() netip.AddrPort {
	peer, ok := r.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return unmapped(peer.AddrPort())
}

// More makes no difference: what comes while the writer writes goes at once, then.
func (r *relay) More(bool) {}

// Queued is what the writer has and what waits for it.
func (r *relay) Queued() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.busy + len(r.queue)
}

// Splice is what two goroutines can't do.
func (r *relay) Splice(Conn) (int, error, error) { return 0, errors.ErrUnsupported, nil }

// Flush tells how the writer fares.
func (r *relay) Flush() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.writeErr
}

// KeepAlive does what Go can.
func (r *relay) KeepAlive(every time.Duration) {
	if tcp, ok := r.Conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: every > 0, Idle: every, Interval: every})
	}
}

// SetUserTimeout does nothing: Go knows nothing of it.
func (r *relay) SetUserTimeout(time.Duration) {}

func (r *relay) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// Close closes the connection and waits for the two goroutines, which it sets free.
func (r *relay) Close() error {
	r.mutex.Lock()
	if r.closed {
		r.mutex.Unlock()
		return nil
	}
	r.closed = true
	r.mutex.Unlock()
	err := r.Conn.Close()
	if r.read != nil {
		close(r.read)
	}
	if r.write != nil {
		close(r.write)
	}
	r.group.Wait()
	return err
}

func (r *relay) Abort() {
	if tcp, ok := r.Conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = r.Close()
}

// The deadlines are the strand's. crypto/tls sets one behind its close_notify which the writer must not meet.

func (r *relay) SetDeadline(time.Time) error      { return nil }
func (r *relay) SetReadDeadline(time.Time) error  { return nil }
func (r *relay) SetWriteDeadline(time.Time) error { return nil }
