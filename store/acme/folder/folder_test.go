package folder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestSaveLoadListRemove(t *testing.T) {
	f := opened(t)
	ctx := context.Background()
	for _, key := range []string{"certificates/a.example/p256.pem", "certificates/*.b.example/job.json", "certificates/a.example/job.json", "top"} {
		save(t, f, key, "old")
		save(t, f, key, "of "+key)
		wantContent(t, f, key, "of "+key)
		wantMode(t, filepath.Join(f.Path(), key), 0o600)
	}
	for _, each := range []string{"", "certificates", "certificates/a.example", temporary} {
		wantMode(t, filepath.Join(f.Path(), each), 0o700)
	}
	lists := map[string][]string{
		"":                       {"certificates/*.b.example/job.json", "certificates/a.example/job.json", "certificates/a.example/p256.pem", "top"},
		"certificates/a.example": {"certificates/a.example/job.json", "certificates/a.example/p256.pem"},
		"nowhere":                nil,
	}
	for prefix, want := range lists {
		if got, err := f.List(ctx, prefix); err != nil || !slices.Equal(got, want) {
			t.Errorf("list %q: %q, %v; want %q", prefix, got, err, want)
		}
	}
	if err := f.Remove(ctx, "certificates/*.b.example/job.json"); err != nil {
		t.Error(err)
	}
	if _, err := f.Load(ctx, "certificates/*.b.example/job.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(f.Path(), "certificates/*.b.example")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the empty folder is still there: %v", err)
	}
	for _, key := range []string{"certificates/*.b.example/job.json", "nowhere/at/all"} {
		if err := f.Remove(ctx, key); err != nil {
			t.Errorf("remove what isn't there: %v", err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(f.Path(), temporary)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestKeysThatAreRefused: nothing becomes the name of a file that could lead out of the folder, or to what is ours alone.
func TestKeysThatAreRefused(t *testing.T) {
	f := opened(t)
	ctx := context.Background()
	for _, key := range []string{
		"", "/", "/etc/passwd", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", ".tmp/a", "a/.hidden", "a\x00b", "a b", "a\nb", `a\b`, "ä",
		"locks/a", "locks", "LOCKS/a", strings.Repeat("a", 256), strings.Repeat("a/", 8) + "a",
	} {
		if err := f.Save(ctx, key, nil); err == nil {
			t.Errorf("save %q: no error", key)
		}
		if _, err := f.Load(ctx, key); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("load %q: %v", key, err)
		}
		if err := f.Remove(ctx, key); err == nil {
			t.Errorf("remove %q: no error", key)
		}
	}
	for _, name := range []string{"", "..", "a/b", ".a"} {
		if _, _, err := f.Lock(ctx, name); err == nil {
			t.Errorf("lock %q: no error", name)
		}
	}
	save(t, f, strings.Repeat("a", 255), "fits")
}

func TestSizesAreBounded(t *testing.T) {
	f := opened(t)
	ctx := context.Background()
	wantError(t, f.Save(ctx, "big", make([]byte, MaxSize+1)), "bytes")
	save(t, f, "big", string(make([]byte, MaxSize)))
	if err := os.WriteFile(filepath.Join(f.Path(), "big"), make([]byte, MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := f.Load(ctx, "big")
	wantError(t, err, "more than")
}

func TestOpenEnforcesTheMode(t *testing.T) {
	tests := map[string]struct {
		mode os.FileMode
		says string
	}{
		"others may read":  {mode: 0o755},
		"group may read":   {mode: 0o750},
		"group may write":  {mode: 0o770, says: "mode 0770"},
		"others may write": {mode: 0o703, says: "mode 0703"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			if err := os.Chmod(path, test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := Open(options(path))
			if test.says != "" {
				wantError(t, err, test.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantMode(t, path, 0o700)
		})
	}
}

// TestWideFilesAreNarrowed: what was copied here with a mode that lets others read it is taken from them, and told.
func TestWideFilesAreNarrowed(t *testing.T) {
	log := new(logged)
	set := options(filepath.Join(t.TempDir(), "acme"))
	set.Log = zerolog.New(log)
	f, err := Open(set)
	if err != nil {
		t.Fatal(err)
	}
	save(t, f, "certificates/a.example/p256.pem", "key")
	for path, mode := range map[string]os.FileMode{"certificates/a.example/p256.pem": 0o664, "certificates/a.example": 0o777} {
		if err := os.Chmod(filepath.Join(f.Path(), path), mode); err != nil {
			t.Fatal(err)
		}
	}
	wantContent(t, f, "certificates/a.example/p256.pem", "key")
	wantMode(t, filepath.Join(f.Path(), "certificates/a.example/p256.pem"), 0o600)
	wantMode(t, filepath.Join(f.Path(), "certificates/a.example"), 0o700)
	if !log.has(`"mode":"0664"`) || !log.has(`"mode":"0777"`) {
		t.Errorf("logged %s", log.text.String())
	}
}

// TestLinksAreNotFollowed: not at the top, not on the way, not at the end, not to what is inside either.
func TestLinksAreNotFollowed(t *testing.T) {
	f := opened(t)
	ctx := context.Background()
	outside := t.TempDir()
	save(t, f, "inside/file", "inside")
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	for at, target := range map[string]string{
		"out": outside, "in": filepath.Join(f.Path(), "inside"), "file": filepath.Join(outside, "file"), "gone": filepath.Join(outside, "gone"),
	} {
		if err := os.Symlink(target, filepath.Join(f.Path(), at)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"out/file", "in/file", "file", "gone"} {
		_, err := f.Load(ctx, key)
		wantError(t, err, "symbolic link")
	}
	for _, key := range []string{"out/new", "in/new"} {
		wantError(t, f.Save(ctx, key, nil), "symbolic link")
		wantError(t, f.Remove(ctx, key), "symbolic link")
	}
	if got, err := f.List(ctx, ""); err != nil || !slices.Equal(got, []string{"inside/file"}) {
		t.Errorf("listed %q, %v", got, err)
	}
	save(t, f, "file", "new")
	wantContent(t, f, "file", "new")
	if content, _ := os.ReadFile(filepath.Join(outside, "file")); string(content) != "outside" {
		t.Errorf("written to what the link led to: %q", content)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(f.Path(), link); err != nil {
		t.Fatal(err)
	}
	_, err := Open(options(link))
	wantError(t, err, "symbolic link")
}

func TestWhatIsNoFile(t *testing.T) {
	f := opened(t)
	if err := syscall.Mkfifo(filepath.Join(f.Path(), "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	save(t, f, "folder/file", "")
	for _, key := range []string{"fifo", "folder"} {
		_, err := f.Load(context.Background(), key)
		wantError(t, err, "is not what it should be")
	}
	if err := f.Save(context.Background(), "folder", nil); err == nil {
		t.Error("a folder was written over")
	}
	if err := f.Save(context.Background(), "folder/file/below", nil); err == nil {
		t.Error("a file was taken for a folder")
	}
}

// TestSaveIsAtomic: a reader sees one content or the other, whole, whoever else writes or removes.
func TestSaveIsAtomic(t *testing.T) {
	f := opened(t)
	contents := [][]byte{bytes.Repeat([]byte("a"), 50_000), bytes.Repeat([]byte("b"), 3)}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for _, content := range contents {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := f.Save(context.Background(), "a/b/c", content); err != nil {
					t.Error(err)
				}
				if i%5 == 0 {
					_ = f.Remove(context.Background(), "a/b/c")
				}
			}
		})
	}
	for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); {
		got, err := f.Load(context.Background(), "a/b/c")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err == nil && !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
			t.Fatalf("%d bytes that nobody saved", len(got))
		}
	}
	close(stop)
	writers.Wait()
}

// TestOpenSweeps: what a process left that was killed goes, what one writes now stays.
func TestOpenSweeps(t *testing.T) {
	f := opened(t)
	save(t, f, "kept", "")
	aside := filepath.Join(f.Path(), temporary)
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"old", "new", "oldlock/note", "newlock/note"} {
		path := filepath.Join(aside, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"old", "oldlock"} {
		if err := os.Chtimes(filepath.Join(aside, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	open(t, f.Path())
	entries, err := os.ReadDir(aside)
	var left []string
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if err != nil || !slices.Equal(left, []string{"new", "newlock"}) {
		t.Errorf("left %q, %v", left, err)
	}
	wantContent(t, f, "kept", "")
}

func TestWritable(t *testing.T) {
	f := opened(t)
	if err := f.Writable(context.Background()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Join(f.Path(), temporary)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.RemoveAll(filepath.Join(f.Path(), temporary)); err != nil {
		t.Fatal(err)
	}
	save(t, f, "kept", "")
	if err := os.RemoveAll(filepath.Join(f.Path(), temporary)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.Path(), temporary), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, f.Writable(context.Background()), "write to the acme folder "+f.Path())
}

func TestContextThatIsDone(t *testing.T) {
	f := opened(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := fmt.Errorf("enough")
	cancel(reason)
	_, loadErr := f.Load(ctx, "a")
	_, listErr := f.List(ctx, "")
	_, _, lockErr := f.Lock(ctx, "a")
	for what, err := range map[string]error{
		"load": loadErr, "list": listErr, "lock": lockErr, "save": f.Save(ctx, "a", nil), "remove": f.Remove(ctx, "a"),
	} {
		if !errors.Is(err, reason) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzKey(fuzz *testing.F) {
	for _, key := range []string{"a/b", "../a", "a/../../b", "/a", "a//", "\x00", "locks/a", ".tmp", strings.Repeat("a/", 9)} {
		fuzz.Add(key)
	}
	fuzz.Fuzz(func(t *testing.T, key string) {
		f := &Folder{}
		elements, err := f.below(context.Background(), key)
		if err != nil {
			return
		}
		path := filepath.Join(append([]string{"/top"}, elements...)...)
		if path != filepath.Join("/top", key) || !strings.HasPrefix(path+"/", "/top/") || strings.HasPrefix(path, "/top/locks") && elements[0] == locks {
			t.Errorf("%q became %q", key, path)
		}
	})
}
