package cache

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache/disk"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

// watched is a memory whose calls a test looks in on: on, if it is set, is called after a Get, and before a Put and a
// Delete, with the key and what is done. blind has Get find nothing, as when the disk can't be read.
type watched struct {
	*memory
	mu    sync.Mutex
	on    func(what, key string)
	blind bool
}

func (w *watched) set(on func(what, key string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = on
}

func (w *watched) setBlind(blind bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blind = blind
}

func (w *watched) saw(what, key string) (blind bool) {
	w.mu.Lock()
	on, blind := w.on, w.blind
	w.mu.Unlock()
	if on != nil {
		on(what, key)
	}
	return blind
}

func (w *watched) Get(ctx context.Context, key string) (disk.Record, bool, error) {
	record, there, err := w.memory.Get(ctx, key)
	if w.saw("get", key) {
		return disk.Record{}, false, nil
	}
	return record, there, err
}

func (w *watched) Put(record disk.Record) {
	w.saw("put", record.Key)
	w.memory.Put(record)
}

func (w *watched) Delete(keys ...string) (all bool) {
	for _, key := range keys {
		w.saw("delete", key)
	}
	return w.memory.Delete(keys...)
}

// runWatched tests with a disk that is looked in on, when what it has has been taken into memory.
func runWatched(t *testing.T, edit func(*Options), test func(t *testing.T, l *lab, w *watched)) {
	t.Helper()
	var w *watched
	runDisk(t, func(o *Options) {
		w = &watched{memory: o.Disk.(*memory)}
		o.Disk = w
		if edit != nil {
			edit(o)
		}
	}, func(t *testing.T, l *lab, _ *memory, _ func()) {
		l.sleep(time.Second)
		test(t, l, w)
	})
}

// crowdOut has a key make room, as if memory were full.
func (l *lab) crowdOut(key string) {
	l.mu.Lock()
	defer l.unlock()
	if found, _ := l.index.find(key); found != nil {
		l.remove(found)
	}
}

// flushes are the ways to flush a.example, whose certificate is given.
var flushes = map[string]func(l *lab, of certtest.Issued) (flushed, pinned []string){
	"name": func(l *lab, _ certtest.Issued) (flushed, pinned []string) { return l.Flush("a.example") },
	"pattern": func(l *lab, _ certtest.Issued) (flushed, pinned []string) {
		pattern, _ := sni.ParsePattern("*.example")
		return l.FlushPattern(pattern)
	},
	"fingerprint": func(l *lab, of certtest.Issued) (flushed, pinned []string) {
		return l.FlushFingerprint(fingerprintOf(of))
	},
	"all": func(l *lab, _ certtest.Issued) (flushed, pinned []string) { return l.FlushAll() },
}

// Who read the disk before a flush took a certificate off it does not bring it back.
func TestReadBeforeAFlush(t *testing.T) {
	runWatched(t, nil, func(t *testing.T, l *lab, w *watched) {
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
		l.crowdOut("a.example")
		l.shelf.setAll(failing(errDown))
		read := make(chan struct{})
		w.set(func(what, _ string) {
			if what == "delete" {
				w.set(func(string, string) { w.set(nil); close(read) })
				go l.loadKey("a.example") // for a handshake, on another processor
				<-read
			}
		})
		if flushed, _ := l.FlushFingerprint(fingerprintOf(issued)); !slices.Equal(flushed, []string{"a.example"}) {
			t.Errorf("flushed %q", flushed)
		}
		synctest.Wait()
		l.refuses("a.example", errDown)
	})
}

// What is cached while a flush looks at the disk, and makes room before the flush looks at memory, is taken too.
func TestFlushTakesWhatMakesRoomMeanwhile(t *testing.T) {
	for kind, flush := range flushes {
		t.Run(kind, func(t *testing.T) {
			permission := &forgetting{leave: leave{known: map[string]bool{}}}
			runDisk(t, func(o *Options) { o.Permission = permission }, func(t *testing.T, l *lab, _ *memory, _ func()) {
				l.sleep(time.Second)
				issued := l.stock("a.example")
				permission.before = func() {
					l.serves("a.example", issued, Miss)
					l.crowdOut("a.example")
				}
				flush(l, issued)
				l.shelf.setAll(failing(errDown))
				l.refuses("a.example", errDown)
			})
		})
	}
}

// forgetting calls before, once, before it forgets anything: that is in the middle of a flush.
type forgetting struct {
	leave
	before func()
}

func (f *forgetting) ForgetFunc(takes func(string) bool) []string {
	if before := f.before; before != nil {
		f.before = nil
		before()
	}
	return f.leave.ForgetFunc(takes)
}

// What is taken from the disk while a flush goes through memory does not stay there.
func TestFlushTakesWhatIsLoadedMeanwhile(t *testing.T) {
	for kind, flush := range flushes {
		if kind == "name" {
			continue // which is taken into memory first
		}
		t.Run(kind, func(t *testing.T) {
			runWatched(t, nil, func(t *testing.T, l *lab, w *watched) {
				issued := l.ca.Issue(t, "*.example")
				for _, name := range []string{"a.example", "b.example"} {
					l.shelf.set(name, gives(issued))
					l.serves(name, issued, Miss)
				}
				l.crowdOut("a.example")
				l.shelf.setAll(failing(errDown))
				w.set(func(what, key string) {
					if what == "delete" && key == "b.example" {
						w.set(nil)
						l.mu.Unlock() // as between two batches
						l.loadKey("a.example")
						l.mu.Lock()
					}
				})
				flushed, _ := flush(l, issued)
				if !slices.Equal(flushed, []string{"a.example", "b.example"}) {
					t.Errorf("flushed %q", flushed)
				}
				l.refuses("a.example", errDown)
			})
		})
	}
}

// A name that the disk could not be read for when it was flushed does not come back when it can be again.
func TestFlushTakesWhatCanNotBeRead(t *testing.T) {
	runWatched(t, nil, func(t *testing.T, l *lab, w *watched) {
		l.serves("a.example", l.stock("a.example"), Miss)
		l.crowdOut("a.example")
		l.shelf.setAll(failing(errDown))
		w.setBlind(true)
		l.Flush("a.example")
		w.setBlind(false)
		l.refuses("a.example", errDown)
	})
}

// An alias that was flushed, or that the store said no to, comes back from the disk neither with its owner nor by itself.
func TestErasedAliasStaysAway(t *testing.T) {
	for name, erase := range map[string]func(l *lab, shared certtest.Issued){
		"flushed": func(l *lab, _ certtest.Issued) { l.Flush("alias.example") },
		"denied": func(l *lab, shared certtest.Issued) {
			l.serves("alias.example", shared, Hit)
			l.sleep(time.Second)
			l.refuses("alias.example", store.ErrUnknown)
			l.sleep(l.options.NegativeTTL + sweepEvery) // the no is forgotten
		},
	} {
		for _, restarted := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", restarted", false: ", evicted"}[restarted], func(t *testing.T) {
				runDisk(t, nil, func(t *testing.T, l *lab, _ *memory, restart func()) {
					shared := l.ca.Issue(t, "a.example", "alias.example")
					l.shelf.set("a.example", gives(shared))
					l.serves("a.example", shared, Miss)
					erase(l, shared)
					if l.shelf.setAll(failing(errDown)); restarted {
						restart()
					} else {
						l.crowdOut("a.example")
					}
					l.serves("a.example", shared, Hit)
					l.refuses("alias.example", errDown)
				})
			})
		}
	}
}

