package acme

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
)

// bucket lets a number of orders through a second.
type bucket struct {
	rate, burst float64

	mu     sync.Mutex
	tokens float64
	at     time.Time
}

func newBucket(rate, burst int) *bucket {
	return &bucket{rate: float64(rate), burst: float64(burst), tokens: float64(burst)}
}

// take takes a token, or says how long to wait for one.
func (b *bucket) take(now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(b.burst, b.tokens+passed.Seconds()*b.rate)
		b.at = now
	}
	if b.tokens < 1 {
		return time.Duration((1-b.tokens)/b.rate*float64(time.Second)) + time.Millisecond
	}
	b.tokens--
	return 0
}

// giveBack is for a token that was not needed.
func (b *bucket) giveBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.burst, b.tokens+1)
}

// week is the time in which Let's Encrypt counts the certificates of a registered domain.
const week = 7 * 24 * time.Hour

// domains counts the new names below each registered domain, since the start.
type domains struct {
	most int // below 0: no limit

	mu    sync.Mutex
	taken map[string][]time.Time // oldest first
	swept time.Time
}

func newDomains(most int) *domains { return &domains{most: most, taken: make(map[string][]time.Time)} }

// limited is an error of a name that can't be ordered for now, which is nobody's fault.
type limited struct {
	reason string
	until  time.Time
}

func (l *limited) Error() string { return l.reason }

// errPostponed is what all of them are.
var errPostponed = errors.New("postponed")

func (l *limited) Is(target error) bool { return target == errPostponed }

// registered is the domain that somebody has bought, of which a name is a part.
func registered(name string) string {
	name = strings.TrimPrefix(name, "*.")
	if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return domain
	}
	return name
}

// check returns a *limited when there may be no more names below the domain of name for now; take counts one if there may.
func (d *domains) check(name string, now time.Time) error { return d.count(name, now, false) }
func (d *domains) take(name string, now time.Time) error  { return d.count(name, now, true) }

func (d *domains) count(name string, now time.Time, take bool) error {
	if d.most < 0 {
		return nil
	}
	domain := registered(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep(now)
	recent := since(d.taken[domain], now.Add(-week))
	if len(recent) >= d.most {
		return &limited{
			fmt.Sprintf("%d new names below %s were ordered within a week, which is the limit", len(recent), domain),
			recent[0].Add(week),
		}
	}
	if take {
		d.taken[domain] = append(recent, now)
	}
	return nil
}

// sweep forgets the domains of which no name was ordered for a week.
func (d *domains) sweep(now time.Time) {
	if now.Sub(d.swept) < time.Hour {
		return
	}
	d.swept = now
	for domain, taken := range d.taken {
		if len(since(taken, now.Add(-week))) == 0 {
			delete(d.taken, domain)
		}
	}
}

func since(times []time.Time, first time.Time) []time.Time {
	for len(times) > 0 && times[0].Before(first) {
		times = times[1:]
	}
	return times
}
