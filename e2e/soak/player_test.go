package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stream is an end of a connection, as scripts are played on it.
type stream interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	CloseWrite() error
	sendFIN() error
	abort()
	endedCleanly() bool // what was read ended as it should, not cut off
}

// player plays the scripts of a side.
type player struct {
	stream
	stopping context.Context // the load ends, and with it round trips
	in, out  *pattern
	read     chan struct{} // closed when the script of this name is through
	written  chan struct{}
	left     atomic.Bool // this side has reset the connection, as it was told: whatever fails then is no fault
}

// fault is what went wrong on one side of a connection.
type fault struct {
	where  string // the side and the direction
	step   string
	offset int64 // in that direction
	err    error
}

func (f *fault) Error() string {
	return fmt.Sprintf("%s, at %q, byte offset %d: %v", f.where, f.step, f.offset, f.err)
}

func (f *fault) Unwrap() error { return f.err }

func newPlayer(stopping context.Context, stream stream, in, out *pattern) *player {
	return &player{
		stream: stream, stopping: stopping, in: in, out: out,
		read: make(chan struct{}), written: make(chan struct{}),
	}
}

// play runs both scripts and gives what went wrong, first the one with what was read.
func (p *player) play(name string, side side, rng *rand.Rand) error {
	var faults [2]error
	var group sync.WaitGroup
	reads, writes := rand.New(rand.NewPCG(rng.Uint64(), 1)), rand.New(rand.NewPCG(rng.Uint64(), 2))
	group.Go(func() {
		defer close(p.written)
		faults[1] = p.perform(name+" writes", side.Write, p.out, p.read, writes)
	})
	faults[0] = p.perform(name+" reads", side.Read, p.in, p.written, reads)
	close(p.read)
	group.Wait()
	return errors.Join(faults[:]...)
}

func (p *player) perform(where string, script script, pattern *pattern, other <-chan struct{}, rng *rand.Rand) error {
	for _, step := range script {
		if err := p.do(step, other, rng); err != nil {
			if _, isCorrupt := errors.AsType[*corruption](err); p.left.Load() && !isCorrupt {
				return nil
			}
			p.abort() // the other script, and the other side, need not wait for what will not come
			return &fault{where: where, step: step.String(), offset: pattern.offset, err: err}
		}
	}
	return nil
}

func (p *player) do(step step, other <-chan struct{}, rng *rand.Rand) error {
	switch step.Do {
	case take:
		return p.take(step.Bytes, rng)
	case end:
		return p.end()
	case cut:
		return p.cut(rng)
	case give:
		return p.give(step.Bytes, func() int { return pieceSize(rng) })
	case drip:
		return p.give(step.Bytes, func() int { return 1 })
	case push:
		return p.push(rng)
	case finish:
		return p.CloseWrite()
	case fin:
		return p.sendFIN()
	case reset:
		p.left.Store(true)
		p.abort()
	case pause:
		time.Sleep(step.For)
	case join:
		<-other
	case trips:
		return p.trips(step)
	case echo:
		return p.echo(rng)
	}
	return nil
}

// pieceSize is a size for a read or a write: small ones, odd ones, ones that just fit a TLS record or do not.
func pieceSize(rng *rand.Rand) int {
	switch rng.IntN(8) {
	case 0:
		return 1 + rng.IntN(64)
	case 1:
		return 16<<10 - 2 + rng.IntN(5)
	case 2:
		return 32<<10 - 2 + rng.IntN(5)
	default:
		return 1 + rng.IntN(64<<10)
	}
}

func (p *player) take(total int64, rng *rand.Rand) error {
	for left := total; left > 0; {
		n, err := p.readSome(int(min(left, int64(pieceSize(rng)))))
		left -= int64(n)
		if err != nil && (left > 0 || err != io.EOF) {
			return fmt.Errorf("%d bytes are missing: %w", left, err)
		}
	}
	return nil
}

// readSome reads up to size bytes and checks them.
func (p *player) readSome(size int) (int, error) {
	buffer := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buffer)
	p.SetReadDeadline(time.Now().Add(patience))
	n, err := p.Read(buffer[:min(size, len(buffer))])
	if wrong := p.in.check(buffer[:n]); wrong != nil {
		return n, wrong
	}
	return n, err
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (p *player) end() error {
	n, err := p.readSome(1)
	switch {
	case n > 0:
		return errors.New("a byte more than was sent")
	case err != io.EOF:
		return fmt.Errorf("instead of the end: %w", err)
	case !p.endedCleanly():
		return errors.New("the stream ends without a close_notify, though it was ended in order")
	}
	return nil
}

func (p *player) cut(rng *rand.Rand) error {
	for {
		_, err := p.readSome(pieceSize(rng))
		switch {
		case err == nil:
		case isReset(err):
			return nil
		case err == io.EOF:
			return errors.New("an end, though the other side was reset")
		default:
			return fmt.Errorf("instead of a reset: %w", err)
		}
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (p *player) give(total int64, size func() int) error {
	for left := total; left > 0; {
		n, err := p.writeSome(int(min(left, int64(size()))))
		left -= int64(n)
		if err != nil {
			return fmt.Errorf("%d bytes are left: %w", left, err)
		}
	}
	return nil
}

func (p *player) writeSome(size int) (int, error) {
	p.SetWriteDeadline(time.Now().Add(patience))
	n, err := p.Write(p.out.next(size))
	p.out.take(n)
	return n, err
}

// pushes bounds what push writes: more than all buffers on the way hold.
const pushes = 64 << 20

func (p *player) push(rng *rand.Rand) error {
	for written := 0; written < pushes; {
		n, err := p.writeSome(pieceSize(rng))
		written += n
		if isReset(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("instead of a reset: %w", err)
		}
	}
	return fmt.Errorf("%d bytes were taken, and there is no reset", pushes)
}

// wait is a pause that ends with the load.
func (p *player) wait(length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.stopping.Done():
	}
}

func (p *player) trips(s step) error {
	const size = 64
	for done := int64(0); done < s.Bytes && p.stopping.Err() == nil; done++ {
		if err := p.give(size, func() int { return size }); err != nil {
			return fmt.Errorf("trip %d: %w", done, err)
		}
		for left := size; left > 0; {
			n, err := p.readSome(left)
			left -= n
			if err != nil {
				return fmt.Errorf("trip %d: %d bytes did not come back: %w", done, left, err)
			}
		}
		if s.For > 0 {
			p.wait(s.For)
		}
	}
	return nil
}

// echo needs no pattern of its own: the client's comes in, and goes out again.
func (p *player) echo(rng *rand.Rand) error {
	for {
		before := *p.in
		n, err := p.readSome(pieceSize(rng))
		for left := n; left > 0; {
			p.SetWriteDeadline(time.Now().Add(patience))
			written, err := p.Write(before.next(left))
			if err != nil {
				return fmt.Errorf("echo: %w", err)
			}
			before.take(written)
			left -= written
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// abortTCP resets a connection.
func abortTCP(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}
