package cache

import (
	"sync/atomic"
	"time"
)

// clock tells the time twice: monotonic, for how long something waits or lives, and by the wall, for when a certificate
// expires. A jump of the wall clock moves no waiting period.
//
// Reading both takes more than half of what a hit costs otherwise, so the distance between the two is kept, and measured
// anew when it is a second old.
type clock struct {
	start    time.Time
	measured atomic.Int64 // mono of the last measurement
	distance atomic.Int64 // wall - mono, then; 0: never measured
}

// moment is a time on both clocks, in nanoseconds: since the clock's start, and since 1970.
type moment struct{ mono, wall int64 }

func (k *clock) now() moment {
	mono := int64(time.Since(k.start))
	distance := k.distance.Load()
	if distance == 0 || mono-k.measured.Load() > int64(time.Second) {
		now := time.Now()
		mono = int64(now.Sub(k.start))
		distance = now.UnixNano() - mono
		k.distance.Store(distance)
		k.measured.Store(mono)
	}
	return moment{mono: mono, wall: mono + distance}
}

// at is the wall's time when mono is, or was, as the wall reads now.
func (m moment) at(mono int64) time.Time { return time.Unix(0, m.wall+mono-m.mono) }

// reached reports whether the wall has reached a time in seconds since 1970.
// A certificate may end in the year 9999 (RFC 5280, section 4.1.2.5), which nanoseconds don't reach.
func (m moment) reached(unix int64) bool { return m.wall/int64(time.Second) >= unix }

// until is how long there is till a time in seconds since 1970.
func (m moment) until(unix int64) time.Duration { return time.Unix(unix, 0).Sub(time.Unix(0, m.wall)) }

func (m moment) after(d time.Duration) int64 { return m.mono + int64(d) }

// wallOf is what the wall shows when mono is, in nanoseconds since 1970, and monoOf the other way round, as the wall is
// set now.
func (m moment) wallOf(mono int64) int64 { return m.wall + mono - m.mono }
func (m moment) monoOf(wall int64) int64 { return m.mono + wall - m.wall }
