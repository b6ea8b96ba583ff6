package cache

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

const day = 24 * time.Hour

func TestLifetime(t *testing.T) {
	defaults := Options{}.withDefaults()
	maxAge := func(d time.Duration) store.Freshness { return store.Freshness{Known: true, MaxAge: d} }
	for _, test := range []struct {
		name             string
		edit             func(*Options)
		freshness        store.Freshness
		remaining, whole time.Duration
		same             bool
		want             time.Duration
	}{
		{"ninety days", nil, store.Freshness{}, 90 * day, 90 * day, false, 83 * day},
		{"six days", nil, store.Freshness{}, 6 * day, 6 * day, false, 4 * day},
		{"renew_before", func(o *Options) { o.RenewBefore = 30 * day }, store.Freshness{}, 90 * day, 90 * day, false, 60 * day},
		{"late", nil, store.Freshness{}, 3 * day, 90 * day, false, 5 * time.Minute},
		{"late, and still the same", nil, store.Freshness{}, 5 * day, 90 * day, true, 12 * time.Hour},
		{"late, the same, nearly over", nil, store.Freshness{}, 20 * time.Minute, 90 * day, true, 5 * time.Minute},
		{"early, and still the same", nil, store.Freshness{}, 60 * day, 90 * day, true, 53 * day},
		{"max-age", nil, maxAge(time.Hour), 90 * day, 90 * day, false, time.Hour},
		{"max-age of the same", nil, maxAge(time.Hour), 90 * day, 90 * day, true, time.Hour},
		{"max-age below min_ttl", nil, maxAge(time.Second), 90 * day, 90 * day, false, 5 * time.Minute},
		{"max-age that Age took up", nil, maxAge(-time.Second), 90 * day, 90 * day, false, 5 * time.Minute},
		{"max-age beyond the certificate", nil, maxAge(100 * day), 90 * day, 90 * day, false, 90 * day},
		{"no-cache", nil, store.Freshness{Revalidate: true}, 90 * day, 90 * day, false, 5 * time.Minute},
		{"ttl", func(o *Options) { o.TTL = time.Minute }, maxAge(time.Hour), 90 * day, 90 * day, false, time.Minute},
		{"ttl beyond the certificate", func(o *Options) { o.TTL = day }, store.Freshness{}, time.Hour, 90 * day, false, time.Hour},
		{"min_ttl beyond the certificate", nil, store.Freshness{}, 20 * time.Second, time.Hour, false, 20 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := defaults
			if test.edit != nil {
				test.edit(&options)
			}
			got := options.span(answer{bundle: &store.Bundle{Freshness: test.freshness}}, test.remaining, test.whole, test.same)
			if got != test.want {
				t.Fatalf("%s, want %s", got, test.want)
			}
			for range 100 {
				spread := options.spread(got, test.remaining)
				if spread >= test.remaining || spread < got-got/10-test.remaining/20 || spread > got+got/10 {
					t.Fatalf("spread to %s", spread)
				}
			}
		})
	}
}

func TestRefreshedAheadWhileServed(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		old := l.stock("a.example")
		l.serves("a.example", old, Miss)
		info, _ := l.Show("a.example")
		if in := time.Until(info.RefetchAt); in < 74*day || in > 83*day {
			t.Fatalf("asked for again in %s", in)
		}
		l.shelf.setDelay(time.Second)
		renewed := l.stock("a.example")
		time.Sleep(time.Until(info.RefetchAt) + time.Millisecond)
		l.serves("a.example", old, Stale) // while the store is being asked
		l.sleep(2 * time.Second)
		l.serves("a.example", renewed, Hit)
		l.asked("", 2)
	})
}

func TestSameCertificateIsAskedForAfterATenthOfWhatRemains(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, NotBefore: time.Now().Add(-85 * day), NotAfter: time.Now().Add(5 * day)})
		l.shelf.set("a.example", gives(issued))
		l.serves("a.example", issued, Miss)
		l.sleep(6 * time.Minute)
		l.asked("", 2)
		info, _ := l.Show("a.example")
		if in := time.Until(info.RefetchAt); in < 10*time.Hour || in > 12*time.Hour {
			t.Fatalf("asked for again in %s", in)
		}
	})
}

