package acme

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"hellogate/store"
	"hellogate/store/acme/message"
)

// The kinds of events. They are what the message command is told, and one more.
const (
	EventRenewing       = message.Renewing
	EventChallengeSetup = "challenge-setup" // Detail is the challenge's type
	EventRenewed        = message.Renewed
	EventInstalled      = message.Installed
	EventExpiring       = message.Expiring
	EventErrored        = message.Errored // Detail is why
	EventRevoked        = "revoked"
)

// Event is something that happened to a name.
type Event struct {
	Kind string
	Name string
	// Detail is more, in words.
	Detail string
	// Fingerprint, KeyType and NotAfter are of the certificate that it happened to, if to one.
	Fingerprint string
	KeyType     string
	NotAfter    time.Time
}

// expiringEvery is how often it is told that a certificate is near its end.
const expiringEvery = 24 * time.Hour

func (t *try) event(kind, detail string) {
	t.store.options.Event(Event{Kind: kind, Name: t.name(), Detail: clean(detail)})
}

func (t *try) eventOf(kind string, leaf store.Leaf) {
	t.store.options.Event(Event{
		Kind: kind, Name: t.name(),
		Fingerprint: hex.EncodeToString(leaf.Fingerprint[:]), KeyType: leaf.KeyType, NotAfter: leaf.NotAfter,
	})
}

// send runs the message command, and has what it was told noted in the job.
func (t *try) send(ctx context.Context, reason string) error {
	t.store.mu.Lock()
	sent := t.job.copy().Sent
	t.store.mu.Unlock()
	err := t.store.options.Message.Send(ctx, reason, t.name(), &sent)
	t.change(func(state *job) { state.Sent = sent })
	return err
}

// announce says that an order is about to begin, and asks whether it may.
func (t *try) announce() error {
	if err := t.send(t.ctx, message.Renewing); err != nil {
		t.step("veto", err.Error())
		return fmt.Errorf("%w: %w", errVeto, err)
	}
	t.event(EventRenewing, "")
	return nil
}

// announceChallenge says that the answer to a challenge is in place.
func (t *try) announceChallenge(ctx context.Context, picked acme.Challenge) error {
	if err := t.store.options.Message.Send(ctx, message.ChallengeSetup(picked.Type, picked.Identifier.Value), t.name(), nil); err != nil {
		return err
	}
	t.event(EventChallengeSetup, picked.Type)
	return nil
}

// tellAll tells what happened, when it is in effect already: whoever is told may take minutes.
func (t *try) tellAll() {
	now := time.Now()
	t.tellObtained(now)
	t.tellErrored()
	t.tellExpiring(now)
	if !t.dirty {
		return
	}
	if err := t.save(); err != nil && t.ctx.Err() == nil {
		t.store.options.Log.Error().Str("store", t.store.options.Name).Str("name", t.name()).Err(err).Msg("acme: save the state of a name")
	}
}

// tellObtained tells of a certificate, until the message command takes it.
func (t *try) tellObtained(now time.Time) {
	for _, kind := range []string{EventRenewed, EventInstalled} {
		for _, leaf := range t.got {
			t.eventOf(kind, leaf)
		}
	}
	if len(t.job.Untold) == 0 || t.job.TellAt.After(now) {
		return
	}
	for _, reason := range slices.Clone(t.job.Untold) {
		if err := t.send(t.ctx, reason); err != nil {
			t.retell(err)
			return
		}
		t.change(func(state *job) { state.Untold = state.Untold[1:] })
	}
	t.change(func(state *job) { state.TellAt, state.Tells = time.Time{}, 0 })
}

func (t *try) retell(err error) {
	t.change(func(state *job) {
		state.Tells++
		state.TellAt = time.Now().Add(delay(state.Tells, lastDelay)).UTC().Truncate(time.Millisecond)
	})
	if t.ctx.Err() == nil {
		t.store.options.Log.Warn().Str("store", t.store.options.Name).Str("name", t.name()).Str("error", clean(err.Error())).
			Time("next_at", t.job.TellAt).Msg("acme: message not taken")
	}
}

func (t *try) tellErrored() {
	if t.failed == nil {
		return
	}
	t.event(EventErrored, t.failed.Error())
	t.complain(t.send(t.ctx, message.Errored))
}

// tellExpiring tells once a day that a certificate that is to be renewed is near its end.
func (t *try) tellExpiring(now time.Time) {
	t.store.mu.Lock()
	soon, wanted := t.job.expiresSoon(), t.store.wanted(t.entry, now)
	t.store.mu.Unlock()
	if soon.IsZero() || soon.After(now) || !wanted || t.job.Expiring.Add(expiringEvery).After(now) {
		return
	}
	t.change(func(state *job) { state.Expiring = now.UTC().Truncate(time.Millisecond) })
	end := t.job.notAfter()
	t.store.options.Event(Event{Kind: EventExpiring, Name: t.name(), NotAfter: end})
	t.store.options.Log.Warn().Str("store", t.store.options.Name).Str("name", t.name()).Time("not_after", end).
		Str("error", t.job.Last.Error).Msg("acme: certificate expires soon and is not renewed")
	t.complain(t.send(t.ctx, message.Expiring))
}

func (t *try) complain(err error) {
	if err != nil && t.ctx.Err() == nil {
		t.store.options.Log.Warn().Str("store", t.store.options.Name).Str("name", t.name()).Str("error", clean(err.Error())).Msg("acme: message not taken")
	}
}
