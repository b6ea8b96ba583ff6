package limit

import (
	"sync"
	"time"
)

// maxRecent bounds a shard's buckets, of either generation.
const maxRecent = 4096

// shortestTurn keeps buckets that fill in no time from costing a new map each.
const shortestTurn = int64(time.Second)

// shard is the clients whose keys fall together.
type shard struct {
	mutex sync.Mutex
	open  map[uint64]int // connections; no entry is zero
	// When buckets are full again. A bucket that is touched moves to recent. At the turn recent becomes before, and what
	// was before is dropped: it has not been touched for as long as the emptiest takes to fill.
	recent, before map[uint64]int64
	turned         int64
	_              [64]byte // keeps the next shard's lock off this one's cache line
}

func (s *shard) take(key uint64, rules *gcra, now int64) Verdict {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	open := s.open[key]
	if rules.connections > 0 && open >= rules.connections {
		return TooMany
	}
	if rules.interval > 0 && !s.draw(key, rules, now) {
		return TooFast
	}
	s.open[key] = open + 1
	return Pass
}

// draw takes one out of a bucket, unless it is empty.
func (s *shard) draw(key uint64, rules *gcra, now int64) bool {
	if s.recent == nil || now-s.turned >= max(rules.full, shortestTurn) || len(s.recent) >= maxRecent {
		s.turn(now)
	}
	fullAt, ok := s.recent[key]
	if !ok {
		fullAt = s.before[key]
	}
	// The rules may have been slower when it was set.
	fullAt = min(max(fullAt, now), now+rules.full)
	if ok = fullAt+rules.interval <= now+rules.full; ok {
		fullAt += rules.interval
	}
	// One that is refused is noted too: who goes on trying must not be forgotten.
	s.recent[key] = fullAt
	return ok
}

func (s *shard) turn(now int64) {
	s.before, s.recent, s.turned = s.recent, map[uint64]int64{}, now
}

func (s *shard) release(key uint64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch open := s.open[key]; {
	case open > 1:
		s.open[key] = open - 1
	default:
		delete(s.open, key)
	}
}

// forget drops the buckets.
func (s *shard) forget() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.before, s.recent = nil, nil
}

func (s *shard) size() (open, buckets int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.open), len(s.recent) + len(s.before)
}
