package cache

import (
	"math/rand/v2"
	"time"
)

// week is how long before its end a certificate is asked for again when its own lifetime is long enough.
const week = 7 * 24 * time.Hour

// century is the longest lifetime: nanoseconds since 1970 end in 2262, before some certificates do.
const century = 100 * 365 * 24 * time.Hour

// lifetime is how long what next holds is good before it is asked for again. same: the store still had what was held.
func (c *Cache) lifetime(got answer, next *held, same bool) time.Duration {
	limits := firstToExpire(next.pairs)
	remaining := min(got.now.until(limits.notAfter), century)
	return c.options.spread(c.options.span(got, remaining, time.Duration(limits.lifetime)*time.Second, same), remaining)
}

// span is the lifetime of an answer about a certificate that was made for whole and has remaining left.
func (o *Options) span(got answer, remaining, whole time.Duration, same bool) time.Duration {
	freshness := got.bundle.Freshness
	var span time.Duration
	switch {
	case o.TTL > 0 && got.bundle.Stopgap:
		return min(o.TTL, o.MinTTL, remaining)
	case o.TTL > 0:
		return min(o.TTL, remaining)
	case got.bundle.Stopgap, freshness.Revalidate:
		span = o.MinTTL
	case freshness.Known:
		span = freshness.MaxAge
	case same:
		// The store has had no newer one at the time it should: a tenth of what remains, and again.
		span = max(remaining-o.renewBefore(whole), remaining/10)
	default:
		span = remaining - o.renewBefore(whole)
	}
	return min(max(span, o.MinTTL), remaining)
}

func (o *Options) renewBefore(whole time.Duration) time.Duration {
	if o.RenewBefore > 0 {
		return o.RenewBefore
	}
	return min(week, whole/3)
}

// spread moves the end of a lifetime by up to a tenth at random, so that what was fetched at once is not fetched again at
// once: to before it, unless that is before min_ttl, and to before the certificate expires in any case.
func (o *Options) spread(span, remaining time.Duration) time.Duration {
	earliest := max(span-span/10, min(o.MinTTL, span))
	return max(min(earliest+upTo(span/10), remaining-remaining/20), 0)
}

// upTo returns a random duration below d, 0 when d is not above it.
func upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
