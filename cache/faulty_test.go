package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

var errDisk = errors.New("input/output error")

// faulty is a disk that can't be read, or hangs when it is, when a test says so. Nothing is taken from it ahead.
type faulty struct {
	shelved
	mu     sync.Mutex
	failed bool
	hangs  bool
	onKeys func() error // what keys fail with; nil: they don't
}

func (f *faulty) set(failed, hangs bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed, f.hangs = failed, hangs
}

func (f *faulty) trouble(ctx context.Context) error {
	f.mu.Lock()
	failed, hangs := f.failed, f.hangs
	f.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if failed {
		return errDisk
	}
	return nil
}

func (f *faulty) Get(ctx context.Context, key string) (disk.Record, bool, error) {
	if err := f.trouble(ctx); err != nil {
		return disk.Record{}, false, err
	}
	return f.memory.Get(ctx, key)
}

func (f *faulty) Tagged(ctx context.Context, tag [32]byte) ([]string, error) {
	if err := f.trouble(ctx); err != nil {
		return nil, err
	}
	return f.memory.Tagged(ctx, tag)
}

// Keys fails after the first key.
func (f *faulty) Keys(ctx context.Context, after string, most int) ([]string, error) {
	if err := f.trouble(ctx); err != nil {
		keys, _ := f.shelved.Keys(ctx, after, min(most, 1))
		return keys, err
	}
	f.mu.Lock()
	onKeys := f.onKeys
	f.mu.Unlock()
	if onKeys != nil {
		return nil, onKeys()
	}
	return f.shelved.Keys(ctx, after, most)
}

// runFaulty tests with a disk that may be in trouble.
func runFaulty(t *testing.T, edit func(*Options), test func(t *testing.T, l *lab, f *faulty, restart func())) {
	t.Helper()
	var f *faulty
	runDisk(t, func(o *Options) {
		f = &faulty{shelved: shelved{o.Disk.(*memory)}}
		o.Disk = f
		if edit != nil {
			edit(o)
		}
	}, func(t *testing.T, l *lab, _ *memory, restart func()) { test(t, l, f, restart) })
}

// A flush that can't look at all of the disk says so, and takes what it found.
func TestFlushSaysWhatItCouldNotLookAt(t *testing.T) {
	pattern, _ := sni.ParsePattern("*.example")
	for kind, test := range map[string]struct {
		flush   func(l *lab, of certtest.Issued) ([]string, []string, error)
		of      string   // what the error names
		flushed []string // while the disk is in trouble
	}{
		"pattern": {
			func(l *lab, _ certtest.Issued) ([]string, []string, error) { return l.Cache.FlushPattern(pattern) },
			"all names that match *.example",
			[]string{"a.example", "b.example"},
		},
		"fingerprint": {
			func(l *lab, of certtest.Issued) ([]string, []string, error) {
				return l.Cache.FlushFingerprint(fingerprintOf(of))
			},
			"the certificate ",
			[]string{"b.example"},
		},
		"name": {
			func(l *lab, _ certtest.Issued) ([]string, []string, error) {
				return l.Cache.Flush("a.example", "b.example", "c.example")
			},
			"3 names",
			[]string{"a.example", "b.example", "c.example"},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			runFaulty(t, nil, func(t *testing.T, l *lab, f *faulty, _ func()) {
				issued := l.ca.Issue(t, "*.example")
				names := []string{"a.example", "b.example", "c.example"}
				for _, name := range names {
					l.shelf.set(name, gives(issued))
					l.serves(name, issued, Miss)
				}
				l.crowdOut("a.example")
				l.crowdOut("c.example")
				f.set(true, false)
				flushed, _, err := test.flush(l, issued)
				if kind == "name" { // that the disk has them is not known
					test.flushed = []string{"b.example"}
				}
				if !errors.Is(err, errDisk) || !strings.Contains(fmt.Sprint(err), test.of) || !slices.Equal(flushed, test.flushed) {
					t.Fatalf("flushed %q, error %v", flushed, err)
				}
				f.set(false, false)
				if _, _, err := test.flush(l, issued); err != nil {
					t.Fatal(err)
				}
				l.shelf.setAll(failing(errDown))
				for _, name := range names {
					l.refuses(name, errDown)
				}
			})
		})
	}
}