// A wildcard that the disk alone has is flushed by a name that it answers for.
func TestFlushTakesTheWildcardOnDisk(t *testing.T) {
	runDisk(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab, _ *memory, _ func()) {
		issued := l.ca.Issue(t, "a.example", "*.w.example")
		l.shelf.set("a.example", gives(issued))
		l.serves("a.example", issued, Miss)
		l.shelf.setAll(failing(errDown))
		l.crowdOut("a.example")
		if flushed, _ := l.Flush("b.w.example"); !slices.Equal(flushed, []string{"*.w.example"}) {
			t.Errorf("flushed %q", flushed)
		}
		l.refuses("b.w.example", errDown)
		l.serves("a.example", issued, Hit)
	})
}

// While other names are taken off the disk all the time, one that is on it is found there.
func TestErasuresOfOthersStopNoLoad(t *testing.T) {
	runWatched(t, nil, func(t *testing.T, l *lab, w *watched) {
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
		l.crowdOut("a.example")
		l.shelf.setAll(failing(errDown))
		other := 0
		for other < 1000 && l.erasures(nameOf(other)) == l.erasures("a.example") {
			other++
		}
		w.set(func(what, _ string) {
			if what == "get" {
				l.mu.Lock()
				defer l.unlock()
				l.erase([]string{nameOf(other)})
			}
		})
		l.serves("a.example", issued, Hit)
	})
}

