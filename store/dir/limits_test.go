package dir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"hellogate/store"
	"hellogate/store/certtest"
)

// TestOverflow has more changes at once than the system keeps.
func TestOverflow(t *testing.T) {
	t.Parallel()
	ca := certtest.NewCA(t)
	folder := t.TempDir()
	dir, log := openLogged(t, folder)
	changes := watch(t, dir)
	dir.kept().trouble(fsnotify.ErrEventOverflow)
	toldAll(t, changes)
	if log.count("too many changes") != 1 {
		t.Error("it was not logged")
	}
	// And more names than are remembered.
	dir.kept().mu.Lock()
	for i := range maxPending + 1 {
		dir.kept().pend(change{base: strings.Repeat("x", i)})
	}
	dir.kept().mu.Unlock()
	toldAll(t, changes)
	issued := ca.Issue(t, "x.test", name)
	issued.Write(t, folder, "x.test")
	toldAnd(t, changes, dir, name, issued)
}

// TestDegraded is where inotify's limits are reached: no instance, or no watch for the folders below.
func TestDegraded(t *testing.T) {
	held := newNotify
	defer func() { newNotify = held }()
	ca := certtest.NewCA(t)
	before, after := ca.Issue(t, "folder.example"), ca.Issue(t, "folder.example", name)
	for _, test := range []struct {
		name    string
		degrade func(dir *Dir)
	}{
		{"no instance", func(*Dir) { newNotify = func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE } }},
		{"no watch", func(dir *Dir) {
			newNotify = held
			dir.keep().degrade(syscall.ENOSPC)
			dir.kept().degrade(syscall.ENOSPC)
			dir.kept().mu.Lock()
			dir.kept().watched.folders["folder.example"] = true // which keeps it from being watched
			dir.kept().mu.Unlock()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			pairOf(before, "folder.example/fullchain.pem", "folder.example/privkey.pem").write(t, folder)
			dir, log := openLogged(t, folder)
			test.degrade(dir)
			changes := watch(t, dir)
			wants(t, dir, "folder.example", before)
			if problem := dir.WatchProblem(); !errors.Is(problem, syscall.EMFILE) && !errors.Is(problem, syscall.ENOSPC) {
				t.Errorf("problem: %v", problem)
			}
			wants(t, dir, name)
			pairOf(after, "folder.example/fullchain.pem", "folder.example/privkey.pem").write(t, folder)
			toldAnd(t, changes, dir, "folder.example", after)
			late := time.Now().Add(2 * patience) // it takes two rounds: one for the index, one for the name
			for has(dir, name, after) != nil && time.Now().Before(late) {
				time.Sleep(beat)
			}
			wants(t, dir, name, after)
			if got := log.count("can't be watched"); got != 1 {
				t.Errorf("logged %d times", got)
			}
		})
	}
}

// TestExhausted has no descriptors left for a while: that is a failure of every name, no name is ruled out by it, and
// what changes meanwhile is told later.
func TestExhausted(t *testing.T) {
	folder := t.TempDir()
	dir := open(t, folder)
	changes := watch(t, dir)
	issued := certtest.NewCA(t).Issue(t, "x.test", name)
	issued.Write(t, folder, ".new")
	release := exhaust(t)
	for _, suffix := range []string{".key", ".crt"} {
		rename(t, filepath.Join(folder, ".new"+suffix), filepath.Join(folder, "x.test"+suffix))
	}
	time.Sleep(4 * quiet)
	_, err := dir.Fetch(t.Context(), store.Request{Name: name})
	release()
	if !errors.Is(err, syscall.EMFILE) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("%v, want a failure for want of descriptors", err)
	}
	toldAnd(t, changes, dir, name, issued)
	release = exhaust(t)
	dir.kept().trouble(fsnotify.ErrEventOverflow)
	toldAll(t, changes)
	release()
	becomes(t, dir, name, issued)
	becomes(t, dir, "b.example")
}

// exhaust opens files until there can be no more.
func exhaust(t *testing.T) (release func()) {
	t.Helper()
	var held syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &held); err != nil {
		t.Fatal(err)
	}
	lowered := held
	lowered.Cur = 128
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	var open []*os.File
	for {
		file, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		open = append(open, file)
	}
	return func() {
		for _, file := range open {
			file.Close()
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &held); err != nil {
			t.Error(err)
		}
	}
}

// TestIndexUnderWay asks for what needs the index before it is there.
func TestIndexUnderWay(t *testing.T) {
	i := newIndex()
	i.begin(true)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := i.lookup(ctx, nil, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an index that is not whole: %v", err)
	}
	done := make(chan struct{})
	close(done)
	if _, err := i.lookup(t.Context(), done, name); !errors.Is(err, errClosed) {
		t.Errorf("a store that was closed: %v", err)
	}
	i.set(place{flat, "x"}, []string{name}, time.Now())
	i.end()
	if places, err := i.lookup(t.Context(), nil, name); err != nil || len(places) != 1 {
		t.Errorf("%v, %v", places, err)
	}
	i.begin(true)
	if places, err := i.lookup(t.Context(), nil, name); err != nil || len(places) != 1 {
		t.Errorf("what is in the index is found while it is made anew: %v, %v", places, err)
	}
	if _, err := i.lookup(ctx, nil, "b.example"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("what is not might be later: %v", err)
	}
	if gone := i.end(); !slices.Equal(gone, []string{name}) || len(i.bySAN) != 0 || i.sans != 0 {
		t.Errorf("gone: %v, left: %v", gone, i.bySAN)
	}
	i.sans = maxSANs
	i.set(place{flat, "x"}, []string{name}, time.Now())
	if _, err := i.lookup(t.Context(), nil, "b.example"); !errors.Is(err, errTooManySANs) {
		t.Errorf("an index that is full rules nothing out: %v", err)
	}
}
