package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

// watch returns what is told from now on. The Change of All with which it begins has been told, and the index is whole.
func watch(t *testing.T, dir *Dir) <-chan store.Change {
	t.Helper()
	changes := make(chan store.Change, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		dir.Watch(ctx, func(change store.Change) { changes <- change })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	if first := <-changes; !first.All {
		t.Errorf("the first change is %+v", first)
	}
	for !dir.kept().index.whole() {
		time.Sleep(time.Millisecond)
	}
	return changes
}

func concerns(change store.Change, name string) bool {
	return change.All || slices.ContainsFunc(change.Names, func(p sni.Pattern) bool { return p.Match(name) })
}

// told waits for changes of a name until, after one of them, what is checked is right.
func told(t *testing.T, changes <-chan store.Change, name string, check func() error) {
	t.Helper()
	err := errors.New("no change was told")
	late := time.After(patience)
	for {
		select {
		case <-late:
			t.Errorf("%s: %v", name, err)
			return
		case change := <-changes:
			if !concerns(change, name) {
				continue
			}
			if err = check(); err == nil {
				return
			}
		}
	}
}

// toldAnd waits for a change of a name after which the store has these certificates.
func toldAnd(t *testing.T, changes <-chan store.Change, dir *Dir, name string, want ...certtest.Issued) {
	t.Helper()
	told(t, changes, name, func() error { return has(dir, name, want...) })
}

// silent checks that nothing is told.
func silent(t *testing.T, changes <-chan store.Change) {
	t.Helper()
	select {
	case change := <-changes:
		t.Errorf("told %+v", change)
	case <-time.After(4 * quiet):
	}
}

// TestReplace replaces a pair in every way and layout.
func TestReplace(t *testing.T) {
	ca := certtest.NewCA(t)
	before, after := ca.Issue(t, name), ca.Issue(t, name)
	type change func(t *testing.T, folder string, files files)
	each := func(do func(t *testing.T, path, text string)) change {
		return func(t *testing.T, folder string, files files) {
			for path, text := range files {
				if !strings.HasPrefix(text, "-> ") {
					do(t, filepath.Join(folder, path), text)
				}
			}
		}
	}
	ways := []struct {
		name   string
		change change
	}{
		{"in place", each(put)},
		{"moved over", each(func(t *testing.T, path, text string) {
			put(t, path+".new", text)
			rename(t, path+".new", path)
		})},
		{"removed and written", each(func(t *testing.T, path, text string) {
			remove(t, path)
			put(t, path, text)
		})},
		{"written in pieces", func(t *testing.T, folder string, files files) {
			each(func(t *testing.T, path, text string) { put(t, path, text[:len(text)/2]) })(t, folder, files)
			time.Sleep(quiet + 2*beat)
			each(put)(t, folder, files)
		}},
		{"in place, of the same time and size", each(func(t *testing.T, path, text string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			put(t, path, text)
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		})},
	}
	inAll := func(issued certtest.Issued) []inLayout {
		top := pairOf(issued, "local/a.example/a.example.crt", "local/a.example/a.example.key")
		return append(inLayouts(name, issued), inLayout{"caddy's certificates folder", top})
	}
	for at, layout := range inAll(before) {
		for _, way := range ways {
			t.Run(layout.name+" "+way.name, func(t *testing.T) {
				t.Parallel()
				folder := t.TempDir()
				layout.files.write(t, folder)
				dir := open(t, folder)
				changes := watch(t, dir)
				wants(t, dir, name, before)
				way.change(t, folder, inAll(after)[at].files)
				toldAnd(t, changes, dir, name, after)
			})
		}
		t.Run(layout.name+" appears at once", func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			dir := open(t, folder)
			changes := watch(t, dir)
			wants(t, dir, name)
			layout.files.write(t, folder)
			toldAnd(t, changes, dir, name, before)
		})
		t.Run(layout.name+" appears and goes", func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			dir := open(t, folder)
			changes := watch(t, dir)
			wants(t, dir, name)
			for path := range layout.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, path)), 0o700); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * quiet) // the folder is empty for a while, and what it is in, too
			}
			layout.files.write(t, folder)
			toldAnd(t, changes, dir, name, before)
			for path := range layout.files {
				remove(t, filepath.Join(folder, path))
			}
			toldAnd(t, changes, dir, name)
		})
	}
}

func toldAll(t *testing.T, changes <-chan store.Change) {
	t.Helper()
	await(t, changes, "a change of all", func(change store.Change) bool { return change.All })
}

