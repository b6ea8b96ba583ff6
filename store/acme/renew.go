package acme

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"hellogate/store"
)

// Renew orders a name, or wildcard, that is due, whatever the back-off says; with force one that is not due too. It waits for
// the end of that, or of ctx: the order goes on. renewed says that there is a new certificate. The error wraps
// store.ErrUnknown for a name that may not be ordered.
func (s *Store) Renew(ctx context.Context, name string, force bool) (renewed bool, err error) {
	e, err := s.known(ctx, name)
	if err != nil {
		return false, fmt.Errorf("renew %q: %w", name, err)
	}
	s.mu.Lock()
	due := !e.job.due(s.options.KeyTypes).After(time.Now())
	s.mu.Unlock()
	if !due && !force {
		return false, nil
	}
	for {
		r, err := s.join(e, run{eager: true, forced: force})
		if err == nil {
			err = s.awaitByHand(ctx, r)
		}
		if err != nil {
			return r != nil && isOver(r) && r.fresh, fmt.Errorf("renew %q: %w", name, err)
		}
		if r.fresh || r.forced || !force {
			return r.fresh, nil
		}
		// It had begun before, and nothing was due.
	}
}

// awaitByHand waits for the end of an order for as long as ctx lets it, and returns the error that it ended with.
func (s *Store) awaitByHand(ctx context.Context, r *run) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("the order goes on: %w", ctx.Err())
	case <-s.life.Done():
		return errClosed
	}
}

func isOver(r *run) bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// known is the entry of a name that may be ordered.
func (s *Store) known(ctx context.Context, name string) (*entry, error) {
	if !isOrderable(name) || !s.managed[name] && !s.onDemand(name) {
		return nil, store.ErrUnknown
	}
	e, err := s.find(ctx, name)
	if e == nil && err == nil {
		e = s.add(name, job{})
	}
	return e, err
}

// Revoke has the authority revoke the certificates of a name, for a reason of RFC 5280 section 5.3.1, and takes them out of
// the storage: they are not served any more. A managed name is ordered anew. The error wraps store.ErrUnknown when there are
// none.
func (s *Store) Revoke(ctx context.Context, name string, reason int) error {
	e, err := s.known(ctx, name)
	if err == nil {
		err = s.revoke(ctx, e, reason)
	}
	if err != nil {
		return fmt.Errorf("revoke %q: %w", name, err)
	}
	return nil
}

func (s *Store) revoke(ctx context.Context, e *entry, reason int) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	t := &try{store: s, entry: e, within: ctx}
	err := t.locked(func() error {
		if len(t.leaves) == 0 {
			return store.ErrUnknown
		}
		return t.revokeAll(reason)
	})
	s.refresh(e.name)
	return err
}

// revokeAll revokes one certificate after another. Each is gone when it is revoked.
func (t *try) revokeAll(reason int) error {
	for kind := range t.leaves {
		there := *t.job.of(kind)
		if err := t.revokeOne(there, reason); err != nil {
			return err
		}
		if err := t.store.options.Storage.Remove(t.ctx, pemKey(t.name(), kind)); err != nil {
			return err
		}
		t.change(func(state *job) { state.drop(kind) })
		t.store.options.Event(Event{
			Kind: EventRevoked, Name: t.name(), Fingerprint: there.Fingerprint, KeyType: there.KeyType, NotAfter: there.NotAfter,
		})
	}
	t.change(func(state *job) { state.Errors, state.Next = 0, time.Time{} })
	return t.save()
}

// revokeOne signs with the certificate's own key: whatever account it was issued to, that is a right to (RFC 8555 section
// 7.6).
func (t *try) revokeOne(there issued, reason int) error {
	content, err := t.store.options.Storage.Load(t.ctx, pemKey(t.name(), there.KeyType))
	if err != nil {
		return err
	}
	pairs, err := store.DecodePEM(content)
	if err != nil {
		return err
	}
	key, err := store.ParseKey(pairs[0].Key)
	if err != nil {
		return err
	}
	from := t.store.authorityOf(there.CA)
	if from == nil {
		return fmt.Errorf("it was issued by %q, which is none of the directories", there.CA)
	}
	client, _ := from.client()
	err = client.RevokeCertificate(t.ctx, acme.Account{}, t.leaves[there.KeyType], key, reason)
	if err != nil && !isProblem(err, acme.ProblemTypeAlreadyRevoked) {
		return errors.New(clean(err.Error()))
	}
	return nil
}
