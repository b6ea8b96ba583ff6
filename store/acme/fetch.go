package acme

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"hellogate/sni"
	"hellogate/store"
)

// Fetch returns the certificates of request.Name that are in the storage, one of each key type. Without any it has the name
// ordered, if it may be, and waits for that as long as ctx and Options.Wait let it; the order goes on, and Watch tells of its
// end. Who asks for a name that may not be ordered gets a no, also when there once was a certificate.
//
// The bundle of a name on demand is to be asked for again some time before it is due: it is renewed as long as it is.
func (s *Store) Fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	bundle, err := s.fetch(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("store %s: get %q: %w", s.options.Name, request.Name, err)
	}
	bundle.Store = s.options.Name
	return bundle, nil
}

func (s *Store) fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	if err := ctx.Err(); err != nil {
		return nil, &store.Failure{Err: err, Exempt: true}
	}
	if normal, err := sni.Normalize(request.Name); err != nil || normal != request.Name {
		return nil, &store.Failure{Err: errors.New("the name is not normalised"), Exempt: true}
	}
	if request.From != "" && request.From != s.options.Name {
		request.Validator = store.Validator{}
	}
	key, _, ok := s.keyOf(request.Name)
	if !ok {
		return nil, store.ErrUnknown
	}
	if bundle, err := s.stored(ctx, key, request); bundle != nil || err != nil {
		return bundle, err
	}
	r, err := s.request(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx, key, r); err != nil {
		return nil, err
	}
	bundle, err := s.stored(ctx, key, request)
	if bundle == nil && err == nil {
		err = &store.Failure{Err: errors.New("the order has ended, and there is no certificate"), Exempt: true}
	}
	return bundle, err
}

// stored is what the storage has for a name; nil: nothing that can be used.
func (s *Store) stored(ctx context.Context, key string, request store.Request) (*store.Bundle, error) {
	e, err := s.find(ctx, key)
	if err != nil {
		return nil, &store.Failure{Err: err}
	}
	bundle, err := s.load(ctx, key, request)
	if err != nil {
		return nil, &store.Failure{Err: err}
	}
	if bundle == nil {
		return nil, nil
	}
	now := time.Now()
	if e == nil { // somebody put it there
		e = s.add(key, job{})
	}
	if s.lacks(e, now) {
		if _, err := s.join(e, run{}); err != nil {
			return bundle, nil
		}
	}
	s.noteAsked(e, now)
	bundle.Freshness = s.freshness(e, now)
	return bundle, nil
}

// lacks says whether a name has no certificate of a key type that is wanted, and may be ordered.
func (s *Store) lacks(e *entry, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.job.due(s.options.KeyTypes).IsZero() && !e.job.Next.After(now)
}

// freshness has names on demand asked for again before they are due.
func (s *Store) freshness(e *entry, now time.Time) store.Freshness {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := e.job.due(s.options.KeyTypes).Sub(now)
	if e.managed || left <= 0 {
		return store.Freshness{}
	}
	return store.Freshness{Known: true, MaxAge: left / 4 * 3}
}

// load reads the pairs of a name. One that is of no use is passed over: a try finds it too, and says so. Key types that are
// not wanted any more serve on until there is one that is.
func (s *Store) load(ctx context.Context, key string, request store.Request) (*store.Bundle, error) {
	bundle, err := s.loadOf(ctx, key, request, s.options.KeyTypes)
	if bundle != nil || err != nil {
		return bundle, err
	}
	return s.loadOf(ctx, key, request, slices.DeleteFunc(KeyTypeNames(), func(kind string) bool {
		return slices.Contains(s.options.KeyTypes, kind)
	}))
}

func (s *Store) loadOf(ctx context.Context, key string, request store.Request, kinds []string) (*store.Bundle, error) {
	bundle := &store.Bundle{}
	version := sha256.New()
	for _, kind := range kinds {
		content, err := s.options.Storage.Load(ctx, pemKey(key, kind))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		pairs, err := store.DecodePEM(content)
		if err != nil {
			continue
		}
		if checked, err := store.Check(pairs[0], request.Name, time.Now()); err == nil {
			bundle.Pairs = append(bundle.Pairs, checked.Pair)
			version.Write(checked.Leaf.Fingerprint[:])
		}
	}
	if len(bundle.Pairs) == 0 {
		return nil, nil
	}
	bundle.Validator = store.Validator{ETag: hex.EncodeToString(version.Sum(nil)[:16])}
	if bundle.Validator == request.Validator {
		bundle.Pairs, bundle.NotModified = nil, true
	}
	return bundle, nil
}

// request has a name without a certificate ordered, unless it is not the time.
func (s *Store) request(ctx context.Context, key string) (*run, error) {
	now := time.Now()
	if until, err := s.storage.at(now); err != nil {
		return nil, failureOf(err, until, now)
	}
	e, err := s.find(ctx, key)
	if err != nil {
		return nil, &store.Failure{Err: err}
	}
	if e == nil {
		if err := s.domains.check(key, now); err != nil {
			return nil, &store.Failure{Err: err, Exempt: true, RetryAfter: store.MaxRetryAfter}
		}
		e = s.add(key, job{})
	}
	s.mu.Lock()
	next, last, waits := e.job.Next, e.job.Last.Error, e.run != nil
	s.mu.Unlock()
	if !waits && next.After(now) {
		if last == "" {
			last = "the last order came to no end"
		}
		return nil, failureOf(errors.New(last), next, now)
	}
	r, err := s.join(e, run{asked: true})
	if err != nil {
		return nil, &store.Failure{Err: err, Exempt: true}
	}
	return r, nil
}

// await waits for the end of an order, which goes on without it.
func (s *Store) await(ctx context.Context, key string, r *run) error {
	timer := time.NewTimer(s.options.Wait)
	defer timer.Stop()
	select {
	case <-r.done:
	case <-ctx.Done():
		return &store.Failure{Err: fmt.Errorf("the order goes on: %w", ctx.Err()), Exempt: true}
	case <-timer.C:
		return &store.Failure{Err: fmt.Errorf("the order goes on after %v", s.options.Wait), Exempt: true}
	case <-s.life.Done():
		return &store.Failure{Err: errClosed, Exempt: true}
	}
	if r.err == nil {
		return nil
	}
	s.mu.Lock()
	var next time.Time
	if e := s.entries[key]; e != nil {
		next = e.job.Next
	}
	s.mu.Unlock()
	return failureOf(r.err, next, time.Now())
}
