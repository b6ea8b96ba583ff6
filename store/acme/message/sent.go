package message

import "time"

// limits are how long the program is not run again for a reason, after it exited with 0 for it.
var limits = map[string]time.Duration{
	Renewing:  time.Hour,
	Errored:   time.Hour,
	Renewed:   24 * time.Hour,
	Installed: 24 * time.Hour,
	Expiring:  24 * time.Hour,
}

// Sent is when the program last exited with 0, by reason, for one name. It is kept with the name's other state, as a JSON
// object of times. The zero value is that of a name that it was never run for.
type Sent map[string]time.Time

// Reset forgets all: the limits are those of one renewal, and a new one begins.
func (s *Sent) Reset() { *s = nil }

// due says whether the program may be run for a reason.
func (s *Sent) due(reason string, now time.Time) bool {
	if s == nil {
		return true
	}
	last, told := (*s)[reason]
	// One in the future is that of a clock that was wrong.
	return !told || last.After(now) || now.Sub(last) >= limits[reason]
}

// note takes down that the program exited with 0 for a reason, if that limits anything.
func (s *Sent) note(reason string, now time.Time) {
	if s == nil || limits[reason] == 0 {
		return
	}
	if *s == nil {
		*s = make(Sent)
	}
	(*s)[reason] = now.UTC().Round(0)
}
