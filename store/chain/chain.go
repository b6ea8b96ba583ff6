// Package chain is several stores that are asked in order, as one.
//
// The rule it guards: a later store's answer stands for an earlier one's only where that has none. What was got because an
// earlier store could not be asked is a stopgap: it says so, and is never written into another store. A failure is never
// taken for a no, however many stores said no besides.
package chain

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hellogate/sni"
	"hellogate/store"
)

const (
	defaultWriteTimeout = 5 * time.Second
	// closeWait is how long Close lets writes go on that are under way or waiting.
	closeWait = 2 * time.Second
)

// Link is a store of a chain.
type Link struct {
	// Name is what the store is called in bundles, changes, errors and the log. No two links of a chain have the same.
	Name string
	// Store is what is asked: the store behind its breaker.
	Store store.Store
	// Watcher tells of changes in the store; nil: it can't.
	Watcher store.Watcher
	// Writer is the store where it can be written to; nil: it can't.
	Writer store.Writer
	// Names are those that the store is asked for; empty: all.
	Names []sni.Pattern
	// WriteBack puts what a later store answered into Writer. What is in the store then stays there until somebody removes
	// it; a copy that is due for renewal is replaced by a later store's newer one.
	WriteBack bool
	// Fetches is how many names the store is asked for at once; 0: no bound.
	Fetches int
	// WriteTimeout bounds one write; 0: 5 s.
	WriteTimeout time.Duration
}

// Chain is a [store.Store] and a [store.Watcher] made of several. It is safe for concurrent use.
type Chain struct {
	log zerolog.Logger

	life    context.Context // of writes
	end     context.CancelFunc
	writers sync.WaitGroup

	mu       sync.Mutex  // never held while a store is asked, watched or written to
	current  *generation // the links that are asked
	watching *watching   // nil: nobody is told of changes
	closed   bool
}

var _ store.Watcher = (*Chain)(nil)

// link is a Link at work. What it points to goes on in the link that takes its place.
type link struct {
	Link
	places chan struct{} // those that ask hold one each; nil: no bound
	writer *writer       // nil: nothing is written back
	passed *throttle     // of log lines
	sight  *sight        // of Watcher
	watch  *watch        // nil: it is not watched
}

// New returns the chain of links, the first to be asked first. Close it.
func New(links []Link, log zerolog.Logger) *Chain {
	c := &Chain{log: log}
	c.life, c.end = context.WithCancel(context.Background())
	c.current = newGeneration()
	c.fill(c.current, links)
	return c
}

// Close waits for writes under way, for two seconds, then cancels them. Fetches go on; nothing more is written back.
func (c *Chain) Close() {
	c.mu.Lock()
	c.closed = true
	for _, each := range c.current.links {
		if each.writer != nil {
			each.writer.close()
		}
	}
	c.mu.Unlock()
	defer c.end()
	cancelled := time.AfterFunc(closeWait, c.end)
	defer cancelled.Stop()
	ended := make(chan struct{})
	go func() {
		c.writers.Wait()
		close(ended)
	}()
	// A Writer that does not heed its context must not keep the process from ending.
	giveUp := time.NewTimer(2 * closeWait)
	defer giveUp.Stop()
	select {
	case <-ended:
	case <-giveUp.C:
	}
}

// Fetch asks the stores whose Names match for request.Name, in order, until one has it. A no goes on to the next store. So
// does a failure, but a bundle that is got after one has Stopgap set. It is a no when all that were asked said no, or when
// none is to be asked. Otherwise it is the first failure, with the others in its text: a *store.Failure with the longest
// RetryAfter of all, whose flags are set if they are on every failure. The error of a store that was the only one asked is
// returned as it is.
//
// A bundle without one pair that store.Check accepts is a failure of that store, and one whose certificates have all
// expired is as good as a no, as long as there is a store left to ask. A store with WriteBack whose copy is near its end
// (7 days, or a third of its lifetime if that is less) is asked, but so are those after it: the bundle that lasts longer
// is returned.
//
// Bundle.Store is the Name of the link that answered. request.Validator goes to the link that has the name request.From
// alone, or, if that is empty, to the only link of the chain.
func (c *Chain) Fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	asked := c.enter()
	defer c.leave(asked)
	links := asked.matching(request.Name)
	if len(links) == 0 {
		return nil, fmt.Errorf("stores: get %q: no store is to be asked for that name: %w", request.Name, store.ErrUnknown)
	}
	w := &walk{request: request, alone: len(asked.links) == 1}
	bundle, err := w.along(ctx, links)
	if err == nil {
		c.answered(w, bundle)
	}
	return bundle, err
}

// Takes reports whether the store is asked for a name.
func (l Link) Takes(name string) bool {
	return len(l.Names) == 0 || slices.ContainsFunc(l.Names, func(pattern sni.Pattern) bool { return pattern.Match(name) })
}

// fetch asks the store when there is a place. Who waits for one holds none of another store.
func (l *link) fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	if l.places == nil {
		return l.Store.Fetch(ctx, request)
	}
	select {
	case l.places <- struct{}{}:
	case <-ctx.Done():
		err := fmt.Errorf("store %s: get %q: waiting behind other fetches: %w", l.Name, request.Name, ctx.Err())
		return nil, &store.Failure{Err: err, Exempt: true}
	}
	defer func() { <-l.places }()
	return l.Store.Fetch(ctx, request)
}

// answered does what follows from a bundle that is returned: the log says whom it was got in spite of, and stores that
// lack it get it.
func (c *Chain) answered(w *walk, bundle *store.Bundle) {
	for _, failed := range w.failures {
		c.sayPassed(failed, w.request.Name, bundle.Store)
	}
	if mayWrite(bundle) {
		for _, lacking := range w.lacking {
			lacking.writer.add(write{name: w.request.Name, pairs: bundle.Pairs})
		}
	}
}
