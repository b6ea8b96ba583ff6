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

	"hellogate/store"
)

// flight is one request to the store, for all who wait for its answer. It does not end with the client that began it.
// Nobody waits for one that refreshes an entry.
type flight struct {
	request store.Request
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

// join returns the flight for a name, a new one if there is none to be joined. The caller holds mu.
func (c *Cache) join(query Query) (*flight, error) {
	if c.closed {
		return nil, errClosed
	}
	f := c.flights[query.Name]
	if f == nil {
		c.totals.misses++
		f = c.begin(query)
	} else {
		c.totals.coalesced++
		c.queue.join(f, query.Client)
	}
	f.waiting++
	f.handshake = true
	return f, nil
}

func (c *Cache) begin(query Query) *flight {
	f := &flight{
		request: requestOf(query),
		client:  query.Client,
		began:   c.clock.now().mono,
		done:    make(chan struct{}),
	}
	c.flights[f.request.Name] = f
	c.queue.push(f)
	c.dispatch()
	return f
}

func requestOf(query Query) store.Request {
	// A name may be a part of a whole ClientHello.
	request := store.Request{Name: strings.Clone(query.Name)}
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
func (c *Cache) wait(ctx context.Context, f *flight, query Query) (*tls.Certificate, Source, error) {
	select {
	case <-f.done:
	default:
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, None, c.leave(ctx, f)
		}
	}
	certificate, err := c.take(f.outcome, query.Hello)
	if err != nil {
		return nil, None, err
	}
	return certificate, Miss, nil
}

// take returns the certificate of an outcome that suits a client.
func (c *Cache) take(got outcome, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if got.err != nil {
		return nil, got.err
	}
	if got.ready == nil {
		hot, err := c.hot.warm(got.entry, got.held, false)
		if err != nil {
			return nil, fmt.Errorf("certificate for %q: %w", got.entry.name, err)
		}
		got.ready = hot
	}
	return c.pick(got.ready, hello)
}

// pick returns the certificate that suits a client, made ready if it is not.
func (c *Cache) pick(from *ready, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if certificate := from.pick(hello); certificate != nil {
		return certificate, nil
	}
	held := from.entry.held.Load()
	if held == nil || held.pairs[1] == nil {
		return from.first, nil // it changed just now: there is no second any more
	}
	both, err := c.hot.warm(from.entry, held, true)
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: %w", from.entry.name, err)
	}
	return both.second, nil
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
	if c.flights[f.request.Name] == f {
		delete(c.flights, f.request.Name)
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
	if f := c.queue.pop(); f != nil {
		return f
	}
	return c.nextRefresh()
}

// ask asks the store and lets everybody know what it said.
func (c *Cache) ask(f *flight) {
	bundle, err := c.options.Store.Fetch(c.life, f.request)
	got := c.judge(f.request, bundle, err)
	c.mu.Lock()
	defer c.unlock()
	delete(c.asking, f)
	if f.entry != nil {
		c.refreshing--
	}
	c.land(f, c.settle(f, got))
	c.dispatch()
}

// settle caches what the store said, or what follows from it, and returns what those who wait get. The caller holds mu.
func (c *Cache) settle(f *flight, got answer) outcome {
	found, _ := c.index.find(f.request.Name)
	switch {
	case c.closed:
		return got.unkept()
	case f.entry != nil && f.entry != found: // it went meanwhile
		return outcome{}
	case f.flushed(f.request.Name): // asked for before a flush
		if f.entry != nil {
			c.plan(found, got.now.mono)
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
