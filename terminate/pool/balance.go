package pool

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Balance says which of the servers that can take a connection gets it.
type Balance uint8

// The rules.
const (
	RoundRobin       Balance = iota // in turn, by weight, as evenly spread as can be
	LeastConnections                // fewest open for its weight; in turn among equals
	RandomTwo                       // of two drawn by weight, the one with fewer open for its weight
	SourceHash                      // by the client's address
	NameHash                        // by the name that the client asked for; without one, by its address
)

var balances = []string{"round_robin", "least_connections", "random_two", "source_hash", "name_hash"}

// String returns the rule as the configuration has it.
func (b Balance) String() string { return balances[b] }

// ParseBalance reads a rule as the configuration has it.
func ParseBalance(text string) (Balance, error) {
	for b, name := range balances {
		if name == text {
			return Balance(b), nil
		}
	}
	return 0, fmt.Errorf("unknown balance %q: round_robin, least_connections, random_two, source_hash or name_hash", text)
}

// choose returns one of the candidates, of which there is at least one.
func (b Balance) choose(candidates []*Server, key Key, now time.Time) *Server {
	switch b {
	case LeastConnections:
		return inTurn(leastLoaded(candidates, now), now)
	case RandomTwo:
		return ofTwo(candidates, now)
	case SourceHash:
		return rendezvous(candidates, hashAddr(key.Client), now)
	case NameHash:
		if key.Name == "" {
			return rendezvous(candidates, hashAddr(key.Client), now)
		}
		return rendezvous(candidates, hash(key.Name), now)
	}
	return inTurn(candidates, now)
}

// inTurn is smooth weighted round robin: each gets its weight in credit, the richest is chosen and pays for all. A server
// of weight 5 beside two of weight 1 comes up as in a a b a c a a, not five times in a row.
func inTurn(candidates []*Server, now time.Time) *Server {
	best, total := candidates[0], 0
	for _, s := range candidates {
		weight := s.weightAt(now)
		total += weight
		if s.credit += weight; s.credit > best.credit {
			best = s
		}
	}
	best.credit -= total
	return best
}

// leastLoaded moves the servers with the fewest connections for their weight to the front and returns them.
func leastLoaded(candidates []*Server, now time.Time) []*Server {
	least := candidates[:1]
	for _, s := range candidates[1:] {
		switch lighter(s, least[0], now) {
		case 1:
			least[0] = s
			least = least[:1]
		case 0:
			least = append(least, s)
		}
	}
	return least
}

// lighter is 1 when a has fewer connections for its weight than b, 0 when they have as many, and -1 otherwise.
func lighter(a, b *Server, now time.Time) int {
	ours, theirs := a.connections*b.weightAt(now), b.connections*a.weightAt(now)
	switch {
	case ours < theirs:
		return 1
	case ours > theirs:
		return -1
	}
	return 0
}

// ofTwo draws two different servers and returns the less loaded, the first drawn among equals.
func ofTwo(candidates []*Server, now time.Time) *Server {
	total := 0
	for _, s := range candidates {
		total += s.weightAt(now)
	}
	first := draw(candidates, nil, total, now)
	if len(candidates) == 1 {
		return first
	}
	second := draw(candidates, first, total-first.weightAt(now), now)
	if lighter(second, first, now) > 0 {
		return second
	}
	return first
}

// draw draws one of the servers other than without, which together weigh total.
func draw(candidates []*Server, without *Server, total int, now time.Time) *Server {
	at := rand.IntN(total)
	for _, s := range candidates {
		if s == without {
			continue
		}
		if at -= s.weightAt(now); at < 0 {
			return s
		}
	}
	return candidates[0]
}

// rendezvous returns the server that scores highest for a key. The scores of two servers don't depend on a third: when
// one goes only its keys move, and when one comes keys move only to it. -w/ln(h) gives each its weight's share of them
// (weighted rendezvous hashing). The key and the server's address alone decide, in every process alike.
func rendezvous(candidates []*Server, key uint64, now time.Time) *Server {
	var best *Server
	highest := math.Inf(-1)
	for _, s := range candidates {
		if score := -float64(s.weightAt(now)) / math.Log(fraction(mix(key^s.seed))); score > highest {
			best, highest = s, score
		}
	}
	return best
}
