package chain

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"hellogate/store"
)

// settle is how long a store may take from its beginning until changes in it can be seen before that is a problem.
const settle = 5 * time.Second

// Sight says whether changes in a store can be seen.
type Sight struct {
	// Seen: they can.
	Seen bool
	// Problem is why not all of them can be, or not soon; nil: they can, or the store has only begun to look.
	Problem error
}

// A troubled Watcher knows why changes can't be seen, or not all of them, or not soon; nil: it knows of nothing.
type troubled interface{ WatchProblem() error }

var (
	errNotYet = errors.New("changes could not be seen since the start")
	errLost   = errors.New("changes can't be seen any more")
)

// sight is what a link has told of its Watcher.
type sight struct {
	mu    sync.Mutex
	seen  bool
	began time.Time // when it was to look; zero: not yet
	lost  bool      // after they were seen
}

func (s *sight) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = time.Now()
}

func (s *sight) take(change store.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if change.All || change.Lost {
		s.seen, s.lost = change.All, change.Lost
	}
}

// end is that nobody looks any more.
func (s *sight) end() { s.take(store.Change{Lost: true}) }

// now is the sight, without what the Watcher itself knows.
func (s *sight) now() Sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.seen:
		return Sight{Seen: true}
	case s.lost:
		return Sight{Problem: errLost}
	case s.began.IsZero() || time.Since(s.began) < settle:
		return Sight{}
	}
	return Sight{Problem: errNotYet}
}

// Sights says of each store that can tell of changes, by its name, whether they can be seen. What a Watcher knows of it
// itself it says with a method WatchProblem() error, which not all have.
func (c *Chain) Sights() map[string]Sight {
	sights := make(map[string]Sight)
	for _, each := range c.links() {
		if each.Watcher == nil {
			continue
		}
		found := each.sight.now()
		if knows, ok := each.Watcher.(troubled); ok {
			found.Problem = cmp.Or(knows.WatchProblem(), found.Problem)
		}
		found.Seen = found.Problem == nil && found.Seen
		sights[each.Name] = found
	}
	return sights
}