// All goes from a disk that can't be read too, and what was taken from it meanwhile goes from memory.
func TestFlushAllOfADiskThatCanNotBeRead(t *testing.T) {
	runFaulty(t, nil, func(t *testing.T, l *lab, f *faulty, _ func()) {
		for _, name := range []string{"a.example", "b.example"} {
			l.serves(name, l.stock(name), Miss)
			l.crowdOut(name)
		}
		f.mu.Lock()
		f.onKeys = func() error {
			l.loadKey("b.example")
			return errDisk
		}
		f.mu.Unlock()
		if flushed, _, err := l.Cache.FlushAll(); err != nil || !slices.Equal(flushed, []string{"b.example"}) {
			t.Fatalf("flushed %q, error %v", flushed, err)
		}
		l.shelf.setAll(failing(errDown))
		l.refuses("b.example", errDown)
		if keys := f.keys(); len(keys) > 0 {
			t.Errorf("on disk: %q", keys)
		}
	})
}

// That what was flushed is on the disk still is an error.
func TestFlushThatIsNotWritten(t *testing.T) {
	runDisk(t, func(o *Options) { o.Disk = unsynced{o.Disk.(*memory)} }, func(t *testing.T, l *lab, _ *memory, _ func()) {
		l.serves("a.example", l.stock("a.example"), Miss)
		flushed, _, err := l.Cache.Flush("a.example")
		if !errors.Is(err, errDisk) || !strings.Contains(fmt.Sprint(err), "a.example") || len(flushed) != 1 {
			t.Fatalf("flushed %q, error %v", flushed, err)
		}
	})
}

type unsynced struct{ *memory }

func (unsynced) Sync(context.Context) error { return errDisk }

// What is fetched while all is flushed is on the disk after it.
func TestFlushAllKeepsWhatIsFetchedMeanwhile(t *testing.T) {
	runWatched(t, nil, func(t *testing.T, l *lab, w *watched) {
		pinned := l.ca.Issue(t, "pinned.example")
		if err := l.Pin("pinned.example", []store.Pair{pinned.Pair}); err != nil {
			t.Fatal(err)
		}
		l.serves("a.example", l.stock("a.example"), Miss)
		anew := l.ca.Issue(t, "anew.example")
		l.shelf.set("anew.example", gives(anew))
		w.set(func(what, key string) {
			if what == "delete" && key == "a.example" {
				w.set(nil)
				l.mu.Unlock() // as between two batches
				l.serves("anew.example", anew, Miss)
				l.mu.Lock()
			}
		})
		if flushed, _ := l.FlushAll(); !slices.Equal(flushed, []string{"a.example"}) {
			t.Errorf("flushed %q", flushed)
		}
		if keys := w.keys(); !slices.Equal(keys, []string{"anew.example", "pinned.example"}) {
			t.Errorf("on disk: %q", keys)
		}
	})
}

// What is pinned is on the disk at once again when so much is erased that all goes, whatever erases it.
func TestErasingVeryManySparesPins(t *testing.T) {
	runDisk(t, func(o *Options) {
		o.Disk, o.Log = &overflowing{memory: o.Disk.(*memory)}, zerolog.Nop()
	}, func(t *testing.T, l *lab, m *memory, restart func()) {
		pinned := l.ca.Issue(t, "pinned.example")
		if err := l.Pin("pinned.example", []store.Pair{pinned.Pair}); err != nil {
			t.Fatal(err)
		}
		names := make([]string, 9_000)
		for i := range names {
			names[i] = nameOf(i)
		}
		l.Flush(names...)
		record, there := m.has("pinned.example")
		if !there || !record.Keep {
			t.Error("it is not on the disk, or may be dropped")
		}
		restart()
		l.serves("pinned.example", pinned, Pinned)
	})
}

