package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

func TestFetchedOnceThenServed(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
		for range 20 {
			l.serves("a.example", issued, Hit)
		}
		l.asked("a.example", 1)
		if stats := l.Stats(); stats.Entries != 1 || stats.Hits != 20 || stats.Misses != 1 || stats.HotEntries != 1 {
			t.Fatalf("stats %+v", stats)
		}
	})
}

func TestThousandGetsOfOneColdNameAreOneFetch(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.stock("a.example")
		l.shelf.setDelay(time.Second)
		var served atomic.Int32
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() {
				if _, source, err := l.get("a.example"); err == nil && source == Miss {
					served.Add(1)
				}
			})
		}
		group.Wait()
		l.asked("", 1)
		if served.Load() != 1000 {
			t.Fatalf("%d of 1000 served", served.Load())
		}
		if stats := l.Stats(); stats.Misses != 1 || stats.Coalesced != 999 {
			t.Fatalf("misses %d, coalesced %d", stats.Misses, stats.Coalesced)
		}
	})
}

func TestFetchOutlivesItsClient(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.stock("a.example")
		l.shelf.setDelay(2 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := l.Get(ctx, Query{Name: "a.example"})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		l.sleep(2 * time.Second)
		l.serves("a.example", issued, Hit)
		l.asked("", 1)
	})
}

func TestNoIsRemembered(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.refuses("a.example", store.ErrUnknown)
		l.refuses("a.example", store.ErrUnknown)
		l.asked("a.example", 1)
		issued := l.stock("a.example")
		l.sleep(29 * time.Second)
		l.refuses("a.example", store.ErrUnknown)
		l.sleep(2 * time.Second)
		l.serves("a.example", issued, Miss)
	})
}

func TestFailureIsRememberedShortlyAndNeverAsNo(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.shelf.set("a.example", failing(errDown))
		start := time.Now()
		for range 3600 {
			_, _, err := l.get("a.example")
			if !errors.Is(err, errDown) || errors.Is(err, store.ErrUnknown) {
				t.Fatalf("got %v", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		// 0, 1, 3, 7, 15, 31, 63 s, then every 60 s.
		if got := l.shelf.count(""); got != 11 {
			t.Fatalf("asked %d times in %s", got, time.Since(start))
		}
		issued := l.stock("a.example")
		l.sleep(time.Minute)
		l.serves("a.example", issued, Miss)
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.shelf.set("a.example", failing(&store.Failure{Err: errDown, RetryAfter: 40 * time.Second, Exempt: true}))
		l.refuses("a.example", errDown)
		l.sleep(39 * time.Second)
		l.refuses("a.example", errDown)
		l.asked("", 1)
		l.sleep(2 * time.Second)
		l.refuses("a.example", errDown)
		l.asked("", 2)
	})
}

func TestWhatABreakerCutOffIsNotRemembered(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.shelf.set("a.example", failing(&store.Failure{Err: errDown, CutOff: true, RetryAfter: 30 * time.Second}))
		l.refuses("a.example", errDown)
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
	})
}

func TestNameOfAStoreThatHangsTimesOut(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.shelf.setDelay(time.Hour)
		start := time.Now()
		l.refuses("a.example", context.DeadlineExceeded)
		if took := time.Since(start); took != 5*time.Second {
			t.Fatalf("took %s", took)
		}
	})
}

// A store that hangs and a flood of unknown names: known names are served at once, a new client's name comes next, and
// what timed out is remembered as nothing.
func TestHungStoreAndFloodWhileKnownNamesAreServed(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		known := l.stock("known.example")
		l.serves("known.example", known, Miss)
		l.shelf.setAll(func(request store.Request) (*store.Bundle, error) {
			time.Sleep(2 * time.Second)
			return nil, errDown
		})
		var flood sync.WaitGroup
		for i := range 5000 {
			flood.Go(func() {
				_, err := l.Get(context.Background(), Query{Name: fmt.Sprintf("x%d.example", i), Client: netip.MustParseAddr("198.51.100.7")})
				if err == nil || errors.Is(err, store.ErrUnknown) {
					t.Errorf("x%d.example: got %v", i, err)
				}
			})
		}
		synctest.Wait()
		if stats := l.Stats(); stats.Fetching != 64 || stats.Queued != 5000-64 {
			t.Fatalf("%d under way, %d queued", stats.Fetching, stats.Queued)
		}
		start := time.Now()
		l.serves("known.example", known, Hit)
		if time.Since(start) != 0 {
			t.Fatalf("a known name waited for %s", time.Since(start))
		}
		l.refuses("newcomer.example", errDown) // not behind the flood: the store's 2 s twice
		if took := time.Since(start); took > 4*time.Second {
			t.Fatalf("the newcomer waited for %s", took)
		}
		flood.Wait()
		if stats := l.Stats(); stats.Queued != 0 || stats.Negative != 0 {
			t.Fatalf("%d queued, %d remembered as no", stats.Queued, stats.Negative)
		}
		if asked := l.shelf.count(""); asked > 64*4+1 {
			t.Fatalf("asked %d times", asked)
		}
		l.shelf.setAll(nil)
		l.sleep(2 * time.Second)
	})
}

