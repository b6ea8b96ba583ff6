package folder

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("FOLDER_CHILD") != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

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

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

const beat = 100 * time.Millisecond

func options(path string) Options {
	return Options{Path: path, Beat: beat, Poll: 20 * time.Millisecond, Log: zerolog.Nop()}
}

func open(t testing.TB, path string) *Folder {
	t.Helper()
	f, err := Open(options(path))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func opened(t testing.TB) *Folder {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "acme"))
}

func save(t testing.TB, f *Folder, key, content string) {
	t.Helper()
	if err := f.Save(context.Background(), key, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t testing.TB, f *Folder, key, want string) {
	t.Helper()
	if got, err := f.Load(context.Background(), key); err != nil || string(got) != want {
		t.Errorf("%s: %q, %v; want %q", key, got, err, want)
	}
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has the mode %04o, want %04o", path, got, want)
	}
}

func wantError(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want one that says %q", err, says)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
