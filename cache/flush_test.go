package cache

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hellogate/sni"
	"hellogate/store"
)

func TestFlushRacesAFetch(t *testing.T) {
	pattern, err := sni.ParsePattern("*.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, flush := range map[string]func(*Cache){
		"name":        func(c *Cache) { c.Flush("a.example") },
		"pattern":     func(c *Cache) { c.FlushPattern(pattern) },
		"all":         func(c *Cache) { c.FlushAll() },
		"fingerprint": func(c *Cache) { c.FlushFingerprint([32]byte{1}) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, l *lab) {
				before := l.stock("a.example")
				l.shelf.setDelay(time.Second)
				var early, late sync.WaitGroup
				early.Go(func() {
					leaf, _, err := l.get("a.example")
					if err != nil || string(leaf) != string(before.Leaf.Raw) {
						t.Errorf("who waited before the flush did not get its answer: %v", err)
					}
				})
				synctest.Wait()
				after := l.stock("a.example")
				flush(l.Cache)
				time.Sleep(500 * time.Millisecond)
				late.Go(func() { l.serves("a.example", after, Miss) })
				early.Wait()
				synctest.Wait()
				if entries := l.Stats().Entries; entries != 0 {
					t.Errorf("an answer from before the flush was cached")
				}
				late.Wait()
				l.serves("a.example", after, Hit)
				l.asked("a.example", 2)
			})
		})
	}
}

func TestFlushSaysWhich(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
		l.refuses("no.example", store.ErrUnknown)
		l.shelf.set("bad.example", failing(errDown))
		l.refuses("bad.example", errDown)
		got, _ := l.Flush("bad.example", "no.example", "a.example", "never.example")
		if want := []string{"a.example", "bad.example", "no.example"}; !slices.Equal(got, want) {
			t.Fatalf("flushed %v", got)
		}
		l.serves("a.example", issued, Miss)
		l.refuses("no.example", store.ErrUnknown)
		l.asked("no.example", 2)
	})
}

func TestFlushPattern(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		for _, name := range []string{"a.x.example", "b.x.example", "a.b.x.example", "x.example", "a.y.example"} {
			l.serves(name, l.stock(name), Miss)
		}
		pattern, err := sni.ParsePattern("*.x.example")
		if err != nil {
			t.Fatal(err)
		}
		if flushed, _ := l.FlushPattern(pattern); strings.Join(flushed, " ") != "a.x.example b.x.example" {
			t.Fatalf("flushed %s", flushed)
		}
	})
}

func TestFlushByFingerprint(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		leaked := l.ca.Issue(t, "a.example", "b.example", "c.example")
		l.shelf.set("a.example", gives(leaked))
		l.shelf.set("b.example", gives(leaked))
		l.serves("a.example", leaked, Miss) // c.example is its alias
		l.serves("b.example", leaked, Hit)
		l.sleep(time.Second) // b.example is fetched for itself
		other := l.stock("d.example")
		l.serves("d.example", other, Miss)
		if flushed, _ := l.FlushFingerprint(sha256.Sum256(leaked.Leaf.Raw)); strings.Join(flushed, " ") != "a.example b.example c.example" {
			t.Fatalf("flushed %s", flushed)
		}
		l.serves("d.example", other, Hit)
	})
}

func TestFlushHasSharersAskedForAgain(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		shared := l.ca.Issue(t, "*.example")
		for _, name := range []string{"a.example", "b.example"} {
			l.shelf.set(name, gives(shared))
			l.serves(name, shared, Miss)
		}
		own := l.stock("b.example")
		if got, _ := l.Flush("a.example"); !slices.Equal(got, []string{"a.example"}) {
			t.Fatalf("flushed %v", got)
		}
		l.sleep(time.Second)
		l.serves("b.example", own, Hit)
		l.asked("b.example", 2)
	})
}

// F44: a flush loop while names are served. Run with -race.
func TestFlushDuringHandshakes(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "*.example")
		l.shelf.setAll(gives(issued))
		l.shelf.setDelay(time.Millisecond)
		stop := make(chan struct{})
		var group sync.WaitGroup
		for worker := range 8 {
			group.Go(func() {
				for i := range 400 {
					if _, _, err := l.get(fmt.Sprintf("x%d.example", (worker+i)%16)); err != nil {
						t.Errorf("refused: %v", err)
					}
				}
			})
		}
		var flusher sync.WaitGroup
		flusher.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
				}
				l.Flush(fmt.Sprintf("x%d.example", i%16))
				if i%50 == 0 {
					l.FlushAll()
				}
			}
		})
		group.Wait()
		close(stop)
		flusher.Wait()
		l.sleep(time.Second)
		l.FlushAll()
		if stats := l.Stats(); stats.Bytes != 0 || stats.Pairs != 0 {
			t.Fatalf("stats %+v", stats)
		}
	})
}
