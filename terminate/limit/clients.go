package limit

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync/atomic"
	"time"
)

// Rules is what a client may do. The zero value forbids nothing.
type Rules struct {
	Connections int     // open ones; 0: any number
	Rate        float64 // new ones a second, in the long run; 0: any number
	Burst       int     // new ones at once, after a pause; 0: what Rate gives in a second, at least 1
}

// Verdict says whether a client may have one more connection.
type Verdict uint8

// The verdicts.
const (
	Pass    Verdict = iota
	TooMany         // it has as many open as it may have
	TooFast         // it opens them faster than it may
)

// String returns the verdict's word for logs and counters.
func (v Verdict) String() string { return [...]string{"pass", "client_connections", "client_rate"}[v] }

// shards is how many locks the clients are spread over.
const shards = 64

// Clients counts the connections of each client. All methods may be called by anyone at any time.
//
// There is an entry for each client that has a connection open, and one for each whose bucket is not full. The latter are
// dropped, as others come, within twice the time that a bucket takes to fill, at least two seconds, and there are at most
// 524,288 of them, of 16 bytes. Where more clients come than that, those are forgotten first that have not been seen for
// longest, and begin anew with a full bucket: to refuse those that there is no room for would let whoever owns many
// addresses lock everybody out.
type Clients struct {
	rules  atomic.Pointer[gcra]
	began  time.Time
	seed   maphash.Seed
	shards [shards]shard
}

// NewClients returns a Clients that has seen nobody.
func NewClients(rules Rules) *Clients {
	c := &Clients{began: time.Now(), seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].open = map[uint64]int{}
	}
	c.SetRules(rules)
	return c
}

// SetRules changes the rules. What was counted stays: a client that has more than it may have now keeps it.
func (c *Clients) SetRules(rules Rules) {
	c.rules.Store(rules.gcra())
	if rules.Rate > 0 {
		return
	}
	for i := range c.shards {
		c.shards[i].forget()
	}
}

// Take counts one more connection of a client, if it may have one. After [Pass], Release must be called once with the
// same address. A client without an address is local and passes always.
func (c *Clients) Take(client netip.Addr) Verdict {
	key, remote := clientKey(client)
	if !remote {
		return Pass
	}
	return c.shard(key).take(key, c.rules.Load(), int64(time.Since(c.began)))
}

// Release gives back what Take counted.
func (c *Clients) Release(client netip.Addr) {
	if key, remote := clientKey(client); remote {
		c.shard(key).release(key)
	}
}

// Tracked returns for how many clients connections are counted, and how many buckets are kept.
func (c *Clients) Tracked() (counted, buckets int) {
	for i := range c.shards {
		open, kept := c.shards[i].size()
		counted, buckets = counted+open, buckets+kept
	}
	return counted, buckets
}

func (c *Clients) shard(key uint64) *shard {
	return &c.shards[maphash.Comparable(c.seed, key)%shards]
}

// gcra is Rules for the generic cell rate algorithm (ITU-T I.371), which is a token bucket kept in one number: the time
// at which it is full again. The times are nanoseconds.
type gcra struct {
	connections int
	interval    int64 // in which a bucket gets one more; 0: the rate is not limited
	full        int64 // in which an empty one gets full
}

// The bounds of interval and full, which keep sums of them in range.
const (
	maxInterval = math.MaxInt64 / 8
	maxFull     = math.MaxInt64 / 4
)

func (r Rules) gcra() *gcra {
	if r.Rate <= 0 {
		return &gcra{connections: r.Connections}
	}
	burst := float64(r.Burst)
	if r.Burst <= 0 {
		burst = max(1, math.Floor(r.Rate))
	}
	interval := max(1, min(float64(time.Second)/r.Rate, maxInterval))
	return &gcra{connections: r.Connections, interval: int64(interval), full: int64(min(burst*math.Trunc(interval), maxFull))}
}
