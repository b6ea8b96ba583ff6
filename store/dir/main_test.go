package dir

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/store"
	"hellogate/store/certtest"
)

func TestMain(m *testing.M) {
	// The parallel tests wait; they do not compute.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const name = "a.example"

var (
	_ store.Watcher = (*Dir)(nil)
	_ store.Writer  = (*Dir)(nil)
)

// logged collects a log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func open(t *testing.T, folder string) *Dir {
	t.Helper()
	dir, _ := openLogged(t, folder)
	return dir
}

func openLogged(t *testing.T, folder string) (*Dir, *logged) {
	t.Helper()
	log := &logged{}
	dir, err := Open(Options{Name: "files", Path: folder, Log: zerolog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	return dir, log
}

// files are written by their path and content; a content that begins with "-> " is that of a link.
type files map[string]string

func (f files) write(t *testing.T, folder string) {
	t.Helper()
	for path, text := range f {
		put(t, filepath.Join(folder, path), text)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	target, link := strings.CutPrefix(text, "-> ")
	var err error
	if link {
		err = os.Symlink(target, path)
	} else {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// pairOf are the files of a pair.
func pairOf(issued certtest.Issued, chain, key string) files {
	return files{chain: string(issued.Chain), key: string(issued.Key)}
}

// has returns what is wrong if the store does not have just these certificates for a name, in any order; none: it must
// not know the name.
func has(dir *Dir, name string, want ...certtest.Issued) error {
	bundle, err := dir.Fetch(context.Background(), store.Request{Name: name})
	switch {
	case len(want) == 0 && errors.Is(err, store.ErrUnknown):
		return nil
	case err != nil:
		return err
	case len(bundle.Pairs) != len(want):
		return fmt.Errorf("%s: %d pairs, want %d", name, len(bundle.Pairs), len(want))
	}
	for i, issued := range want {
		if !holds(bundle, issued) {
			return fmt.Errorf("%s: pair %d of %d is not there", name, i+1, len(want))
		}
	}
	return nil
}

func wants(t *testing.T, dir *Dir, name string, want ...certtest.Issued) {
	t.Helper()
	if err := has(dir, name, want...); err != nil {
		t.Error(err)
	}
}

// becomes waits until the store has just these certificates for a name.
func becomes(t *testing.T, dir *Dir, name string, want ...certtest.Issued) {
	t.Helper()
	var err error
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(10 * time.Millisecond) {
		if err = has(dir, name, want...); err == nil {
			return
		}
	}
	t.Error(err)
}

// patience is how long a change may take to be seen, in a test.
const patience = 2 * time.Second

func holds(bundle *store.Bundle, issued certtest.Issued) bool {
	for _, pair := range bundle.Pairs {
		if bytes.Equal(pair.Chain[0], issued.Leaf.Raw) {
			return true
		}
	}
	return false
}

// fails checks that the store fails for a name, with an error that says what, and that it is of that name alone.
func fails(t *testing.T, dir *Dir, name, want string) {
	t.Helper()
	_, err := dir.Fetch(t.Context(), store.Request{Name: name})
	var failure *store.Failure
	switch {
	case !errors.As(err, &failure) || errors.Is(err, store.ErrUnknown):
		t.Errorf("%s: %v, want a failure that says %q", name, err, want)
	case !failure.Exempt || failure.Unreachable:
		t.Errorf("%s: %v should be of that name alone: %+v", name, err, failure)
	case !strings.Contains(err.Error(), want):
		t.Errorf("%s: error %q, want it to say %q", name, err, want)
	}
}