func TestNotModifiedBeginsANewLifetime(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "a.example")
		l.shelf.set("a.example", func(request store.Request) (*store.Bundle, error) {
			bundle := &store.Bundle{Store: "shelf", Freshness: store.Freshness{Known: true, MaxAge: time.Hour}}
			if request.Validator.ETag == `"1"` {
				bundle.NotModified = true
				return bundle, nil
			}
			bundle.Validator.ETag = `"1"`
			bundle.Pairs = []store.Pair{issued.Pair}
			return bundle, nil
		})
		l.serves("a.example", issued, Miss)
		for hour := range 5 {
			l.sleep(time.Hour)
			l.serves("a.example", issued, Hit)
			if got := l.shelf.count(""); got < hour+2 {
				t.Fatalf("asked %d times in %d hours", got, hour+1)
			}
		}
		if l.shelf.last().Validator.ETag != `"1"` {
			t.Fatal("the validator was lost")
		}
	})
}

func TestNotModifiedUnaskedIsAFailure(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.shelf.set("a.example", func(store.Request) (*store.Bundle, error) { return &store.Bundle{NotModified: true}, nil })
		l.refuses("a.example", errNothingHeld)
	})
}

func TestServedUntilItExpiresWhileTheStoreFails(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, NotAfter: time.Now().Add(2 * time.Hour)})
		l.shelf.set("a.example", gives(issued))
		l.serves("a.example", issued, Miss)
		l.shelf.set("a.example", failing(errDown))
		for time.Until(issued.Leaf.NotAfter) > time.Second {
			if leaf, _, err := l.get("a.example"); err != nil || string(leaf) != string(issued.Leaf.Raw) {
				t.Fatalf("%s before it expires: %v", time.Until(issued.Leaf.NotAfter), err)
			}
			time.Sleep(time.Second)
		}
		if got := l.shelf.count(""); got < 4 || got > 60 {
			t.Fatalf("asked %d times", got)
		}
		info, _ := l.Show("a.example")
		if info.LastError == "" {
			t.Fatal("nothing is known of the failures")
		}
		l.sleep(2 * time.Second)
		l.refuses("a.example", errDown)
		if stats := l.Stats(); stats.Entries != 0 || stats.Pairs != 0 {
			t.Fatalf("stats %+v", stats)
		}
	})
}

func TestShortCertificateIsReplacedBeforeItExpires(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issue := func() certtest.Issued {
			return l.ca.IssueWith(t, certtest.Options{Names: []string{"soon.example"}, NotAfter: time.Now().Add(20 * time.Second)})
		}
		l.shelf.set("soon.example", func(store.Request) (*store.Bundle, error) { return gives(issue())(store.Request{}) })
		for range 100 {
			got, err := l.Get(t.Context(), Query{Name: "soon.example"})
			if err != nil {
				t.Fatal(err)
			}
			if got.Certificate == nil {
				t.Fatal("none")
			}
			time.Sleep(time.Second)
		}
		if stats := l.Stats(); stats.Misses != 1 {
			t.Fatalf("%d clients waited", stats.Misses)
		}
	})
}

func TestBadRefreshKeepsTheOld(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		old := l.stock("a.example")
		l.serves("a.example", old, Miss)
		l.shelf.set("a.example", gives(l.ca.Issue(t, "b.example")))
		l.sleep(84 * day)
		l.serves("a.example", old, Stale)
		if l.log.lines("a.example", "the old one is kept", "covers b.example") == 0 {
			t.Fatalf("nothing in the log: %s", l.log)
		}
		if info, _ := l.Show("a.example"); info.LastError == "" {
			t.Fatal("nothing to show for it")
		}
		renewed := l.ca.Issue(t, "a.example")
		l.shelf.set("a.example", gives(renewed))
		l.sleep(15 * time.Minute)
		l.serves("a.example", renewed, Hit)
	})
}

