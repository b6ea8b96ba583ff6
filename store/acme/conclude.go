package acme

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"hellogate/store"
	"hellogate/store/acme/message"
)

// maxVetoDelay is after when a vetoed order is tried again at the latest.
const maxVetoDelay = time.Hour

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func isAccountGone(err error) bool { return isProblem(err, acme.ProblemTypeAccountDoesNotExist) }

// conclude keeps what came of an order.
func (t *try) conclude(err error) error {
	if t.ctx.Err() != nil && t.store.life.Err() == nil { // the lock is lost: the name is another's now
		return fmt.Errorf("%w: %w", errElsewhere, context.Cause(t.ctx))
	}
	if err != nil {
		err = cleaned{err}
	}
	now := time.Now()
	t.change(func(state *job) {
		state.Interrupted = 0
		state.Last.EndedAt = now.UTC().Truncate(time.Millisecond)
		t.settle(state, err, now)
		if len(t.got) > 0 {
			state.Untold, state.TellAt, state.Tells = []string{message.Renewed, message.Installed}, now, 0
			state.Expiring = time.Time{}
		}
	})
	t.count(t.job.Last.Result)
	if failed := t.save(); failed != nil && err == nil && len(t.got) == 0 {
		return fmt.Errorf("%w: %w", errStorage, failed)
	}
	return err
}

// settle decides when it is tried next.
func (t *try) settle(state *job, err error, now time.Time) {
	var paused *limited
	var asked *waiting
	state.Last.Result = resultFailed
	if err != nil {
		state.Last.Error = clean(err.Error())
	}
	switch {
	case err == nil:
		state.Last.Result = resultOK
		state.Errors, state.Vetoes, state.Next = 0, 0, time.Time{}
	case t.store.life.Err() != nil:
		state.Last.Result = resultInterrupted
		state.Next = now
	case errors.Is(err, errVeto):
		state.Last.Result = resultVetoed
		state.Vetoes++
		state.Next = now.Add(delay(state.Vetoes, maxVetoDelay))
	case errors.As(err, &paused):
		state.Next = paused.until
	default:
		state.Errors++
		t.failed = err
		pause := delay(state.Errors, lastDelay)
		if isPermanent(err) {
			pause = lastDelay
		}
		state.Next = now.Add(pause)
		if errors.As(err, &asked) {
			state.Next = later(state.Next, asked.until)
		}
	}
	state.Next = state.Next.UTC().Truncate(time.Millisecond)
}

func (t *try) count(result string) {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	if _, counted := t.store.ended[result]; counted {
		t.store.ended[result]++
	}
}

// endRun lets those go who wait for the order, and others have its turn. It does nothing the second time.
func (t *try) endRun(err error) {
	if t.run == nil || !t.slot {
		return
	}
	t.say(err)
	s, e := t.store, t.entry
	s.mu.Lock()
	t.adopt(err)
	e.run = nil
	t.run.job = nil
	t.run.err, t.run.fresh = err, len(t.got) > 0
	t.freeSlot()
	s.tell(e.name)
	s.mu.Unlock()
	close(t.run.done)
}

// adopt has the state of the name in memory. The caller holds mu.
func (t *try) adopt(err error) {
	e := t.entry
	if t.leaves != nil {
		e.job = t.job.copy()
		e.job.Last.Steps = nil
		if len(t.got) > 0 && !e.managed {
			// Those who had it ordered want it; of one that lives for long they have to say so again.
			e.asked = t.run.asked && time.Until(e.job.due(t.store.options.KeyTypes)) <= longLife
		}
	}
	now := time.Now()
	switch {
	case errors.Is(err, errElsewhere):
		e.pause = now.Add(elsewhereDelay)
	case errors.Is(err, errStorage) && t.store.life.Err() == nil:
		t.store.storage.fail(now, err, time.Time{})
		e.pause = now.Add(firstDelay)
	}
}

func sameCertificates(a, b job) bool {
	if len(a.Certificates) != len(b.Certificates) {
		return false
	}
	for _, each := range a.Certificates {
		if there := b.of(each.KeyType); there == nil || there.Fingerprint != each.Fingerprint {
			return false
		}
	}
	return true
}

// freeSlot has another begin. The caller holds mu.
func (t *try) freeSlot() {
	if t.slot {
		t.slot = false
		t.store.busy--
		select {
		case t.store.wake <- struct{}{}:
		default:
		}
	}
}

// end has the name in the schedule again.
func (t *try) end() {
	s, e := t.store, t.entry
	s.mu.Lock()
	defer s.mu.Unlock()
	t.freeSlot()
	if t.leaves != nil {
		e.job = t.job.copy()
		e.job.Last.Steps = nil
	}
	if t.run == nil && (t.leaves == nil || t.ctx.Err() != nil) {
		e.pause = time.Now().Add(elsewhereDelay)
	}
	e.busy = false
	if e.run == nil && !e.managed && len(e.job.Certificates) == 0 && e.job.Errors == 0 {
		delete(s.entries, e.name) // only its turn was waited for
		return
	}
	s.plan(e)
}

// say logs what came of an order.
func (t *try) say(err error) {
	log := t.store.options.Log.With().Str("store", t.store.options.Name).Str("name", t.name()).Logger()
	for _, leaf := range t.got {
		log.Info().Str("key_type", leaf.KeyType).Time("not_after", leaf.NotAfter).
			Hex("fingerprint_sha256", leaf.Fingerprint[:]).Msg("acme: certificate obtained")
	}
	if err == nil || t.store.life.Err() != nil || errors.Is(err, errElsewhere) {
		return
	}
	reason := clean(err.Error())
	switch {
	case errors.Is(err, errStorage):
		log.Error().Str("error", reason).Msg("acme: nothing is ordered: the storage fails")
	case errors.Is(err, errVeto):
		log.Info().Str("reason", reason).Time("next_at", t.job.Next).Msg("acme: order vetoed")
	case errors.Is(err, errPostponed):
		log.Warn().Str("reason", reason).Time("next_at", t.job.Next).Msg("acme: order postponed")
	default:
		log.Error().Str("error", reason).Int("errors", t.job.Errors).Time("next_at", t.job.Next).Msg("acme: order failed")
	}
}

// failureOf is what Fetch says of an order that failed.
func failureOf(err error, next, now time.Time) error {
	failure := &store.Failure{Err: err, Exempt: true}
	if pause := next.Sub(now); pause > 0 {
		failure.RetryAfter = min(pause, store.MaxRetryAfter)
		failure.Err = fmt.Errorf("%w (tried again when asked for after %s)", err, next.UTC().Format(time.RFC3339))
	}
	return failure
}
