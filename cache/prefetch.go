package cache

import (
	"context"
	"errors"

	"hellogate/store"
)

// Prefetch fetches the certificate for a name unless it is cached. What is remembered of it is passed by: this is how a
// new customer is brought in. The result is one of fetched, cached, unknown and failed; the reason may be empty.
func (c *Cache) Prefetch(ctx context.Context, name string) (result, reason string) {
	c.loadKey(name)
	c.forgetPermission(&flush{names: map[string]bool{name: true}})
	f := c.prefetch(name)
	if f == nil {
		return "cached", ""
	}
	var err error
	select {
	case <-f.done:
		err = f.outcome.err
	case <-ctx.Done():
		err = c.leave(ctx, f)
	}
	switch {
	case err == nil:
		return "fetched", ""
	case errors.Is(err, store.ErrUnknown):
		return "unknown", err.Error()
	}
	return "failed", err.Error()
}

// prefetch returns the flight to wait for, nil if the name is cached. An alias is not: it was fetched for another name.
func (c *Cache) prefetch(name string) *flight {
	c.mu.Lock()
	defer c.unlock()
	if c.closed {
		return landed(outcome{err: errClosed})
	}
	if found := c.usable(name, c.clock.now()); found != nil && found.held.Load().owner == nil {
		return nil
	}
	f := c.flights[name]
	if f == nil {
		f = c.begin(Query{Name: name}, name)
	}
	f.waiting++
	return f
}
