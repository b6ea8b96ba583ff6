package dir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

func TestPut(t *testing.T) {
	ca := certtest.NewCA(t)
	one, two := ca.Issue(t, name), ca.IssueWith(t, certtest.Options{Names: []string{name}, RSA: 2048})
	folder := t.TempDir()
	dir := open(t, folder)
	changes := watch(t, dir)
	for _, step := range []struct {
		issued []certtest.Issued
		files  string
	}{
		{[]certtest.Issued{one}, "a.example.crt a.example.key"},
		{[]certtest.Issued{one, two}, "a.example.pem"},
		{[]certtest.Issued{two, one}, "a.example.pem"},
		{[]certtest.Issued{two}, "a.example.crt a.example.key"},
		{[]certtest.Issued{one}, "a.example.crt a.example.key"},
	} {
		var pairs []store.Pair
		for _, issued := range step.issued {
			pairs = append(pairs, issued.Pair)
		}
		if err := dir.Put(t.Context(), name, pairs); err != nil {
			t.Fatal(err)
		}
		wants(t, dir, name, step.issued...)
		toldAnd(t, changes, dir, name, step.issued...)
		if got := listed(t, folder); got != step.files {
			t.Errorf("files %s, want %s", got, step.files)
		}
	}
	if left, err := os.ReadDir(filepath.Join(folder, temporary)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	info, err := os.Stat(filepath.Join(folder, temporary))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// listed are the files that a name could be made of, which must all be for their owner alone.
func listed(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		names = append(names, entry.Name())
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", entry.Name(), info, err)
		}
	}
	return strings.Join(names, " ")
}

func TestPutRefuses(t *testing.T) {
	ca := certtest.NewCA(t)
	issued, other := ca.Issue(t, name), ca.Issue(t, name)
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a"
	mixed := store.Pair{Chain: issued.Pair.Chain, Key: other.Pair.Key}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name  string
		ctx   context.Context
		put   string
		pairs []store.Pair
		want  string
	}{
		{"a wildcard", t.Context(), "*.example", []store.Pair{issued.Pair}, "only letters"},
		{"not normal", t.Context(), "A.example", []store.Pair{issued.Pair}, "not normalised"},
		{"a path", t.Context(), "../a.example", []store.Pair{issued.Pair}, "name"},
		{"too long for a file", t.Context(), long, []store.Pair{issued.Pair}, "too long"},
		{"nothing", t.Context(), name, nil, "no pairs"},
		{"another's key", t.Context(), name, []store.Pair{mixed}, "belongs to none"},
		{"no key", t.Context(), name, []store.Pair{{Chain: issued.Pair.Chain}}, "private key of 0 bytes"},
		{"no chain", t.Context(), name, []store.Pair{{Key: issued.Pair.Key}}, "belongs to none"},
		{"too late", cancelled, name, []store.Pair{issued.Pair}, "context canceled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			dir := open(t, folder)
			err := dir.Put(test.ctx, test.put, test.pairs)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "store files: put ") {
				t.Errorf("error %v, want it to say %q", err, test.want)
			}
			if got := listed(t, folder); got != "" {
				t.Errorf("written: %s", got)
			}
		})
	}
}

// TestPutCut stops Put after each of its steps: what was there before goes on, or fails, until what is new is whole.
func TestPutCut(t *testing.T) {
	ca := certtest.NewCA(t)
	old, fresh := ca.Issue(t, name), ca.Issue(t, name)
	second := ca.IssueWith(t, certtest.Options{Names: []string{name}, RSA: 2048})
	oldPEM := files{name + ".pem": string(old.Bundle())}
	for _, test := range []struct {
		name  string
		old   files
		fresh []certtest.Issued
	}{
		{"pair over nothing", files{}, []certtest.Issued{fresh}},
		{"pair over pair", pairOf(old, name+".crt", name+".key"), []certtest.Issued{fresh}},
		{"pair over pem", oldPEM, []certtest.Issued{fresh}},
		{"pem over pair", pairOf(old, name+".crt", name+".key"), []certtest.Issued{fresh, second}},
		{"pem over pem", oldPEM, []certtest.Issued{fresh, second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			test.old.write(t, folder)
			dir := open(t, folder)
			var pairs []store.Pair
			for _, issued := range test.fresh {
				pairs = append(pairs, issued.Pair)
			}
			outputs, obsolete, err := encode(name, pairs)
			if err != nil {
				t.Fatal(err)
			}
			stage := 0
			check := func() {
				now, err := stageOf(dir, len(test.old) > 0, old, test.fresh)
				if err != nil || now < stage {
					t.Errorf("stage %d, then %d: %v", stage, now, err)
				}
				stage = max(stage, now)
			}
			check()
			for _, output := range outputs {
				put(t, filepath.Join(folder, "x.tmp"), string(output.text))
				rename(t, filepath.Join(folder, "x.tmp"), filepath.Join(folder, output.path))
				check()
			}
			for _, path := range obsolete {
				remove(t, filepath.Join(folder, path))
				check()
			}
			wants(t, dir, name, test.fresh...)
		})
	}
}

// stageOf is 0 for what was there before, 1 for a failure, 2 for what is new.
func stageOf(dir *Dir, wasThere bool, old certtest.Issued, fresh []certtest.Issued) (int, error) {
	if has(dir, name, fresh...) == nil {
		return 2, nil
	}
	if wasThere && has(dir, name, old) == nil || !wasThere && has(dir, name) == nil {
		return 0, nil
	}
	_, err := dir.Fetch(context.Background(), store.Request{Name: name})
	var failure *store.Failure
	if errors.As(err, &failure) && !errors.Is(err, store.ErrUnknown) {
		return 1, nil
	}
	return 3, errors.New("neither old nor new nor a failure")
}

// TestPutAtOnce has several writers and readers of one name: no reader ever gets what nobody wrote.
func TestPutAtOnce(t *testing.T) {
	ca := certtest.NewCA(t)
	folder := t.TempDir()
	dir := open(t, folder)
	issued := []certtest.Issued{ca.Issue(t, name), ca.Issue(t, name)}
	if err := dir.Put(t.Context(), name, []store.Pair{issued[0].Pair}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, issued := range issued {
		group.Go(func() {
			for range 10 {
				if err := dir.Put(t.Context(), name, []store.Pair{issued.Pair}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		for range 200 {
			bundle, err := dir.Fetch(t.Context(), store.Request{Name: name})
			if errors.Is(err, store.ErrUnknown) {
				t.Error(err)
			}
			if err == nil && !holds(bundle, issued[0]) && !holds(bundle, issued[1]) {
				t.Error("a pair that nobody wrote")
			}
		}
	})
	group.Wait()
	if has(dir, name, issued[0]) != nil && has(dir, name, issued[1]) != nil {
		t.Error("neither writer's pair is there")
	}
}

func TestLeftovers(t *testing.T) {
	folder := t.TempDir()
	old, fresh := filepath.Join(folder, temporary, "old.tmp"), filepath.Join(folder, temporary, "fresh.tmp")
	put(t, old, "")
	put(t, fresh, "")
	long := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	open(t, folder)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left from a crash: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("somebody may be writing it: %v", err)
	}
}
