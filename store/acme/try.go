package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"hellogate/store"
)

const (
	// lockTime is how long the lock of a name is waited for: another process works on it.
	lockTime = 15 * time.Second
	// elsewhereDelay is after when it is looked at again.
	elsewhereDelay = 5 * time.Second
	// lastWords bounds what is saved of a try that is given up.
	lastWords = 5 * time.Second

	// failover is after how many errors in a row the next authority is taken, as mod_md does.
	failover = 13

	crashDelay    = 5 * time.Second
	maxCrashDelay = time.Minute
)

var errElsewhere = errors.New("another process is at work on it")

// errVeto is wrapped when the message command forbids an order.
var errVeto = errors.New("the message command forbids it")

// errStorage is wrapped when what an order brings could not be kept.
var errStorage = errors.New("storage")

// try is work on one name, under its lock.
type try struct {
	store *Store
	entry *entry
	run   *run // nil: nothing is to be ordered
	slot  bool // it counts as one of those at once

	within context.Context // of whoever waits; nil: nobody does
	failed error           // with which an order ended
	ctx    context.Context // until the lock is lost
	job    job
	leaves map[string]*x509.Certificate // in the storage, by key type
	got    []store.Leaf                 // in this try
	dirty  bool                         // job is to be saved
}

func (t *try) name() string { return t.entry.name }

func (t *try) work() {
	err := t.locked(func() error {
		err := t.renew()
		t.endRun(err)
		t.tellAll()
		return err
	})
	t.endRun(err)
	t.end()
}

// locked does something under the lock of the name, with its state at hand.
func (t *try) locked(do func() error) error {
	ctx, cancel := context.WithCancelCause(t.store.life)
	defer cancel(nil)
	if t.within != nil {
		defer context.AfterFunc(t.within, func() { cancel(t.within.Err()) })()
	}
	impatience := time.AfterFunc(lockTime, func() { cancel(errElsewhere) })
	held, release, err := t.store.options.Storage.Lock(ctx, t.name())
	if !impatience.Stop() && err == nil {
		release()
		err = errElsewhere
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	defer release()
	t.ctx = held
	if err := t.inspect(); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	return do()
}

// inspect finds out what there is. The certificates themselves decide: whoever wrote the state may have been killed before
// it was, or after.
func (t *try) inspect() error {
	state, leaves, err := t.store.look(t.ctx, t.name())
	if err != nil {
		return err
	}
	t.leaves = leaves
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	t.job = state
	if t.run != nil {
		t.run.job = &t.job
	}
	return nil
}

// renew orders what is due, and asks whether more is.
func (t *try) renew() error {
	now := time.Now()
	due := t.due(now)
	switch {
	case t.run == nil:
		return t.askAuthorities(now)
	case len(due) == 0:
		t.store.bucket.giveBack()
		t.count(resultElsewhere)
		return nil
	case t.isEarly(now):
		t.store.bucket.giveBack()
		return t.lastError()
	}
	return t.order(due)
}

// due are the key types for which a certificate is to be ordered: if one is, then also those that are nearly.
func (t *try) due(now time.Time) (kinds []string) {
	if t.job.due(t.store.options.KeyTypes).After(now) && (t.run == nil || !t.run.forced) {
		return nil
	}
	for _, kind := range t.store.options.KeyTypes {
		there := t.job.of(kind)
		if there == nil || t.run != nil && t.run.forced || !there.due().After(now.Add(there.NotAfter.Sub(there.NotBefore)/20)) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// isEarly says whether another process has tried in the meantime, so that it is not the time yet.
func (t *try) isEarly(now time.Time) bool { return !t.run.eager && t.job.Next.After(now) }

func (t *try) lastError() error {
	if t.job.Last.Error != "" {
		return errors.New(t.job.Last.Error)
	}
	return errElsewhere
}

// order tries to get certificates, and keeps what came of it.
func (t *try) order(due []string) error {
	if err := t.checkLimit(); err != nil {
		return err
	}
	if err := t.beginOrder(); err != nil {
		return err
	}
	err := t.announce()
	if err == nil {
		err = t.obtain(due)
	}
	return t.conclude(err)
}

// checkLimit counts a new name. Nothing is written for one too many: there is no end of names that may be asked for.
func (t *try) checkLimit() error {
	known := len(t.leaves) > 0 || t.job.Errors > 0 || t.job.Vetoes > 0 || t.job.Interrupted > 0
	if known || t.run.eager {
		return nil
	}
	err := t.store.domains.take(t.name(), time.Now())
	if err != nil {
		t.change(func(state *job) { t.settle(state, err, time.Now()) })
		t.dirty = false
	}
	return err
}

// beginOrder writes down that a try begins, before anybody is asked: were we killed in it, the next one knows.
func (t *try) beginOrder() error {
	if err := t.store.options.Storage.Writable(t.ctx); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	t.change(func(state *job) {
		if state.Errors == 0 && state.Vetoes == 0 && state.Interrupted == 0 {
			state.Sent.Reset()
		}
		state.Last = Try{At: now, Result: resultUnderWay}
		state.Next = now.Add(crash(state.Interrupted))
		state.Interrupted++
	})
	if err := t.save(); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	t.store.storage.clear()
	return nil
}

// crash is how long after a try that came to no end the next one may begin: at once the first time.
func crash(interrupted int) time.Duration {
	if interrupted == 0 {
		return 0
	}
	return min(crashDelay<<min(interrupted-1, 10), maxCrashDelay)
}

// change changes the job, which others may read meanwhile.
func (t *try) change(do func(*job)) {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	do(&t.job)
	t.dirty = true
}

func (t *try) step(kind, detail string) {
	t.change(func(state *job) { state.step(time.Now(), kind, detail) })
	t.store.options.Log.Debug().Str("store", t.store.options.Name).Str("name", t.name()).Str("step", kind).
		Str("detail", clean(detail)).Msg("acme")
}

// save writes the job if it has changed; when the store is being closed too, but not when the lock is lost.
func (t *try) save() error {
	ctx := t.ctx
	if t.store.life.Err() != nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		ctx = limited
	}
	if err := t.store.saveJob(ctx, t.name(), &t.job); err != nil {
		return err
	}
	t.dirty = false
	return nil
}
