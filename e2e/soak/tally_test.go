package soak

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	faultLimit  = 20 // from here on the load ends
	faultLength = 4000
)

// faults collects what went wrong.
type faults struct {
	mutex sync.Mutex
	texts []string
}

func (f *faults) add(format string, values ...any) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if len(f.texts) < 2*faultLimit {
		f.texts = append(f.texts, fmt.Sprintf("%.*s", faultLength, fmt.Sprintf(format, values...)))
	}
}

func (f *faults) all() []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return slices.Clone(f.texts)
}

func (f *faults) tooMany() bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return len(f.texts) >= faultLimit
}

// verdict is what an attempt came to.
type verdict int

const (
	good verdict = iota
	excused
	bad
)

// tally counts attempts by scenario and verdict.
type tally struct {
	mutex  sync.Mutex
	counts map[string]*[3]int
}

func newTally() tally { return tally{counts: map[string]*[3]int{}} }

func (t *tally) add(scenario string, v verdict) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.counts[scenario] == nil {
		t.counts[scenario] = new([3]int)
	}
	t.counts[scenario][v]++
}

// sum is the number of attempts with a verdict.
func (t *tally) sum(v verdict) (n int) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, counts := range t.counts {
		n += counts[v]
	}
	return n
}

func (t *tally) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	var lines []string
	for name, counts := range t.counts {
		lines = append(lines, fmt.Sprintf("%-42s %6d good %5d excused %4d bad", name, counts[good], counts[excused], counts[bad]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// share is how many of some had a property.
type share struct{ with, all atomic.Int64 }

func (s *share) count(has bool) {
	s.all.Add(1)
	if has {
		s.with.Add(1)
	}
}

func (s *share) String() string { return fmt.Sprintf("%d of %d", s.with.Load(), s.all.Load()) }
