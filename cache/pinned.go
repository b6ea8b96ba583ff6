package cache

import (
	"crypto/x509"
	"fmt"

	"hellogate/store"
)

// Pinned returns what was put in by hand, by name, for the process that comes after where no disk keeps it. It holds private
// keys.
func (c *Cache) Pinned() (map[string][]store.Pair, error) {
	all := map[string][]store.Pair{}
	for _, e := range c.entriesWhere(func(e *entry) bool { return e.held.Load().pinned() }) {
		for p := range e.held.Load().each() {
			plain, err := p.plain()
			if err != nil {
				return nil, fmt.Errorf("certificate for %q: %w", e.key, err)
			}
			all[e.key] = append(all[e.key], plain)
		}
	}
	return all, nil
}

// plain is the pair as a store gives one.
func (p *pair) plain() (store.Pair, error) {
	signer, err := p.parseKey()
	if err != nil {
		return store.Pair{}, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(signer)
	return store.Pair{Chain: p.sent(), Key: key}, err
}

// PinAgain is Pin for what another process's Pinned returned: nobody is told that it is new.
func (c *Cache) PinAgain(name string, pairs []store.Pair) error {
	return c.pinPairs(name, pairs, func(*held) {})
}
