package cache

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"hellogate/store"
)

// flight is one request to the store, for all who wait for its answer. It does not end with the client that began it.
// Nobody waits for one that refreshes an entry.
type flight struct {
	request store.Request
	key     string        // of what is fetched
	entry   *entry        // that is being refreshed, nil for none
	done    chan struct{} // closed once outcome is set
	outcome outcome

	// What follows is guarded by Cache.mu.
	client    netip.Addr    // whose turn it takes
	began     int64         // when it joined the queue, then when the store was asked
	waiting   int           // how many wait for it
	handshake bool          // a handshake does or did
	flushes   []*flush      // since the store was asked
	line      *line         // in the queue, nil once the store was asked
	turn      *list.Element // in line
}

// outcome is what those who wait for a flight get.
type outcome struct {
	ready *ready // nil: it is to be made of held
	entry *entry
	held  *held // what entry held then, which it may no longer
	err   error
}

// outcomeOf is that an entry holds what can be served.
func outcomeOf(found *entry) outcome { return outcome{entry: found, held: found.held.Load()} }

// landed returns a flight that is over.
func landed(result outcome) *flight {
	f := &flight{done: make(chan struct{}), outcome: result}
	close(f.done)
	return f
}

// join returns the flight for a client, a new one if there is none to be joined. The caller holds mu.
func (c *Cache) join(query Query, key string) (*flight, error) {
	if c.closed {
		return nil, errClosed
	}
	f := c.flights[key]
	if f == nil {
		if err := c.budget.check(query.Client, c.clock.now()); err != nil {
			c.totals.limited++
			return nil, fmt.Errorf("certificate for %q: %w", query.Name, err)
		}
		c.totals.misses++
		f = c.begin(query, key)
	} else {
		c.totals.coalesced++
		c.queue.join(f, query.Client)
	}
	f.waiting++
	f.handshake = true
	return f, nil
}

func (c *Cache) begin(query Query, key string) *flight {
	f := &flight{
		request: requestOf(query),
		key:     strings.Clone(key), // which may be a part of a whole ClientHello
		client:  query.Client,
		began:   c.clock.now().mono,
		done:    make(chan struct{}),
	}
	f.request.Name, f.request.WithoutECDSA = hostOf(f.key), isLegacy(f.key)
	c.flights[f.key] = f
	c.queue.push(f)
	c.dispatch()
	return f
}

// requestOf is what a store may learn of the client.
func requestOf(query Query) store.Request {
	var request store.Request
	if hello := query.Hello; hello != nil {
		request.SignatureSchemes, request.CipherSuites = hello.SignatureSchemes, hello.CipherSuites
		if hello.Conn != nil {
			request.LocalAddr = addressOf(hello.Conn.LocalAddr())
		}
	}
	return request
}

