package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

var (
	errNoFile = errors.New("the file is not open")
	errBusy   = errors.New("it changed while it was read, again and again")
	errSilent = errors.New("the disk does not answer")
)

// readers bounds the reads that are under way. One of a disk that hangs can't be ended: a thread of the process is in it
// until the disk answers. So there are only so many, nobody waits for one for long, and when all that may be are in such
// reads, nobody waits at all until one of them comes back.
type readers struct {
	slots   chan struct{} // one is taken by each read
	overdue atomic.Int64  // those that nobody waits for any more
}

func newReaders(most int) readers { return readers{slots: make(chan struct{}, most)} }

// enter takes a slot.
func (r *readers) enter(ctx context.Context) error {
	select {
	case r.slots <- struct{}{}:
		return nil
	default:
	}
	if r.overdue.Load() >= int64(cap(r.slots)) {
		return errSilent
	}
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain waits for the reads that are under way, and keeps others from beginning. It reports whether they ended in time.
func (r *readers) drain(ctx context.Context) bool {
	for range cap(r.slots) {
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// lookup is one read.
type lookup[T any] struct {
	done  chan struct{}
	over  atomic.Bool // it came back, or nobody waits for it: whichever was first
	found T
	err   error
}

// leave notes that nobody waits for the read any more.
func (l *lookup[T]) leave(r *readers) {
	if !l.over.Swap(true) {
		r.overdue.Add(1)
	}
}

// end notes that the read came back.
func (l *lookup[T]) end(r *readers) {
	if l.over.Swap(true) {
		r.overdue.Add(-1)
	}
	close(l.done)
	<-r.slots
}

// look has something read from the file as one transaction left it, and waits for that as long as ctx and the pace allow.
// read may go on after that, with nobody to take what it returns. Close waits for it a bounded time.
func look[T any](ctx context.Context, t *Tier, read func(*file, *view) (T, error)) (T, error) {
	var none T
	if t.file.Load() == nil {
		return none, errNoFile
	}
	ctx, cancel := context.WithTimeout(ctx, t.pace.readWait)
	defer cancel()
	if err := t.readers.enter(ctx); err != nil {
		return none, t.unanswered(err)
	}
	l := &lookup[T]{done: make(chan struct{})}
	go func() {
		defer l.end(&t.readers)
		l.found, l.err = lookNow(t, read)
	}()
	select {
	case <-l.done:
		return l.found, l.err
	case <-ctx.Done():
		l.leave(&t.readers)
		return none, t.unanswered(ctx.Err())
	}
}

// unanswered makes an error of that a read was not waited for. If the disk is to blame, it has that said.
func (t *Tier) unanswered(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, errSilent) {
		return err
	}
	err = fmt.Errorf("%w: %w", errSilent, err)
	t.mu.Lock()
	t.stats.LastError = err.Error()
	t.damage.unread = err
	at, _ := t.damage.due(t.pace.damageEvery)
	t.mu.Unlock()
	if !time.Now().Before(at) {
		t.sayDamage() // the writer may hang too
	}
	return err
}

// lookNow is look by the goroutine of the caller. The result of the last call of read counts.
func lookNow[T any](t *Tier, read func(*file, *view) (T, error)) (T, error) {
	var none T
	for range lookAttempts {
		f := t.file.Load()
		if f == nil {
			return none, errNoFile
		}
		v := f.view.Load()
		found, err := read(f, v)
		if !f.stands(v) || errors.Is(err, os.ErrClosed) {
			continue
		}
		if err != nil && !errors.Is(err, errDamaged) {
			t.blame(f, err)
		}
		return found, err
	}
	return none, errBusy
}
