package load

import (
	"sync"
	"sync/atomic"
	"time"
)

// tally counts what the connections of a round do. Its zero value is ready for use, by all of them at once.
type tally struct {
	operations, resumed, errors atomic.Int64

	first sync.Once
	text  string // of the first error
}

func (t *tally) fail(err error) {
	t.errors.Add(1)
	t.first.Do(func() { t.text = err.Error() })
}

// result is for when the round is over.
func (t *tally) result(took time.Duration) Round {
	return Round{
		Operations: t.operations.Load(), Resumed: t.resumed.Load(),
		Errors: t.errors.Load(), FirstError: t.text, Seconds: took.Seconds(),
	}
}

// shared hands out the operations of a round, counted from where the round before ended.
type shared struct{ next, end atomic.Int64 }

func (s *shared) add(operations int64) { s.end.Add(operations) }

// take gives the number of an operation, and false when there are no more.
func (s *shared) take() (int64, bool) {
	for {
		number := s.next.Load()
		if number >= s.end.Load() {
			return 0, false
		}
		if s.next.CompareAndSwap(number, number+1) {
			return number, true
		}
	}
}
