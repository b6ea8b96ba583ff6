package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"

	"hellogate/store"
)

// look reads the state of a name, and the leaves of its certificates by key type.
func (s *Store) look(ctx context.Context, name string) (job, map[string]*x509.Certificate, error) {
	state, _, err := s.loadJob(ctx, name)
	if err != nil {
		return job{}, nil, err
	}
	found := state
	state.Certificates = nil
	leaves := make(map[string]*x509.Certificate)
	for _, kind := range s.options.KeyTypes {
		leaf, err := s.loadLeaf(ctx, name, kind)
		if err != nil {
			return job{}, nil, err
		}
		if leaf == nil {
			continue
		}
		leaves[kind] = leaf
		made := newIssued(kind, leaf)
		if before := found.of(kind); before != nil && before.Fingerprint == made.Fingerprint {
			made = *before
		}
		state.set(made)
	}
	return state, leaves, nil
}

// loadLeaf is the leaf of the pair in the storage; nil: there is none, or none that could be used if it were in its time.
func (s *Store) loadLeaf(ctx context.Context, name, kind string) (*x509.Certificate, error) {
	content, err := s.options.Storage.Load(ctx, pemKey(name, kind))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	leaf, err := readLeaf(content, name)
	if err != nil {
		s.options.Log.Error().Str("store", s.options.Name).Str("name", name).Err(err).
			Msgf("acme: %s is of no use: ordered anew", pemKey(name, kind))
		return nil, nil
	}
	return leaf, nil
}

func readLeaf(content []byte, name string) (*x509.Certificate, error) {
	pairs, err := store.DecodePEM(content)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(pairs[0].Chain[0])
	if err != nil {
		return nil, err
	}
	at := time.Now()
	if !at.Before(leaf.NotAfter) {
		at = leaf.NotAfter.Add(-time.Second) // its end is nothing wrong with it
	}
	_, err = store.Check(pairs[0], name, at)
	return leaf, err
}

// newIssued is what is kept of a certificate. It is due at a third of its lifetime left, a little before or after others.
func newIssued(kind string, leaf *x509.Certificate) issued {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return issued{
		KeyType:     kind,
		Fingerprint: fingerprint(leaf.Raw),
		NotBefore:   leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(),
		DueAt: leaf.NotAfter.Add(-life/3 - rand.N(life/30+1)).UTC(),
	}
}