// await waits for a change to be told.
func await(t *testing.T, changes <-chan store.Change, what string, is func(store.Change) bool) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case <-late:
			t.Errorf("%s was not told", what)
			return
		case change := <-changes:
			if is(change) {
				return
			}
		}
	}
}

// TestSANsAreTold changes the SANs of a certificate.
func TestSANsAreTold(t *testing.T) {
	t.Parallel()
	ca := certtest.NewCA(t)
	folder := t.TempDir()
	before, after := ca.Issue(t, "x.test", "old.example"), ca.Issue(t, "x.test", "new.example", "*.wild.example")
	before.Write(t, folder, "x.test")
	dir := open(t, folder)
	changes := watch(t, dir)
	wants(t, dir, "old.example", before)
	wants(t, dir, "new.example")
	wants(t, dir, "b.wild.example")
	after.Write(t, folder, "x.test")
	want := map[string]bool{"old.example": true, "new.example": true, "x.test": true, "b.wild.example": true}
	told(t, changes, "old.example", func() error { return has(dir, "old.example") })
	after.Write(t, folder, "x.test") // and again, for the others
	change := <-changes
	delete(want, "old.example")
	for name := range want {
		if !concerns(change, name) {
			t.Errorf("%s: not told by %+v", name, change)
		}
		wants(t, dir, name, after)
	}
	if concerns(change, "other.example") {
		t.Errorf("too much is told: %+v", change)
	}
	// A wildcard by its file.
	wildcard := ca.Issue(t, "*.b.example")
	wildcard.Write(t, folder, "_.b.example")
	toldAnd(t, changes, dir, "a.b.example", wildcard)
}

// TestSubscriber adds up what is told faster than it is taken.
func TestSubscriber(t *testing.T) {
	names := func(count int) (change store.Change) {
		for i := range count {
			pattern, err := sni.ParsePattern(fmt.Sprintf("x%d.example", i))
			if err != nil {
				t.Fatal(err)
			}
			change.Names = append(change.Names, pattern)
		}
		return change
	}
	all, lost := store.Change{All: true}, store.Change{Lost: true}
	for _, test := range []struct {
		name  string
		told  []store.Change
		names int
		want  store.Change
	}{
		{"names", []store.Change{names(2), names(3)}, 3, store.Change{}},
		{"too many names", []store.Change{names(maxTold), names(maxTold + 1)}, 0, all},
		{"names, then all", []store.Change{names(2), all}, 0, all},
		{"all, then names", []store.Change{all, names(2)}, 0, all},
		{"all, then lost", []store.Change{all, lost}, 0, lost},
		{"lost, then names", []store.Change{lost, names(1)}, 0, lost},
		{"lost, then all", []store.Change{lost, all}, 0, all},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &subscriber{wake: make(chan struct{}, 1), names: make(map[sni.Pattern]bool)}
			for _, change := range test.told {
				s.tell(change)
			}
			got, some := s.take()
			if !some || len(got.Names) != test.names || got.All != test.want.All || got.Lost != test.want.Lost {
				t.Errorf("told %+v", got)
			}
			if _, some := s.take(); some {
				t.Error("told again")
			}
		})
	}
}

// TestWatchEnds ends a Watch by its context and by the store's end.
func TestWatchEnds(t *testing.T) {
	dir := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir.Watch(ctx, func(store.Change) {})
	ended := make(chan struct{})
	begun := make(chan struct{}, 1)
	go func() {
		defer close(ended)
		dir.Watch(t.Context(), func(store.Change) { begun <- struct{}{} })
	}()
	<-begun
	dir.Close()
	<-ended
	dir.Watch(t.Context(), func(store.Change) { t.Error("told after Close") })
}

// TestWatchProblem: a folder that is away is one, until it is back.
func TestWatchProblem(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "certs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := open(t, folder)
	if problem := dir.WatchProblem(); problem != nil {
		t.Errorf("before it is watched: %v", problem)
	}
	changes := watch(t, dir)
	for range 2 {
		becomesTrue(t, func() bool { return dir.WatchProblem() == nil })
		if err := os.Rename(folder, folder+".away"); err != nil {
			t.Fatal(err)
		}
		becomesTrue(t, func() bool { return errors.Is(dir.WatchProblem(), fs.ErrNotExist) })
		if err := os.Rename(folder+".away", folder); err != nil {
			t.Fatal(err)
		}
		toldAll(t, changes)
	}
}

func becomesTrue(t *testing.T, is func() bool) {
	t.Helper()
	for late := time.Now().Add(2 * patience); !is(); time.Sleep(beat) {
		if time.Now().After(late) {
			t.Fatal("it does not become so")
		}
	}
}