// What was fetched in one minute is not fetched again in one minute, and never with more than half of what the store may
// be asked at once.
func TestRefreshesAreSpread(t *testing.T) {
	t.Parallel()
	run(t, func(o *Options) { o.Fetches = 8 }, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "*.example")
		l.shelf.setAll(fresh(store.Freshness{Known: true, MaxAge: day}, issued))
		for i := range 1000 {
			l.serves(fmt.Sprintf("x%d.example", i), issued, Miss)
		}
		var most, total int
		for range 25 * 60 {
			l.sleep(time.Minute)
			now := l.shelf.count("") - 1000
			most = max(most, now-total)
			total = now
		}
		if total < 1000 || most > 40 {
			t.Fatalf("%d refreshes, up to %d a minute", total, most)
		}
		l.shelf.setDelay(time.Second)
		for most = 0; most == 0; {
			l.sleep(time.Minute)
			most = l.Stats().Fetching
		}
		if most > 4 {
			t.Fatalf("%d refreshes at once", most)
		}
	})
}

func TestHandshakesComeBeforeRefreshes(t *testing.T) {
	t.Parallel()
	run(t, func(o *Options) { o.Fetches = 2; o.TTL = time.Hour }, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "*.example")
		l.shelf.setAll(gives(issued))
		for i := range 500 {
			l.serves(fmt.Sprintf("x%d.example", i), issued, Miss)
		}
		l.shelf.setDelay(time.Second)
		l.sleep(time.Hour) // 500 are due in 6 minutes, one a second
		if stats := l.Stats(); stats.Fetching != 1 {
			t.Fatalf("%d under way", stats.Fetching)
		}
		start := time.Now()
		l.serves("new.example", issued, Miss)
		if took := time.Since(start); took > time.Second {
			t.Fatalf("a handshake waited for %s behind refreshes", took)
		}
	})
}

// The wall clock decides when a certificate expires, and nothing else: F40.
func TestClockJump(t *testing.T) {
	var k clock
	k.start = time.Now()
	first := k.now()
	k.distance.Add(int64(48 * time.Hour)) // the wall jumps
	jumped := k.now()
	if jumped.mono-first.mono > int64(time.Second) {
		t.Fatal("a waiting period moved")
	}
	h := held{notAfter: time.Now().Add(day).Unix()}
	if h.expired(first) || !h.expired(jumped) {
		t.Fatal("expiry does not follow the wall clock")
	}
}

func TestClockIsMeasuredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := clock{start: time.Now()}
		k.now()
		k.distance.Add(int64(48 * time.Hour))
		time.Sleep(1100 * time.Millisecond)
		if off := time.Since(time.Unix(0, k.now().wall)); off != 0 {
			t.Fatalf("off by %s", off)
		}
	})
}

func TestRefreshThatMayNotBeKept(t *testing.T) {
	run(t, func(o *Options) { o.TTL = time.Hour }, func(t *testing.T, l *lab) {
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
		l.shelf.set("a.example", fresh(store.Freshness{NoStore: true}, issued))
		l.sleep(70 * time.Minute)
		l.serves("a.example", issued, Miss)
		if entries := l.Stats().Entries; entries != 0 {
			t.Fatalf("%d entries", entries)
		}
	})
}

func TestOneOfTwoPairsExpires(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		short := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, NotAfter: time.Now().Add(time.Hour)})
		long := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, RSA: 2048})
		l.shelf.set("a.example", gives(short, long))
		l.serves("a.example", short, Miss)
		l.shelf.set("a.example", failing(errDown))
		l.sleep(time.Hour)
		leaf, _, err := l.get("a.example")
		if err != nil || string(leaf) != string(long.Leaf.Raw) {
			t.Fatalf("the pair that is still good is not served: %v", err)
		}
		if errors.Is(err, errDown) {
			t.Fatal(err)
		}
	})
}
