package cache

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache/disk"
	"hellogate/store"
	"hellogate/store/certtest"
)

// many is how many names a test has that is about many: fewer with the race detector, which makes all of it slow.
func many() int {
	if raceEnabled || testing.Short() {
		return 10_000
	}
	return 100_000
}

// stockMany caches names with cheap certificates, spread over a time, as answers that are good for lasts.
func (l *lab) stockMany(from store.Bundle, count int, over time.Duration) {
	l.t.Helper()
	checked, err := store.Check(l.ca.Issue(l.t, "*.example").Pair, "x.example", time.Now())
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range count {
		p, err := newPair(checked)
		if err != nil {
			l.t.Fatal(err)
		}
		p.fingerprint = [32]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}
		f := &flight{key: nameOf(i), request: store.Request{Name: nameOf(i)}}
		l.mu.Lock()
		l.keep(f, nil, answer{bundle: &from, now: l.clock.now(), pairs: [2]*pair{p}})
		l.unlock()
		if i%100 == 0 {
			time.Sleep(over / time.Duration(count/100))
		}
	}
}

// What was fetched in one minute is not fetched again in one minute, however much it is.
func TestManyRefreshesAreSpread(t *testing.T) {
	t.Parallel()
	run(t, func(o *Options) { o.Aliases, o.Log = AliasesOff, zerolog.Nop() }, func(t *testing.T, l *lab) {
		count := many()
		from := store.Bundle{Store: "shelf", Validator: store.Validator{ETag: `"1"`}, Freshness: store.Freshness{Known: true, MaxAge: day}}
		l.shelf.setAll(func(store.Request) (*store.Bundle, error) {
			return &store.Bundle{Store: "shelf", NotModified: true, Freshness: from.Freshness}, nil
		})
		l.stockMany(from, count, time.Minute)
		if asked := l.shelf.count(""); asked > 0 {
			t.Fatalf("asked %d times at once", asked)
		}
		most, total := uint64(0), uint64(0)
		for range 24*60 + 5 {
			l.sleep(time.Minute)
			refreshes := l.Stats().Refreshes
			most, total = max(most, refreshes-total), refreshes
		}
		if total < uint64(count) || most > uint64(count)/50 {
			t.Fatalf("%d refreshes of %d names in a day, up to %d a minute", total, count, most)
		}
	})
}

// shelved is a disk that nothing is taken from ahead.
type shelved struct{ *memory }

func (s shelved) Keys(ctx context.Context, after string, most int) ([]string, error) {
	if most == warmBatch {
		return nil, nil
	}
	return s.memory.Keys(ctx, after, most)
}

// After a restart all names of many customers are asked for at once. With a disk tier the store is asked for none; the
// bound on unknown names delays none of them; and one who asks for names that nobody knows meanwhile is stopped.
func TestManyAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := shelved{&memory{records: make(map[string]disk.Record)}}
		l := &lab{t: t, shelf: &shelf{}, ca: certtest.NewCA(t)}
		options := Options{
			Store: l.shelf, Aliases: AliasesOff, Disk: m, Log: zerolog.Nop(),
			Lookups: Lookups{Rate: 500, Burst: 5000, PerClient: 20, ClientBurst: 200},
		}
		l.Cache = New(options)
		count := many()
		l.stockMany(store.Bundle{Store: "shelf"}, count, time.Minute)
		l.Close()
		l.Cache = New(options)
		defer l.Close()
		limited := 0
		began := time.Now()
		for i := range count {
			client := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			if got, err := l.Get(context.Background(), Query{Name: nameOf(i), Client: client}); err != nil || got.Source != Hit {
				t.Fatalf("%s: %s, %v", nameOf(i), got.Source, err)
			}
			if i%20 == 0 {
				_, err := l.Get(context.Background(), Query{Name: fmt.Sprintf("n%d.nobody.example", i), Client: netip.MustParseAddr("192.0.2.66")})
				if errors.Is(err, ErrLimited) {
					limited++
				}
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("somebody waited: %s", took)
		}
		if asked := l.shelf.count(""); asked != 200 || limited != count/20-200 {
			t.Errorf("the store was asked %d times, %d refused", asked, limited)
		}
		if stats := l.Stats(); stats.Entries != count || stats.Loaded != uint64(count) {
			t.Errorf("%+v", stats)
		}
	})
}

// Without a disk tier the store is asked for all of them, as fast as it answers: a yes costs nothing of the bound.
func TestManyColdAreNotLimited(t *testing.T) {
	run(t, func(o *Options) {
		o.Aliases, o.Log = AliasesOff, zerolog.Nop()
		o.Lookups = Lookups{Rate: 10, Burst: 10, PerClient: 1, ClientBurst: 1}
	}, func(t *testing.T, l *lab) {
		l.shelf.setAll(gives(l.ca.Issue(t, "*.example")))
		count := many() / 20
		for i := range count {
			if _, source, err := l.get(nameOf(i)); err != nil || source != Miss {
				t.Fatalf("%s: %s, %v", nameOf(i), source, err)
			}
		}
		l.asked("", count)
	})
}
