package cache

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"hellogate/store"
)

const (
	firstFailure = time.Second
	lastFailure  = time.Minute
)

// denial is an answer without a certificate.
type denial struct {
	name       string
	err        error
	at         int64 // when it was given
	until      int64 // when the store may be asked again
	forget     int64 // when it is no longer of use for anything
	failures   int   // in a row
	prev, next *denial
}

// denials remembers answers without a certificate, bounded in bytes of its own so that they can't displace one that has:
// the oldest go first. Whoever uses it holds Cache.mu.
type denials struct {
	limit, bytes int64
	byName       map[string]*denial
	oldest, last *denial
}

func newDenials(limit int64) denials {
	return denials{limit: limit, byName: make(map[string]*denial)}
}

// recall returns the error that is remembered for a name, nil for none.
func (d *denials) recall(name string, now moment) error {
	held := d.byName[name]
	if held == nil || now.mono >= held.until {
		return nil
	}
	return fmt.Errorf("certificate for %q: remembered for another %s: %w", hostOf(name), round(held.until-now.mono), held.err)
}

// no remembers that the store said no. Its text is not worth its memory: there may be very many.
func (d *denials) no(name string, now moment, ttl time.Duration) {
	d.add(&denial{name: name, err: store.ErrUnknown, at: now.mono, until: now.after(ttl), forget: now.after(ttl)})
}

// failure remembers a failure for as long as the store asked, or for longer each time.
func (d *denials) failure(name string, err error, now moment) {
	failed := &denial{name: name, err: err, at: now.mono}
	if before := d.byName[name]; before != nil {
		failed.failures = before.failures
	}
	delay := min(firstFailure<<min(failed.failures, 16), lastFailure)
	var failure *store.Failure
	if errors.As(err, &failure) {
		if failure.Unreachable {
			delay = firstFailure // whatever the name: the breaker deals with that
		}
		delay = min(max(delay, failure.RetryAfter), lastFailure)
	}
	failed.failures++
	failed.until = now.after(delay)
	failed.forget = now.after(delay + lastFailure)
	d.add(failed)
}

func (d *denials) add(added *denial) {
	d.drop(added.name)
	d.byName[added.name] = added
	if added.prev = d.last; d.last != nil {
		d.last.next = added
	} else {
		d.oldest = added
	}
	d.last = added
	for d.bytes += added.cost(); d.bytes > d.limit; {
		d.drop(d.oldest.name)
	}
}

// drop forgets what is remembered for a name and reports whether there was anything.
func (d *denials) drop(name string) bool {
	dropped := d.byName[name]
	if dropped == nil {
		return false
	}
	delete(d.byName, name)
	d.bytes -= dropped.cost()
	if dropped.prev != nil {
		dropped.prev.next = dropped.next
	} else {
		d.oldest = dropped.next
	}
	if dropped.next != nil {
		dropped.next.prev = dropped.prev
	} else {
		d.last = dropped.prev
	}
	return true
}

// sweep forgets what is of no more use, and returns how many are left.
func (d *denials) sweep(now moment) int {
	before := len(d.byName)
	for d.oldest != nil && now.mono >= d.oldest.forget {
		d.drop(d.oldest.name)
	}
	if before > 0 && d.oldest == nil {
		d.byName = make(map[string]*denial) // a map does not shrink
	}
	return len(d.byName)
}

// cost is what a denial takes in bytes.
func (d *denial) cost() int64 {
	const slot = 30 // of a map of strings to pointers, with the room it has left on average
	bytes := slot + allocated(int(unsafe.Sizeof(*d))) + allocated(len(d.name))
	if d.failures > 0 {
		bytes += 96 + int64(len(d.err.Error())) // the error and what it wraps
	}
	return bytes
}

func round(nanoseconds int64) time.Duration {
	return max(time.Duration(nanoseconds).Round(time.Second), time.Second)
}
