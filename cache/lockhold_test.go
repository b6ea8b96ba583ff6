package cache

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache/disk"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

// realLab is a lab outside of a bubble, in which a mutex would keep time from passing.
func realLab(t *testing.T, options Options) *lab {
	t.Helper()
	l := &lab{t: t, shelf: &shelf{}, ca: certtest.NewCA(t), log: &record{}}
	options.Store, options.AliasRoots, options.Log = l.shelf, l.ca.Pool(), zerolog.New(l.log)
	l.Cache = New(options)
	t.Cleanup(l.Close)
	return l
}

// within fails the test unless something is so within some seconds.
func within(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 5 s: %s", what)
		}
	}
}

// A hit that finds that its name is to be asked for again waits for no lock, whoever has it and however long. It is asked
// for soon all the same.
func TestHitWaitsForNoLock(t *testing.T) {
	for cause, test := range map[string]struct {
		options Options
		before  func(*lab)
		source  Source
	}{
		"after a change": {before: func(l *lab) { l.changed(store.Change{All: true}) }, source: Stale},
		"routing is due": {options: Options{RouteTTL: time.Nanosecond}, source: Hit},
	} {
		t.Run(cause, func(t *testing.T) {
			l := realLab(t, test.options)
			issued := l.ca.Issue(t, "a.example")
			l.shelf.set("a.example", routes(store.Routing{Servers: []string{"192.0.2.7:1"}}, issued))
			l.serves("a.example", issued, Miss)
			if test.before != nil {
				test.before(l)
			}
			l.mu.Lock()
			served := make(chan Answer, 1)
			go func() {
				got, _ := l.Get(context.Background(), Query{Name: "a.example"})
				served <- got
			}()
			select {
			case got := <-served:
				l.mu.Unlock()
				if got.Source != test.source {
					t.Errorf("served from %s, want %s", got.Source, test.source)
				}
			case <-time.After(2 * time.Second):
				l.mu.Unlock()
				<-served
				t.Fatal("the hit waited for the lock")
			}
			within(t, "asked for again", func() bool { return l.shelf.count("a.example") == 2 })
		})
	}
}

// Hits of more names than are noted while somebody has the lock are served all the same.
func TestHitsOfVeryManyWaitForNoLock(t *testing.T) {
	l := realLab(t, Options{Aliases: AliasesOff})
	count := 2 * cap(l.used)
	issued := l.ca.Issue(t, "*.example")
	l.shelf.setAll(gives(issued))
	for i := range count {
		l.serves(nameOf(i), issued, Miss)
	}
	l.changed(store.Change{All: true})
	asked := l.shelf.count("")
	done := make(chan struct{})
	l.mu.Lock()
	go func() {
		defer close(done)
		for i := range count {
			if _, _, err := l.get(nameOf(i)); err != nil {
				t.Errorf("%s: %v", nameOf(i), err)
			}
		}
	}()
	select {
	case <-done:
		l.mu.Unlock()
	case <-time.After(5 * time.Second):
		l.mu.Unlock()
		<-done
		t.Fatal("hits waited for the lock")
	}
	within(t, "those that were noted are asked for again", func() bool { return l.shelf.count("") >= asked+cap(l.used)/2 })
}

// What is done with very many names is done in parts: others get the lock before it is over.
func TestLockIsLetGoOfBetweenParts(t *testing.T) {
	const count = 2048
	pattern, _ := sni.ParsePattern("*.example")
	for name, work := range map[string]struct {
		call string // of the disk, once a name
		do   func(*lab)
	}{
		"flush of all":        {"delete", func(l *lab) { l.FlushAll() }},
		"flush of a pattern":  {"delete", func(l *lab) { l.FlushPattern(pattern) }},
		"change of a pattern": {"put", func(l *lab) { l.changed(store.Change{Names: []sni.Pattern{pattern}}) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := &watched{memory: &memory{records: map[string]disk.Record{}}}
			l := realLab(t, Options{Disk: w})
			l.shelf.setAll(failing(errDown))
			l.stockMany(store.Bundle{Store: "shelf"}, count, 0)
			var handled atomic.Int64
			got := make(chan int64, 1)
			w.set(func(what, _ string) {
				if what != work.call {
					return
				}
				at := handled.Add(1)
				if at == 1 {
					go func() {
						l.mu.Lock()
						got <- handled.Load()
						l.unlock()
					}()
				}
				if at%16 == 0 {
					time.Sleep(50 * time.Microsecond) // so that one who waits does so for long, as locks see it
				}
			})
			work.do(l)
			w.set(nil)
			if after := <-got; after >= count {
				t.Fatalf("somebody else had the lock after all %d names", after)
			}
		})
	}
}
