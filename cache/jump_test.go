package cache

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

// jump sets the wall clock by so much, for good.
func (k *clock) jump(by time.Duration) {
	k.now()
	k.distance.Add(int64(by))
	k.measured.Store(math.MaxInt64 / 2) // and it is not measured again
}

// stockUntil has the shelf give a certificate that ends then.
func (l *lab) stockUntil(name string, end time.Time) certtest.Issued {
	issued := l.ca.IssueWith(l.t, certtest.Options{Names: []string{name}, NotBefore: end.Add(-90 * day), NotAfter: end})
	l.shelf.set(name, gives(issued))
	return issued
}

// When the wall clock jumps, what expires by it has expired or has not, and nothing that waits waits longer or less.
func TestClockJumpsADay(t *testing.T) {
	for _, test := range []struct {
		name    string
		by      time.Duration
		expires bool // what has 12 hours left
	}{
		{"forth", day, true},
		{"back", -day, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(o *Options) { o.NegativeTTL = time.Minute }, func(t *testing.T, l *lab) {
				long, short := l.stockUntil("long.example", time.Now().Add(80*day)), l.stockUntil("short.example", time.Now().Add(12*time.Hour))
				l.serves("long.example", long, Miss)
				l.serves("short.example", short, Miss)
				l.refuses("no.example", store.ErrUnknown)
				l.shelf.setAll(failing(errDown))
				asked := l.shelf.count("")
				l.clock.jump(test.by)
				l.serves("long.example", long, Hit)
				l.refuses("no.example", store.ErrUnknown)
				if test.expires {
					l.refuses("short.example", errDown)
					asked++
				} else {
					l.serves("short.example", short, Hit)
				}
				l.sleep(time.Second)
				l.asked("", asked)
				l.asked("no.example", 1)
				l.sleep(time.Minute)
				l.refuses("no.example", errDown)
				l.asked("no.example", 2)
				l.serves("long.example", long, Hit)
			})
		})
	}
}

// The same while the process is not there: what is on disk has its times by the wall.
func TestClockJumpsADayOverARestart(t *testing.T) {
	for _, test := range []struct {
		name    string
		by      time.Duration
		source  Source // of what has long to go
		expires bool
	}{
		{"forth", day, Hit, true},
		{"back", -day, Stale, false}, // from the future: it is looked at again
	} {
		t.Run(test.name, func(t *testing.T) {
			runDisk(t, nil, func(t *testing.T, l *lab, m *memory, restart func()) {
				l.clock.jump(-test.by) // so that it is right after the restart
				wall := time.Now().Add(-test.by)
				long, short := l.stockUntil("long.example", wall.Add(80*day)), l.stockUntil("short.example", wall.Add(12*time.Hour))
				l.serves("long.example", long, Miss)
				l.serves("short.example", short, Miss)
				l.sleep(time.Second)
				restart()
				l.serves("long.example", long, test.source)
				if test.expires {
					l.refuses("short.example", errDown)
				} else if leaf, _, err := l.get("short.example"); err != nil || string(leaf) != string(short.Leaf.Raw) {
					t.Fatalf("short.example: %v", err)
				}
				synctest.Wait()
				if info, _ := l.Show("long.example"); time.Until(info.RefetchAt) > 80*day {
					t.Fatalf("asked for again in %s", time.Until(info.RefetchAt))
				}
				l.sleep(restoreSpread + time.Minute)
				l.serves("long.example", long, test.source)
				if asked := l.shelf.count("long.example"); (asked > 0) != (test.source == Stale) {
					t.Fatalf("asked for %d times", asked)
				}
			})
		})
	}
}
