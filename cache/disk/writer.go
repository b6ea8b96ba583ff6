package disk

import (
	"fmt"
	"runtime/debug"
	"time"
)

// pace is how much is done at a time, and when.
type pace struct {
	queueBytes              int           // that wait
	batchBytes, batchLength int           // written in one transaction
	every                   time.Duration // between two transactions, unless there is a reason not to wait
	retryFirst, retryMost   time.Duration // between attempts that fail
	replaceEvery            time.Duration // between two files that are set aside because they are corrupted
	closeWait               time.Duration
	reads                   int           // under way at once
	readWait                time.Duration // for one
	damageEvery             time.Duration // between lines of the log on damaged records
	firstSweep, sweepEvery  time.Duration
	sweepPause              time.Duration // between slices of one
	sweepSlice              int           // keys
}

var defaultPace = pace{
	queueBytes: 64 << 20,
	batchBytes: 4 << 20, batchLength: 4096,
	every:      50 * time.Millisecond,
	retryFirst: time.Second, retryMost: 30 * time.Second,
	replaceEvery: 30 * time.Second,
	closeWait:    5 * time.Second,
	reads:        32, readWait: 2 * time.Second,
	damageEvery: time.Minute,
	firstSweep:  5 * time.Minute, sweepEvery: time.Hour,
	sweepPause: 20 * time.Millisecond, sweepSlice: 256,
}

// writer is the state of the goroutine that writes.
type writer struct {
	lastWrite  time.Time
	retryAt    time.Time
	retryAfter time.Duration // 0: the last attempt did not fail
	closeBy    time.Time     // zero: not closing
	committed  bool          // the attempt under way wrote something
	gaveUp     bool          // an attempt failed when closing
	replaced   time.Time     // when a corrupted file was set aside
	sweepAt    time.Time
	sweep      *sweep // nil: none under way
}

type step int

const (
	waitStep step = iota
	writeStep
	sweepStep
	sayStep
	quitStep
)

// run does all that writes to the folder, until Close.
func (t *Tier) run() {
	defer close(t.stopped)
	// The file may be cut off while bbolt reads its map of it.
	debug.SetPanicOnFault(true)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, delay := t.next(time.Now())
		switch next {
		case writeStep:
			t.write()
		case sweepStep:
			t.sweepOn()
		case sayStep:
			t.sayDamage()
		case quitStep:
			t.finish()
			return
		case waitStep:
			timer.Reset(delay)
			select {
			case <-t.wake:
			case <-timer.C:
			}
		}
	}
}

// next is what is to be done now, or how long there is nothing.
func (t *Tier) next(now time.Time) (step, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &t.writer
	work := t.queue.count() > 0 || len(t.suspects) > 0 || t.broken != nil || len(t.waiters) > 0
	if t.closing {
		return t.nextClosing(now, work), 0
	}
	first, until := sweepStep, w.sweepAt
	if at, due := t.damage.due(t.pace.damageEvery); due && at.Before(until) {
		first, until = sayStep, at
	}
	if at := t.writeAt(); work && at.Before(until) {
		first, until = writeStep, at
	}
	if delay := until.Sub(now); delay > 0 {
		return waitStep, delay
	}
	return first, 0
}

func (t *Tier) nextClosing(now time.Time, work bool) step {
	w := &t.writer
	if w.closeBy.IsZero() {
		w.closeBy = now.Add(t.pace.closeWait)
	}
	if !work || w.gaveUp || now.After(w.closeBy) {
		return quitStep
	}
	return writeStep
}

// writeAt is when what there is to write may be written.
func (t *Tier) writeAt() time.Time {
	w, waiting := &t.writer, &t.queue.waiting
	switch {
	case len(t.waiters) > 0:
		return time.Time{}
	case w.retryAfter > 0:
		return w.retryAt
	case waiting.all != 0 || waiting.deletes.len() > 0 || t.queue.bytes >= t.pace.batchBytes:
		return time.Time{}
	}
	return w.lastWrite.Add(t.pace.every)
}

// batch is what one attempt is to do.
type batch struct {
	all      bool
	deletes  []string
	puts     []*Record
	suspects []string // to be deleted if they are damaged
	broken   *breakage
}

func (b *batch) empty() bool {
	return !b.all && len(b.deletes)+len(b.puts)+len(b.suspects) == 0 && b.broken == nil
}

// write makes one attempt to write what waits.
func (t *Tier) write() {
	b, asking := t.take()
	var err error
	if !b.empty() {
		t.writer.committed = false
		err = t.attempt(b)
		t.writer.lastWrite = time.Now()
		t.judge(err)
	}
	t.settle(b, asking, err)
}

// take returns what is to be done, and how many calls of Sync will hear if it fails.
func (t *Tier) take() (*batch, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue.take(t.pace.batchLength, t.pace.batchBytes)
	writing := &t.queue.writing
	b := &batch{all: writing.all != 0, broken: t.broken}
	writing.deletes.each(func(c *change) { b.deletes = append(b.deletes, c.key) })
	writing.puts.each(func(c *change) { b.puts = append(b.puts, c.record) })
	for key := range t.suspects {
		b.suspects = append(b.suspects, key)
	}
	return b, len(t.waiters)
}

// judge plans the next attempt, and says so when one fails that didn't before, and the other way round.
func (t *Tier) judge(err error) {
	w := &t.writer
	if err == nil && !w.committed {
		return // there was nothing to write after all, so nothing is known of the disk
	}
	before := w.retryAfter
	w.retryAfter = 0
	if err != nil {
		w.retryAfter = min(max(2*before, t.pace.retryFirst), t.pace.retryMost)
		w.retryAt = time.Now().Add(w.retryAfter)
		w.gaveUp = !w.closeBy.IsZero()
	}
	switch {
	case before > 0 && err == nil:
		t.saySuccess()
	case before == 0 && err != nil:
		t.sayFailure(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Failing = err != nil
	if err != nil {
		t.stats.LastError = err.Error()
	}
}

// settle does away with what was written, or puts it back, and tells those who wait for it.
func (t *Tier) settle(b *batch, asking int, err error) {
	t.measure()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.queue.putBack()
		for _, w := range t.waiters[:asking] {
			w.result <- err
		}
		t.waiters = t.waiters[asking:]
		return
	}
	t.queue.written()
	t.stats.Written += uint64(len(b.puts))
	for _, key := range b.suspects {
		delete(t.suspects, key)
	}
	if t.broken == b.broken {
		t.broken = nil
	}
	t.tell()
}

// tell answers those who wait for nothing that is queued any more. The caller holds mu.
func (t *Tier) tell() {
	left := t.waiters[:0]
	for _, w := range t.waiters {
		switch lost := t.queue.dropped - w.dropped; {
		case t.queue.pending(w.order):
			left = append(left, w)
		case lost > 0:
			w.result <- fmt.Errorf("disk tier %s: %d records were dropped: more was queued than may be, or they were too large", t.folder.path, lost)
		default:
			w.result <- nil
		}
	}
	clear(t.waiters[len(left):])
	t.waiters = left
	if t.queue.count() == 0 {
		t.queue.droppedWhenEmpty = t.queue.dropped
	}
}

// finish ends what Close ends.
func (t *Tier) finish() {
	if _, due := t.damage.due(0); due {
		t.sayDamage()
	}
	t.leave(t.file.Load())
	t.folder.close()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.waiters {
		w.result <- errClosed
	}
	t.waiters = nil
}
