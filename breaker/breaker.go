// Package breaker is a store in front of a store that stops asking when it
// keeps failing, so that a store that is down costs neither its time-out for
// every name nor a flood of requests when it comes back. What is no store and is
// asked for names all the same can be put behind one, too.
//
// The rule it guards: it opens for the store's failures, never for one name's.
// One broken customer, however often asked for, cuts nobody off.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store"
)

const (
	defaultFailures = 5
	defaultNames    = 3
	defaultReset    = 30 * time.Second

	// grace is how long a half-open breaker waits for a name that was not
	// failing before it lets one that was take the probe.
	grace = time.Second
	// probeLimit is when a probe that did not return is given up for lost.
	probeLimit = time.Minute
	// maxFailing bounds the names that are known to have been failing. One
	// past it may take the probe as if it had not been.
	maxFailing = 1024
)

// Options say when a breaker opens and for how long.
type Options struct {
	// Failures in a row that open it. 0: 5.
	Failures int
	// Names is how many different names these failures must be of, unless the
	// store could not be reached at all. 0: 3.
	Names int
	// Reset is how long it stays open before it lets a probe through. 0: 30 s.
	Reset time.Duration
	// Kind is what is asked, in errors and as the key of log lines. "": store.
	Kind string
	// Log takes a line for each change of state.
	Log zerolog.Logger
}

func (o Options) withDefaults() Options {
	if o.Failures <= 0 {
		o.Failures = defaultFailures
	}
	if o.Names <= 0 {
		o.Names = defaultNames
	}
	if o.Reset <= 0 {
		o.Reset = defaultReset
	}
	if o.Kind == "" {
		o.Kind = "store"
	}
	return o
}

// State is whether a breaker lets requests through.
type State int

// A Closed breaker lets every request through, an Open one none, a HalfOpen
// one a single request at a time, the probe.
const (
	Closed State = iota
	Open
	HalfOpen
)

// String returns closed, open or half_open.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half_open"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// Status is what there is to know about a breaker.
type Status struct {
	Name  string
	State State
	// Failures in a row, of any name, that counted.
	Failures int
	// RetryIn is how long an Open breaker has until it lets a probe through.
	RetryIn time.Duration
	// Requests that have ended: Unknown were answered no, Failed failed, CutOff
	// never reached the store, the rest brought a bundle. Those that the caller
	// cancelled are not among them.
	Requests, Unknown, Failed, CutOff uint64
	// LastError is the text of the store's last failure, "" for none.
	LastError   string
	LastErrorAt time.Time
}

// Breaker is a [store.Store] in front of another. It is safe for concurrent use.
type Breaker struct {
	name    string
	next    store.Store
	options Options

	mu     sync.Mutex // guards what follows; never held while the store is asked or a line is logged
	status Status
	// generation is the number of changes of state. A failure counts only in
	// the generation that asked; in half open only the probe can be of it.
	generation  uint64
	unreachable int                 // failures to connect in a row
	failing     map[string]struct{} // names that failed since the last answer
	reopens     time.Time           // when an open breaker becomes half open
	othersAsked bool                // a name that is not failing was asked for since it opened
	probed      time.Time           // when the probe under way began, zero for none
}

var _ store.Store = (*Breaker)(nil)

// New returns a breaker in front of next, which it calls name in errors and
// log lines. next is nil for one that nobody calls Fetch of.
func New(name string, next store.Store, options Options) *Breaker {
	return &Breaker{
		name:    name,
		next:    next,
		options: options.withDefaults(),
		status:  Status{Name: name},
		failing: make(map[string]struct{}),
	}
}

// Limit has it open after so many failures in a row, and for so long, as
// [Options] say them. Its state stays as it is, and an open breaker lets its
// probe through when it was to.
func (b *Breaker) Limit(failures int, reset time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.options.Failures, b.options.Reset = failures, reset
	b.options = b.options.withDefaults()
}

// Fetch asks the store, or, while the breaker is open, returns at once a
// [*store.Failure] that has CutOff set and, in RetryAfter, how long the breaker
// stays so.
func (b *Breaker) Fetch(ctx context.Context, request store.Request) (bundle *store.Bundle, err error) {
	err = b.Do(request.Name, func() error {
		var err error
		bundle, err = b.next.Fetch(ctx, request)
		return err
	})
	return bundle, err
}

// Do calls ask, which asks for name and returns an error as Fetch of a
// [store.Store] does, and returns what it returns. While the breaker is open it
// does what Fetch does then, and ask is not called.
func (b *Breaker) Do(name string, ask func() error) error {
	generation, err := b.admit(name)
	if err != nil {
		return err
	}
	err = ask()
	b.settle(generation, name, err)
	return err
}

// Status returns what is known of the breaker now.
func (b *Breaker) Status() Status {
	now := time.Now()
	b.mu.Lock()
	changed := b.advance(now)
	status := b.status
	if status.State == Open {
		status.RetryIn = b.reopens.Sub(now)
	}
	b.mu.Unlock()
	b.report(changed)
	return status
}

// admit returns the generation a request for name belongs to, or the error for
// one that is cut off.
func (b *Breaker) admit(name string) (generation uint64, err error) {
	now := time.Now()
	b.mu.Lock()
	changed := b.advance(now)
	if wait := b.wait(name, now); wait > 0 {
		b.status.Requests++
		b.status.CutOff++
		err = b.cutOff(wait)
	} else if b.status.State == HalfOpen {
		b.probed = now
	}
	generation = b.generation
	b.mu.Unlock()
	b.report(changed)
	return generation, err
}

// wait returns 0 when a request for name may go ahead, else when to try again.
func (b *Breaker) wait(name string, now time.Time) time.Duration {
	if b.status.State == Closed {
		return 0
	}
	_, failing := b.failing[name]
	b.othersAsked = b.othersAsked || !failing
	switch sinceProbe := now.Sub(b.probed); {
	case b.status.State == Open:
		return b.reopens.Sub(now)
	case !b.probed.IsZero() && sinceProbe < probeLimit:
		return grace
	case failing && b.othersAsked:
		return max(0, b.reopens.Add(grace).Sub(now))
	}
	return 0
}

func (b *Breaker) cutOff(wait time.Duration) error {
	err := fmt.Errorf("%s %s: breaker %s after %d failures, not asked", b.options.Kind, b.name, b.status.State, b.status.Failures)
	return &store.Failure{Err: err, CutOff: true, RetryAfter: min(wait, store.MaxRetryAfter)}
}

// settle takes in how a request for name, let through in generation, ended.
func (b *Breaker) settle(generation uint64, name string, err error) {
	now := time.Now()
	var failure *store.Failure
	errors.As(err, &failure)

	b.mu.Lock()
	if !errors.Is(err, context.Canceled) {
		b.status.Requests++
	}
	var changed *change
	switch {
	case err == nil:
		changed = b.answered()
	case errors.Is(err, store.ErrUnknown):
		b.status.Unknown++
		changed = b.answered()
	case errors.Is(err, context.Canceled):
		b.undecided(generation)
	default:
		b.status.Failed++
		b.status.LastError, b.status.LastErrorAt = err.Error(), now
		if failure != nil && (failure.Exempt || failure.CutOff) {
			b.undecided(generation)
		} else {
			changed = b.failed(generation, name, failure != nil && failure.Unreachable, now)
		}
	}
	b.mu.Unlock()
	b.report(changed)
}