func addressOf(local net.Addr) netip.Addr {
	if tcp, ok := local.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// wait waits for a flight as long as ctx allows. What is there already is taken whatever ctx says.
func (c *Cache) wait(ctx context.Context, f *flight, query Query) (Answer, error) {
	select {
	case <-f.done:
	default:
		select {
		case <-f.done:
		case <-ctx.Done():
			return Answer{}, c.leave(ctx, f)
		}
	}
	return c.take(f.outcome, query.Hello)
}

// take returns what an outcome has for a client.
func (c *Cache) take(got outcome, hello *tls.ClientHelloInfo) (Answer, error) {
	if got.err != nil {
		return Answer{}, got.err
	}
	if got.ready == nil {
		hot, err := c.hot.warm(got.entry, got.held, false)
		if err != nil {
			return Answer{}, fmt.Errorf("certificate for %q: %w", got.entry.name(), err)
		}
		got.ready = hot
	}
	certificate, _ := c.pick(got.ready, hello)
	if certificate == nil {
		return Answer{}, fmt.Errorf("certificate for %q: its key can't be parsed", got.entry.name())
	}
	return Answer{certificate, Miss, got.ready.routing}, nil
}

// pick returns the certificate that suits a client best, made ready if it is not, and whether the client can use it, which
// is known only of what a store chose for some client. It returns nil when a key can't be parsed, which a fetch mends.
func (c *Cache) pick(from *ready, hello *tls.ClientHelloInfo) (certificate *tls.Certificate, suits bool) {
	if certificate, suits = from.pick(hello); certificate != nil {
		return certificate, suits
	}
	held := from.entry.held.Load()
	if held == nil || held.pairs[1] == nil {
		return from.first, true // it changed just now: there is no second any more
	}
	both, err := c.hot.warm(from.entry, held, true)
	if err != nil {
		return nil, false
	}
	return both.second, true
}

// leave gives up waiting. What nobody waits for any more and the store has not been asked yet, it never is.
func (c *Cache) leave(ctx context.Context, f *flight) error {
	c.mu.Lock()
	defer c.unlock()
	f.waiting--
	err := fmt.Errorf("certificate for %q: waiting for the store: %w", f.request.Name, ctx.Err())
	if f.line != nil {
		err = fmt.Errorf("certificate for %q: waiting behind other fetches: %w", f.request.Name, ctx.Err())
		if f.waiting == 0 {
			c.queue.remove(f)
			c.unjoin(f)
		}
	}
	return err
}

// unjoin keeps arrivals from joining f.
func (c *Cache) unjoin(f *flight) {
	if c.flights[f.key] == f {
		delete(c.flights, f.key)
	}
}

// land gives those who wait for f their outcome. The caller holds mu, and f is not in the queue.
func (c *Cache) land(f *flight, result outcome) {
	c.unjoin(f)
	f.outcome = result
	close(f.done)
}

// dispatch asks the store what it may be asked now. The caller holds mu.
func (c *Cache) dispatch() {
	for !c.closed && len(c.asking) < c.options.Fetches {
		next := c.next()
		if next == nil {
			return
		}
		next.began = c.clock.now().mono
		c.asking[next] = true
		c.totals.fetches++
		c.workers.Go(func() { c.ask(next) })
	}
}

// next returns what the store is asked next, nil for nothing. Refreshes take turns with what clients wait for, a few at
// once: clients without end, who ask for names that nobody knows, must not let known ones expire.
func (c *Cache) next() *flight {
	if c.refreshing < max(1, c.options.Fetches/8) && !c.refreshedLast {
		if f := c.nextRefresh(); f != nil {
			c.refreshedLast = true
			return f
		}
	}
	c.refreshedLast = false
	for f := c.queue.pop(); f != nil; f = c.queue.pop() {
		err := c.budget.check(f.client, c.clock.now())
		if !f.client.IsValid() || err == nil {
			return f
		}
		// What others were denied since it joined the queue has used the budget up.
		c.totals.limited += uint64(f.waiting)
		c.land(f, outcome{err: fmt.Errorf("certificate for %q: %w", f.request.Name, err)})
	}
	return c.nextRefresh()
}

// ask asks the store and lets everybody know what it said.
func (c *Cache) ask(f *flight) {
	bundle, err := c.fetch(f)
	got := c.judge(f.request, bundle, err)
	c.mu.Lock()
	defer c.unlock()
	delete(c.asking, f)
	if f.entry != nil {
		c.refreshing--
	}
	c.unjoin(f)
	got.took = time.Duration(got.now.mono - f.began)
	c.land(f, c.settle(f, got))
	c.dispatch()
}

// fetch asks for leave, where there is no certificate yet, and then the store.
func (c *Cache) fetch(f *flight) (*store.Bundle, error) {
	if c.options.Permission != nil && f.entry == nil {
		if err := c.askPermission(f.request.Name); err != nil {
			return nil, err
		}
	}
	return c.options.Store.Fetch(c.life, f.request)
}

// settle caches what the store said, or what follows from it, and returns what those who wait get. The caller holds mu.
func (c *Cache) settle(f *flight, got answer) outcome {
	if errors.Is(got.err, store.ErrUnknown) {
		c.budget.spend(f.client, got.now)
	}
	c.widen(f, got)
	found, _ := c.index.find(f.key)
	switch {
	case c.closed:
		return got.unkept()
	case found != nil && found.held.Load().pinned(): // since the store was asked
		return outcomeOf(found)
	case f.entry != nil && f.entry.held.Load() == nil: // it went meanwhile
		return outcome{}
	case f.flushed(f.request.Name): // asked for before a flush
		if f.entry != nil {
			c.plan(f.entry, got.now.mono)
		}
		return got.unkept()
	case errors.Is(got.err, store.ErrUnknown):
		return c.denied(f, found, got)
	case got.err != nil:
		return c.fetchFailed(f, found, got)
	case got.bundle.NotModified:
		return c.renew(found, got)
	case got.bundle.Freshness.NoStore:
		return c.keepNot(f, found, got)
	}
	return c.keep(f, found, got)
}

// widen has an answer that is for all clients kept for all, although it was asked for by or for those without ECDSA.
func (c *Cache) widen(f *flight, got answer) {
	if got.err != nil || got.bundle.NotModified || got.bundle.Partial || !isLegacy(f.key) || f.flushed(f.request.Name) {
		return
	}
	c.unknown.drop(f.key)
	c.failed.drop(f.key)
	if f.entry != nil && f.entry.held.Load() != nil {
		c.drop(f.entry)
		f.entry = nil
	}
	f.key = f.request.Name
}
