// Package health finds out which servers are well by connecting to them, and, where that says too little, by asking them
// something. It follows its targets as they come and go.
//
// It guards these rules: a check is over by its timeout, whatever the server does, and reads a bounded answer; one check
// alone changes nothing about a server that is known; no connection outlives its check; servers are not checked in step.
package health

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Target is a server that is checked. Its methods may be called by any goroutine.
type Target interface {
	comparable
	Network() string  // tcp or unix
	Endpoint() string // as net.Dial takes it
	// Health returns what is thought of the server before the first check: it goes on from there.
	Health() (up, checked bool)
	// SetHealth takes in a check: what is thought of the server now, what the check failed with, "" when it succeeded, and
	// how long it took.
	SetHealth(up bool, reason string, latency time.Duration)
}

// Options says how servers are checked. The zero value connects every 2 seconds and closes the connection again.
type Options struct {
	Interval time.Duration // from one check's beginning to the next, give or take a tenth; 0: 2 s
	// FastInterval takes the place of Interval while the last check contradicts what is thought of the server. 0: Interval.
	FastInterval time.Duration
	Timeout      time.Duration // for all of a check; 0: 1 s
	// Rise is how many checks in a row must succeed until a server is up, Fall how many must fail until it is down. 0: 2
	// and 3. A server that was never checked is up, and down as soon as its first check fails.
	Rise, Fall int
	// Header, when set, makes what is sent first, before TLS: a PROXY header with the command LOCAL, for servers that take
	// no connection without one.
	Header func() ([]byte, error)
	// TLS, when set, has the check speak TLS, and fail when the server's certificate is not good. It needs a ServerName, or
	// InsecureSkipVerify.
	TLS *tls.Config
	// CurrentTLS, when set, gives what takes the place of TLS at each check: certificates change.
	CurrentTLS func() *tls.Config
	// StartTLS, when set, asks the server for TLS before it is spoken to over TLS, on a connection whose time is bounded.
	StartTLS func(io.ReadWriter) error
	Send     []byte // what is sent then; may be empty
	Expect   []byte // what the answer must contain, within its first 64 KiB; empty: none is awaited
	// AtStart has the answer begin with what is expected.
	AtStart bool
	// Dial connects. nil: a net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (o Options) withDefaults() Options {
	o.Interval = cmp.Or(o.Interval, 2*time.Second)
	o.FastInterval = cmp.Or(o.FastInterval, o.Interval)
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	o.Rise = cmp.Or(o.Rise, 2)
	o.Fall = cmp.Or(o.Fall, 3)
	if o.Dial == nil {
		o.Dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	return o
}

// Check returns what is wrong with the options.
func (o Options) Check() error {
	switch {
	case min(o.Interval, o.FastInterval, o.Timeout) < 0:
		return errors.New("health: a duration is below zero")
	case min(o.Rise, o.Fall) < 0:
		return errors.New("health: rise and fall must be above zero")
	case len(o.Expect) > maxAnswer:
		return fmt.Errorf("health: what is expected has %d bytes, and no more than %d are read", len(o.Expect), maxAnswer)
	case o.AtStart && len(o.Expect) == 0:
		return errors.New("health: nothing is expected at the start")
	case o.TLS != nil && o.TLS.ServerName == "" && !o.TLS.InsecureSkipVerify:
		return errors.New("health: TLS without a server name")
	}
	return nil
}

// Run checks targets until ctx ends, and returns when the last check has ended. watch returns the targets as they are now
// and a channel that is closed when they have changed; it is called again then.
func Run[T Target](ctx context.Context, options Options, watch func() (targets []T, changed <-chan struct{})) {
	options = options.withDefaults()
	var running sync.WaitGroup
	defer running.Wait()
	// A deadline of ctx would pass for that of a check, and for a failure of the server's.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	checked := make(map[T]context.CancelFunc)
	for ctx.Err() == nil {
		targets, changed := watch()
		for _, gone := range less(checked, targets) {
			checked[gone]()
			delete(checked, gone)
		}
		for _, target := range targets {
			if checked[target] != nil {
				continue
			}
			ctx, end := context.WithCancel(life)
			checked[target] = end
			running.Go(func() { follow(ctx, options, target) })
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// less returns the keys of all that are not among some.
func less[T comparable, V any](all map[T]V, some []T) []T {
	have := make(map[T]bool, len(some))
	for _, key := range some {
		have[key] = true
	}
	var missing []T
	for key := range all {
		if !have[key] {
			missing = append(missing, key)
		}
	}
	return missing
}

// follow checks one target until ctx ends.
func follow[T Target](ctx context.Context, options Options, target T) {
	var v verdict
	v.up, v.known = target.Health()
	for wait := time.Duration(rand.Int64N(int64(options.Interval/10) + 1)); sleep(ctx, wait); {
		began := time.Now()
		err := options.check(ctx, target.Network(), target.Endpoint())
		took := time.Since(began)
		if ctx.Err() != nil {
			return
		}
		v.take(err == nil, options.Rise, options.Fall)
		target.SetHealth(v.up, text(err), took)
		interval := options.Interval
		if v.against > 0 {
			interval = options.FastInterval
		}
		wait = max(jittered(interval)-took, interval/10)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// jittered is an interval give or take a tenth.
func jittered(interval time.Duration) time.Duration {
	return interval + time.Duration((rand.Float64()-0.5)/5*float64(interval))
}

// sleep reports whether ctx went on for so long.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// verdict is what is thought of a target.
type verdict struct {
	up, known bool
	against   int // checks in a row that contradict it
}

// take takes in a check.
func (v *verdict) take(succeeded bool, rise, fall int) {
	needed := rise
	if v.up {
		needed = fall
	}
	if !v.known {
		needed = 1
	}
	v.known = true
	if succeeded == v.up {
		v.against = 0
	} else if v.against++; v.against >= needed {
		v.up, v.against = succeeded, 0
	}
}
