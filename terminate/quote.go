package terminate

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// maxLogged bounds what an error may take of a log line.
const maxLogged = 400

// quote makes text that may hold what came from outside fit for a terminal: zerolog escapes control characters, but
// lets through what turns the direction of writing (U+202E) and its like.
func quote(text string) string {
	if len(text) > maxLogged {
		text = text[:maxLogged] + "..."
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return strconv.QuoteToASCII(text)
	}
	return text
}

// throttle logs what repeats itself under load at most once a second each, with the count of what it kept to itself.
// The zero value is ready.
type throttle struct {
	mutex sync.Mutex
	kinds map[string]*repeated
}

type repeated struct {
	next time.Time
	kept int
}

// event returns the line to be written, nil when it is not its turn. kind is of a fixed set.
func (t *throttle) event(log zerolog.Logger, kind string) *zerolog.Event {
	kept, due := t.due(kind, time.Now())
	if !due {
		return nil
	}
	return log.Warn().Int("repeated", kept)
}

func (t *throttle) due(kind string, now time.Time) (kept int, due bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.kinds == nil {
		t.kinds = map[string]*repeated{}
	}
	r := t.kinds[kind]
	if r == nil {
		r = &repeated{}
		t.kinds[kind] = r
	}
	if now.Before(r.next) {
		r.kept++
		return 0, false
	}
	kept, r.kept, r.next = r.kept, 0, now.Add(time.Second)
	return kept, true
}
