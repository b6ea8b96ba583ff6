package cache

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrLimited is wrapped by the error for a name that was not looked up because too many that nobody knows were. It is
// never remembered.
var ErrLimited = errors.New("too many look-ups of unknown names")

// Lookups bounds how many names that a store does not know it is asked for: only its no costs. A rate of 0 is no bound.
type Lookups struct {
	Rate, Burst            int // a second, and at once; of everybody
	PerClient, ClientBurst int // of one client address, or /64 of IPv6
}

// budget counts what is left of Lookups. Whoever uses it holds Cache.mu.
type budget struct {
	lookups Lookups
	all     bucket
	clients map[netip.Prefix]*bucket
	hand    []netip.Prefix // the clients in the order in which they came, to look at in turn
}

// bucket holds tokens, as they were at a time on the monotonic clock. It may be in debt: what is under way is not stopped.
type bucket struct {
	tokens float64
	at     int64
}

// budgetClients is of how many clients it is known what they have left.
const budgetClients = 16 << 10

func newBudget(lookups Lookups) budget {
	return budget{
		lookups: lookups,
		all:     bucket{tokens: float64(lookups.Burst)},
		clients: make(map[netip.Prefix]*bucket),
	}
}

// check returns an error when a client may not have another name looked up.
func (b *budget) check(client netip.Addr, now moment) error {
	if b.lookups.Rate > 0 && !b.all.left(now, b.lookups.Rate, b.lookups.Burst) {
		return fmt.Errorf("%w: of all clients, %d a second allowed", ErrLimited, b.lookups.Rate)
	}
	known := b.clients[sender(client)]
	if b.lookups.PerClient > 0 && known != nil && !known.left(now, b.lookups.PerClient, b.lookups.ClientBurst) {
		return fmt.Errorf("%w: of this client, %d a second allowed", ErrLimited, b.lookups.PerClient)
	}
	return nil
}

// spend takes a no that a client asked for in. The zero Addr is nobody, who pays nothing.
func (b *budget) spend(client netip.Addr, now moment) {
	if !client.IsValid() {
		return
	}
	if b.lookups.Rate > 0 {
		b.all.left(now, b.lookups.Rate, b.lookups.Burst)
		b.all.tokens--
	}
	if b.lookups.PerClient > 0 {
		known := b.client(sender(client), now)
		known.left(now, b.lookups.PerClient, b.lookups.ClientBurst)
		known.tokens--
	}
}

// client returns a client's bucket. Of too many, the one that came first makes room. A client forgotten begins with a full
// bucket, which the bound on all makes bearable.
func (b *budget) client(prefix netip.Prefix, now moment) *bucket {
	if known := b.clients[prefix]; known != nil {
		return known
	}
	for len(b.hand) >= budgetClients {
		delete(b.clients, b.hand[0])
		b.hand = b.hand[1:]
	}
	created := &bucket{tokens: float64(b.lookups.ClientBurst), at: now.mono}
	b.clients[prefix] = created
	b.hand = append(b.hand, prefix)
	return created
}

// left fills a bucket up and reports whether there is a token in it.
func (b *bucket) left(now moment, rate, burst int) bool {
	earned := float64(now.mono-b.at) / float64(time.Second) * float64(rate)
	b.tokens, b.at = min(b.tokens+earned, float64(burst)), now.mono
	return b.tokens >= 1
}
