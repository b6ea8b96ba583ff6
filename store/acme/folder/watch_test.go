package folder

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// told collects what a Watch tells.
type told struct {
	mu    sync.Mutex
	calls int
	keys  []string
}

func (s *told) changed(keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.keys = append(s.keys, keys...)
}

// take waits until all of keys have been told, and returns all that were.
func (s *told) take(t *testing.T, keys ...string) []string {
	t.Helper()
	var all []string
	waitFor(t, "to be told of the changes", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, key := range keys {
			if !slices.Contains(s.keys, key) {
				return false
			}
		}
		all, s.keys = s.keys, nil
		return true
	})
	return all
}

// watched starts a Watch and waits until it sees.
func watched(t *testing.T, f *Folder, prefix string) *told {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	sees, first := new(told), make(chan struct{}, 1000)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		f.Watch(ctx, prefix, func(keys []string) {
			sees.changed(keys)
			first <- struct{}{}
		})
	})
	t.Cleanup(func() { cancel(); watcher.Wait() })
	<-first
	sees.mu.Lock()
	defer sees.mu.Unlock()
	if len(sees.keys) > 0 {
		t.Errorf("told at first: %q", sees.keys)
	}
	return sees
}

func TestWatch(t *testing.T) {
	f := opened(t)
	other := open(t, f.Path())
	save(t, f, "certificates/a.example/p256.pem", "1")
	save(t, f, "certificates/b.example/p256.pem", "1")
	sees := watched(t, f, "certificates")
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"another content of the same size", func() { save(t, other, "certificates/a.example/p256.pem", "2") }, []string{"certificates/a.example/p256.pem"}},
		{"a new folder", func() { save(t, other, "certificates/c.example/job.json", "") }, []string{"certificates/c.example/job.json"}},
		{"a new file", func() { save(t, other, "certificates/c.example/p256.pem", "") }, []string{"certificates/c.example/p256.pem"}},
		{"elsewhere", func() { save(t, other, "challenges/x", ""); save(t, other, "certificates/z", "") }, []string{"certificates/z"}},
		{"a file is removed", func() { _ = other.Remove(t.Context(), "certificates/z") }, []string{"certificates/z"}},
		{"a folder is removed", func() { os.RemoveAll(filepath.Join(f.Path(), "certificates/c.example")) }, []string{"certificates/c.example/job.json", "certificates/c.example/p256.pem"}},
		{"written where it is", func() {
			os.WriteFile(filepath.Join(f.Path(), "certificates/b.example/p256.pem"), []byte("123"), 0o600)
		}, []string{"certificates/b.example/p256.pem"}},
		{"all is removed", func() { os.RemoveAll(filepath.Join(f.Path(), "certificates")) }, []string{"certificates/a.example/p256.pem", "certificates/b.example/p256.pem"}},
		{"it is back", func() { save(t, other, "certificates/a.example/p256.pem", "3") }, []string{"certificates/a.example/p256.pem"}},
	}
	for _, step := range steps {
		step.do()
		got := sees.take(t, step.want...)
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, step.want) {
			t.Errorf("%s: told %q, want %q", step.name, got, step.want)
		}
	}
}

// TestWatchQuickChanges: none hides behind one that came right before it, and in the end each file is told once at least.
func TestWatchQuickChanges(t *testing.T) {
	f := opened(t)
	sees := watched(t, f, "")
	for i := range 300 {
		key := string(rune('a'+i%26)) + "/key"
		save(t, f, key, string(rune(i)))
		if i%40 == 39 {
			sees.take(t, key)
		}
	}
}

// TestWatchIsQuiet: what doesn't change is not told.
func TestWatchIsQuiet(t *testing.T) {
	f := opened(t)
	save(t, f, "a/b/c", "1")
	sees := watched(t, f, "")
	time.Sleep(20 * f.options.Poll)
	sees.mu.Lock()
	defer sees.mu.Unlock()
	if sees.calls != 1 || len(sees.keys) > 0 {
		t.Errorf("%d calls, %q", sees.calls, sees.keys)
	}
}

// TestWatchEnds at once when its context is done.
func TestWatchEnds(t *testing.T) {
	f := opened(t)
	ctx, cancel := context.WithCancel(context.Background())
	f.Watch(ctx, "", func([]string) { cancel() })
	f.Watch(ctx, "", func([]string) { t.Error("called") })
	f.Watch(context.Background(), "../x", func([]string) { t.Error("called") })
}

// TestWatchCoarseClock: a change right after one that was seen is seen, also where the folder has the same time as before;
// and a folder that had the same time twice is not read again.
func TestWatchCoarseClock(t *testing.T) {
	f := opened(t)
	coarse := time.Now().Add(-time.Hour).Truncate(time.Second)
	w := watcher{folder: f, elements: []string{"a"}, root: newBranch()}
	for _, step := range []struct{ name, want string }{{"one", "a/one"}, {"two", "a/two"}, {"unseen", ""}} {
		save(t, f, "a/"+step.name, "")
		if err := os.Chtimes(filepath.Join(f.Path(), "a"), coarse, coarse); err != nil {
			t.Fatal(err)
		}
		got, err := w.look(false)
		if err != nil || strings.Join(got, " ") != step.want {
			t.Errorf("%s: told %q, %v", step.name, got, err)
		}
	}
	if got, err := w.look(true); err != nil || !slices.Equal(got, []string{"a/unseen"}) {
		t.Errorf("a full look: told %q, %v", got, err)
	}
}
