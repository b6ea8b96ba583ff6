package chain

import (
	"errors"
	"sync"
	"time"

	"hellogate/store"
)

const linesEvery = time.Minute

// throttle lets one line a minute through. The zero value is ready.
type throttle struct {
	mu    sync.Mutex
	next  time.Time
	count int // since the last line
}

// take counts one, and returns how many there were since the last line, and whether it is time for another.
func (t *throttle) take() (count int, due bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	if now.Before(t.next) {
		return 0, false
	}
	count, t.count, t.next = t.count, 0, now.Add(linesEvery)
	return count, true
}

// sayPassed logs a failure that nobody else hears of, since another store answered.
func (c *Chain) sayPassed(failed failure, name, answeredBy string) {
	if cause, ok := errors.AsType[*store.Failure](failed.err); ok && cause.CutOff {
		return // the breaker said so once, for all
	}
	if count, due := failed.link.passed.take(); due {
		c.log.Warn().Str("store", failed.link.Name).Str("answered_by", answeredBy).Str("name", name).
			Int("count", count).AnErr("reason", failed.err).Msg("chain: store passed by")
	}
}

func (w *writer) sayFailed(name string, err error) {
	if count, due := w.failed.take(); due {
		w.log.Warn().Str("store", w.Name).Str("name", name).Int("count", count).AnErr("reason", err).
			Msg("chain: not written back")
	}
}