// A handshake does not wait for a disk that hangs, one for what is in memory least of all; nor does Close.
func TestDiskThatHangs(t *testing.T) {
	runFaulty(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab, f *faulty, _ func()) {
		cached, issued := l.stock("cached.example"), l.stock("a.example")
		l.serves("cached.example", cached, Miss)
		f.set(false, true)
		began := time.Now()
		l.serves("cached.example", cached, Hit)
		if took := time.Since(began); took > 0 {
			t.Errorf("a hit took %s", took)
		}
		l.serves("a.example", issued, Miss)
		if took := time.Since(began); took > l.options.LookupTimeout/diskShare {
			t.Errorf("a miss took %s", took)
		}
		shared := l.ca.Issue(t, "b.example", "alias.example", "*.w.example")
		l.shelf.set("b.example", gives(shared))
		began = time.Now()
		l.serves("b.example", shared, Miss)
		if took := time.Since(began); took > 2*l.options.LookupTimeout/diskShare {
			t.Errorf("one with other names took %s", took)
		}
		go l.loadKey("c.example")
		synctest.Wait()
	})
}

// A name that the disk could not be asked for is not taken for one that it has nothing of.
func TestUnreadIsNotAbsent(t *testing.T) {
	runFaulty(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab, f *faulty, _ func()) {
		wild, own := l.ca.Issue(t, "a.example", "*.w.example"), l.ca.Issue(t, "own.w.example")
		l.shelf.set("own.w.example", gives(own))
		l.serves("own.w.example", own, Miss)
		l.shelf.set("a.example", gives(wild))
		l.serves("a.example", wild, Miss)
		l.crowdOut("own.w.example")
		f.set(true, false)
		l.serves("own.w.example", wild, Hit)
		f.set(false, false)
		l.serves("own.w.example", own, Hit)
	})
}

// What the disk may have a certificate of its own for gets no alias while it can't be asked.
func TestNoAliasOfWhatIsUnread(t *testing.T) {
	runFaulty(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab, f *faulty, _ func()) {
		own, shared := l.ca.Issue(t, "own.example"), l.ca.Issue(t, "a.example", "own.example", "*.w.example")
		l.shelf.set("own.example", gives(own))
		l.serves("own.example", own, Miss)
		l.crowdOut("own.example")
		f.set(true, false)
		l.shelf.set("a.example", gives(shared))
		l.serves("a.example", shared, Miss)
		l.serves("b.w.example", shared, Hit)
		f.set(false, false)
		l.serves("own.example", own, Hit)
	})
}

// What could not be read when it was to be taken into memory is taken when it can be.
func TestWarmUpGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failsOnce{memory: &memory{records: make(map[string]disk.Record)}, failed: true}
		l := &lab{t: t, shelf: &shelf{}, ca: certtest.NewCA(t), log: &record{}}
		options := Options{Store: l.shelf, Disk: f, Log: zerolog.New(l.log)}
		l.Cache = New(options)
		l.sleep(time.Second)
		l.serves("a.example", l.stock("a.example"), Miss)
		l.Close()
		f.failed = false
		l.Cache = New(options)
		defer l.Close()
		l.sleep(2 * warmRetry)
		if stats := l.Stats(); stats.Loaded != 1 {
			t.Fatalf("%+v", stats)
		}
		l.logged(1, "pinned by hand can be read")
	})
}

// failsOnce is a disk whose keys can't be told the first time.
type failsOnce struct {
	*memory
	failed bool
}

func (f *failsOnce) Keys(ctx context.Context, after string, most int) ([]string, error) {
	if !f.failed {
		f.failed = true
		return nil, errDisk
	}
	return f.memory.Keys(ctx, after, most)
}

func (f *failsOnce) Tagged(ctx context.Context, tag [32]byte) ([]string, error) {
	if !f.failed {
		return nil, errDisk
	}
	return f.memory.Tagged(ctx, tag)
}