// overflowing is a disk that erases everything when very much is to be erased, as disk.Tier does.
type overflowing struct {
	*memory
	erased int
}

func (o *overflowing) Delete(keys ...string) (all bool) {
	if o.erased += len(keys); o.erased >= 5_000 {
		o.DeleteAll()
		o.erased, all = 0, true
	}
	o.memory.Delete(keys...)
	return all
}

// What is pinned stays on the disk however much is flushed.
func TestFlushOfVeryManySparesPins(t *testing.T) {
	t.Parallel()
	pattern, _ := sni.ParsePattern("*.example")
	for kind, flush := range map[string]func(l *lab) (flushed, pinned []string){
		"pattern": func(l *lab) (flushed, pinned []string) { return l.FlushPattern(pattern) },
		"all":     func(l *lab) (flushed, pinned []string) { return l.FlushAll() },
	} {
		t.Run(kind, func(t *testing.T) {
			runDisk(t, func(o *Options) {
				o.Disk, o.Log = &overflowing{memory: o.Disk.(*memory)}, zerolog.Nop()
			}, func(t *testing.T, l *lab, m *memory, restart func()) {
				pinned := l.ca.Issue(t, "pinned.by.hand.example")
				if err := l.Pin("pinned.by.hand.example", []store.Pair{pinned.Pair}); err != nil {
					t.Fatal(err)
				}
				const count = 12_000
				l.stockMany(store.Bundle{Store: "shelf"}, count, 0)
				if flushed, _ := flush(l); len(flushed) != count {
					t.Errorf("flushed %d of %d names", len(flushed), count)
				}
				if keys := m.keys(); !slices.Equal(keys, []string{"pinned.by.hand.example"}) {
					t.Errorf("on disk: %d keys, %q", len(keys), keys[:min(len(keys), 3)])
				}
				restart()
				l.serves("pinned.by.hand.example", pinned, Pinned)
			})
		})
	}
}

// A flush of very many goes on in parts while clients are served: each gets what was held, or what the store says now, and
// in the end nothing is left. Run with -race.
func TestFlushAllWhileServed(t *testing.T) {
	runDisk(t, func(o *Options) { o.Log = zerolog.Nop() }, func(t *testing.T, l *lab, m *memory, _ func()) {
		const count = 5000
		l.stockMany(store.Bundle{Store: "shelf"}, count, 0)
		l.shelf.setAll(failing(errDown))
		done := make(chan struct{})
		var clients sync.WaitGroup
		for worker := range 4 {
			clients.Go(func() {
				for i := worker; ; i += 7 {
					select {
					case <-done:
						return
					default:
					}
					if _, source, err := l.get(nameOf(i % count)); (err == nil) != (source == Hit) {
						t.Errorf("served from %s, error %v", source, err)
						return
					}
				}
			})
		}
		flushed, _ := l.FlushAll()
		close(done)
		clients.Wait()
		synctest.Wait()
		stats := l.Stats()
		if stats.Entries != 0 || stats.Pairs != 0 || len(m.keys()) != 0 || len(flushed) != count {
			t.Fatalf("flushed %d of %d, %d on disk, %+v", len(flushed), count, len(m.keys()), stats)
		}
		for i := range count {
			if _, _, err := l.get(nameOf(i)); err == nil {
				t.Fatalf("%s is still served", nameOf(i))
			}
		}
	})
}
