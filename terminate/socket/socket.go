// Package socket has connections that never block, and the strands that own them.
//
// A connection of thousands that waits should cost what is known of it, and nothing for the waiting: no goroutine, no
// buffer. So a read that finds nothing returns [ErrNothingYet], a write takes everything and queues what the kernel does
// not, and the [Strand] that owns the connection is told when there is something to do. Where the system has epoll,
// pollers of our own tell it (a runtime of ours beside Go's: Go's tells goroutines only, and a parked one holds its
// stack). Elsewhere, and for connections that are no TCP sockets, two goroutines a connection play the kernel's part.
//
// Everything of a Conn but its strand's Wake is for the strand alone, one goroutine at a time. That is what makes
// closing a descriptor safe: nobody else can be about to use it.
package socket

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Conn is a connection that never blocks. Deadlines are the strand's: its SetDeadline methods do nothing.
type Conn interface {
	// Read returns ErrNothingYet when there is nothing to read.
	//
	// Write takes all of p. What the kernel does not take is queued: who writes on without looking at Queued builds a queue
	// without bound.
	//
	// Close closes the connection as the kernel does: what was sent may still arrive, what is queued is lost.
	net.Conn
	// Remote is the peer's address, an IPv4 one always as such; the zero value where it has none.
	Remote() netip.AddrPort
	// More says whether another write follows at once.
	More(follows bool)
	// Queued is the number of bytes that wait for the kernel to take them.
	Queued() int
	// Splice takes what another connection has, and sends it, within the kernel; nothing may be queued here. What is not sent
	// at once is queued. A read's error is of the other connection, and ErrNothingYet when that has nothing; with
	// errors.ErrUnsupported nothing was done, and Read and Write have to do it.
	Splice(from Conn) (n int, readErr, writeErr error)
	// Flush tries to send what is queued, after the strand was woken.
	Flush() error
	// KeepAlive has a silent peer asked whether it is still there, after so long and then as often; 0: it is not asked. An
	// accepted connection has what its listener has.
	KeepAlive(every time.Duration)
	// SetUserTimeout sets how long what was sent may go unacknowledged, where the system has that; 0: as the system has it.
	SetUserTimeout(timeout time.Duration)
	// CloseWrite sends a FIN. What is queued must have been sent.
	CloseWrite() error
	// Abort closes the connection with a reset, which throws away what was not sent. A Unix socket knows none: its peer finds
	// an end of stream.
	Abort()
	// Over reports whether the connection is over in both directions, as after a reset.
	Over() bool
	// Unsent is the number of bytes that the peer has not acknowledged; 0 when it can't be told, or when the connection is
	// over: the queue is then as long as it was, but nobody will take from it.
	Unsent() int
}

// ErrNothingYet is what a read returns when there is nothing to read. crypto/tls remembers a read's error and fails from
// then on, unless it is a net.Error that calls itself temporary.
var ErrNothingYet net.Error = nothingYet{}

type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read yet" }
func (nothingYet) Timeout() bool   { return false }
func (nothingYet) Temporary() bool { return true }

// BufferSize is four TLS records. In bulk it costs 5 to 15 % less than two, and what is queued for a reader that stalls is
// as large; eight cost another 5 % less.
const BufferSize = 64 << 10

// Buffer is for bytes on their way.
type Buffer [BufferSize]byte

// Buffers has buffers to borrow, while there is something to put into them.
var Buffers = sync.Pool{New: func() any { return new(Buffer) }}

// MostPipes bounds how many pipes Splice uses, of two descriptors each, and with them the kernel's memory: what a slow receiver
// leaves in one stays there. Where it is reached, bytes are copied.
const MostPipes = 1024

// queues has what queues are made of: what a Buffer becomes in TLS records fits without growing.
var queues = sync.Pool{New: func() any { q := make([]byte, 0, BufferSize+1024); return &q }}

// queue holds bytes that the kernel does not take yet. The zero value is empty, and holds no memory.
type queue struct {
	bytes *[]byte
	sent  int
}

func (q *queue) size() int {
	if q.bytes == nil {
		return 0
	}
	return len(*q.bytes) - q.sent
}

// add queues p. What is gone makes room first, once it is half of all: a peer that reads just fast enough to leave something
// would otherwise have the queue grow by all that it ever got.
func (q *queue) add(p []byte) {
	if q.bytes == nil {
		q.bytes = queues.Get().(*[]byte)
	}
	if q.sent > len(*q.bytes)/2 && cap(*q.bytes)-len(*q.bytes) < len(p) {
		*q.bytes = append((*q.bytes)[:0], q.rest()...)
		q.sent = 0
	}
	*q.bytes = append(*q.bytes, p...)
}

func (q *queue) rest() []byte { return (*q.bytes)[q.sent:] }

// took notes that n bytes are gone.
func (q *queue) took(n int) {
	if q.sent += n; q.sent == len(*q.bytes) {
		q.drop()
	}
}

// drop gives the memory back. What grew beyond the usual is not kept for others.
func (q *queue) drop() {
	if q.bytes != nil && cap(*q.bytes) <= 2*BufferSize {
		*q.bytes = (*q.bytes)[:0]
		queues.Put(q.bytes)
	}
	q.bytes, q.sent = nil, 0
}
