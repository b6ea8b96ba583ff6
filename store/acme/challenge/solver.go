package challenge

import (
	"context"
	"errors"
	"fmt"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// TLSALPN01 returns what has Certificate answer the challenges of an order (RFC 8737).
func (p *Pending) TLSALPN01() acmez.Solver {
	return solver{pending: p, kind: acme.ChallengeTypeTLSALPN01}
}

// HTTP01 returns what has Handler answer the challenges of an order (RFC 8555 section 8.3).
func (p *Pending) HTTP01() acmez.Solver {
	return solver{pending: p, kind: acme.ChallengeTypeHTTP01}
}

// solver stores challenges of one type.
type solver struct {
	pending *Pending
	kind    string
}

// Present stores the challenge, here and for the others.
func (s solver) Present(ctx context.Context, challenge acme.Challenge) error {
	e, err := entryOf(challenge)
	if err == nil && e.Type != s.kind {
		err = fmt.Errorf("a challenge of type %q for the answers to %s", e.Type, s.kind)
	}
	if err == nil && s.kind == acme.ChallengeTypeTLSALPN01 {
		e.certificate, err = make01(e)
	}
	if err == nil {
		err = save(ctx, s.pending.options.Storage, e)
	}
	if err != nil {
		return fmt.Errorf("present a %s challenge: %w", s.kind, err)
	}
	s.pending.mu.Lock()
	defer s.pending.mu.Unlock()
	s.pending.own[e.key()] = e
	return nil
}

// CleanUp removes the challenge, and no other of the same name.
func (s solver) CleanUp(ctx context.Context, challenge acme.Challenge) error {
	e, err := entryOf(challenge)
	if err != nil {
		return fmt.Errorf("clean up a %s challenge: %w", s.kind, err)
	}
	e.Type = s.kind // the authority's last word on the challenge may have left it out
	s.pending.forget(e)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	stored, err := load(ctx, s.pending.options.Storage, e.key())
	if errors.Is(err, ErrNone) || err == nil && stored.Token != e.Token {
		return nil
	}
	if err == nil {
		err = s.pending.options.Storage.Remove(ctx, e.key())
	}
	if err != nil {
		return fmt.Errorf("clean up a %s challenge: %w", s.kind, err)
	}
	return nil
}

func (p *Pending) forget(e entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own[e.key()].Token == e.Token {
		delete(p.own, e.key())
	}
}