func TestNoStoreIsForThoseWhoWait(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "a.example")
		l.shelf.set("a.example", fresh(store.Freshness{NoStore: true}, issued))
		l.shelf.setDelay(time.Second)
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() { l.serves("a.example", issued, Miss) })
		}
		group.Wait()
		l.asked("", 1)
		l.serves("a.example", issued, Miss)
		l.asked("", 2)
		if stats := l.Stats(); stats.Entries != 0 || stats.Bytes != 0 {
			t.Fatalf("stats %+v", stats)
		}
	})
}

func TestUnfitCertificates(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		for name, options := range map[string]certtest.Options{
			"wrong.example":   {Names: []string{"other.example"}},
			"expired.example": {Names: []string{"expired.example"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)},
		} {
			l.shelf.set(name, gives(l.ca.IssueWith(t, options)))
			if _, _, err := l.get(name); err == nil || errors.Is(err, store.ErrUnknown) {
				t.Errorf("%s: got %v", name, err)
			}
			l.logged(1, `"level":"warn"`, name, "shelf", "reason")
		}
		good := l.ca.Issue(t, "half.example")
		l.shelf.set("half.example", gives(l.ca.IssueWith(t, certtest.Options{Names: []string{"no.example"}, RSA: 2048}), good))
		l.serves("half.example", good, Miss)
		l.logged(1, "half.example", "one of several certificates refused", "no.example")
	})
}

func TestPairsByWhatTheClientCanUse(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		rsa := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, RSA: 2048})
		ecdsa := l.ca.Issue(t, "a.example")
		l.shelf.set("a.example", gives(rsa, ecdsa))
		l.serves("a.example", ecdsa, Miss)
		hello := &tls.ClientHelloInfo{
			ServerName: "a.example", SupportedVersions: []uint16{tls.VersionTLS13}, SupportedCurves: []tls.CurveID{tls.X25519},
			SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256},
		}
		got, err := l.Get(context.Background(), Query{Name: "a.example", Hello: hello})
		if err != nil || string(got.Certificate.Certificate[0]) != string(rsa.Leaf.Raw) {
			t.Fatalf("an RSA-only client got something else (%v)", err)
		}
		hello.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256}
		got, err = l.Get(context.Background(), Query{Name: "a.example", Hello: hello})
		if err != nil || string(got.Certificate.Certificate[0]) != string(ecdsa.Leaf.Raw) {
			t.Fatalf("a client that can use both did not get ECDSA (%v)", err)
		}
	})
}

func TestPrefetch(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.refuses("a.example", store.ErrUnknown)
		issued := l.stock("a.example")
		check := func(name, want string) {
			t.Helper()
			if result, reason := l.Prefetch(context.Background(), name); result != want {
				t.Fatalf("%s: %s (%s), want %s", name, result, reason, want)
			}
		}
		check("a.example", "fetched") // although a no is remembered
		check("a.example", "cached")
		check("b.example", "unknown")
		l.shelf.set("c.example", failing(errDown))
		check("c.example", "failed")
		if hot := l.Stats().HotEntries; hot != 0 {
			t.Fatalf("%d parsed for a prefetch", hot)
		}
		l.serves("a.example", issued, Hit)
		l.asked("a.example", 2)
	})
}

func TestRequestCarriesTheHello(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.stock("a.example")
		hello := &tls.ClientHelloInfo{SignatureSchemes: []tls.SignatureScheme{tls.Ed25519}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}, SupportedVersions: []uint16{tls.VersionTLS13}}
		if _, err := l.Get(context.Background(), Query{Name: "a.example", Hello: hello}); err != nil {
			t.Fatal(err)
		}
		if request := l.shelf.last(); len(request.SignatureSchemes) != 1 || len(request.CipherSuites) != 1 {
			t.Fatalf("request %+v", request)
		}
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	run(t, func(o *Options) { o.Fetches = 1 }, func(t *testing.T, l *lab) {
		l.shelf.setDelay(time.Hour)
		var group sync.WaitGroup
		for i := range 3 {
			group.Go(func() {
				if _, _, err := l.get(fmt.Sprintf("x%d.example", i)); err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		l.Close()
		group.Wait()
	})
}

// RFC 5280 has certificates that never expire end in the year 9999, which nanoseconds in 64 bits don't reach.
func TestCertificateWithoutEnd(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)})
		l.shelf.set("a.example", gives(issued))
		l.serves("a.example", issued, Miss)
		l.serves("a.example", issued, Hit)
		info, ok := l.Show("a.example")
		if !ok || info.NotAfter.Year() != 9999 || info.RefetchAt.Before(time.Now()) {
			t.Fatalf("%v, %+v", ok, info)
		}
		l.sleep(365 * 24 * time.Hour)
		l.serves("a.example", issued, Hit)
	})
}
