package logging

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// queueBytes bounds what waits to be written: some seconds of access log on a busy machine.
const queueBytes = 4 << 20

// pauseAfterError keeps a sink that refuses every write (a full disk) from taking a CPU.
const pauseAfterError = 100 * time.Millisecond

// gatherTime is how long lines gather after some were written: a busy process would otherwise write, and wake the writer,
// for every line.
const gatherTime = 10 * time.Millisecond

// queue collects lines and has one goroutine write them, many at a time. Write never waits for the sink.
type queue struct {
	sink    io.Writer
	limit   int
	wake    chan struct{} // holds one: there are lines, or it is closing
	done    chan struct{} // closed when the writing goroutine has ended
	dropped atomic.Uint64

	mu      sync.Mutex // never held while writing
	pending []byte     // swapped with the writing goroutine's buffer
	closed  bool
}

func newQueue(sink io.Writer, limit int) *queue {
	return &queue{sink: sink, limit: limit, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// start runs the writing goroutine. When lines were lost and writing works again, it calls report.
func (q *queue) start(report func(lines uint64)) { go q.run(report) }

// Write takes one line, or drops it. It never fails, so that zerolog has nothing to print about it.
func (q *queue) Write(line []byte) (int, error) {
	q.mu.Lock()
	fits := !q.closed && len(q.pending)+len(line) <= q.limit
	if fits {
		q.pending = append(q.pending, line...)
	}
	q.mu.Unlock()
	if !fits {
		q.dropped.Add(1)
		return len(line), nil
	}
	q.signal()
	return len(line), nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) run(report func(uint64)) {
	defer close(q.done)
	var batch []byte
	var reported uint64
	for closed := false; !closed; {
		<-q.wake
		batch, closed = q.take(batch[:0])
		if !q.flush(batch) {
			time.Sleep(pauseAfterError)
			continue
		}
		if lost := q.dropped.Load(); lost > reported && !closed {
			report(lost - reported)
			reported = lost
		}
		if !closed {
			time.Sleep(gatherTime)
		}
	}
}

// take swaps the waiting lines for an empty buffer. A buffer that a burst made large is not kept.
func (q *queue) take(empty []byte) (lines []byte, closed bool) {
	if cap(empty) > q.limit/16 {
		empty = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	lines, q.pending = q.pending, empty
	return lines, q.closed
}

func (q *queue) flush(lines []byte) bool {
	written, err := q.sink.Write(lines)
	if err != nil {
		written = max(0, min(written, len(lines)))
		q.dropped.Add(uint64(bytes.Count(lines[written:], []byte{'\n'})))
	}
	return err == nil
}

// close has what is waiting written and ends the goroutine. It gives up after wait: a sink that blocks for
// ever would otherwise keep the process from ending.
func (q *queue) close(wait time.Duration) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
	}
}
