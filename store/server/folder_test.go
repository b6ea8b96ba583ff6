package server

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store/certtest"
)

func write(t testing.TB, folder, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, folder string, files ...string) {
	t.Helper()
	for _, file := range files {
		if err := os.Remove(filepath.Join(folder, file)); err != nil {
			t.Fatal(err)
		}
	}
}

func makeDir(t testing.TB, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, to, from string) {
	t.Helper()
	if err := os.Symlink(to, from); err != nil {
		t.Fatal(err)
	}
}

func chmod(t testing.TB, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func longAgo(t testing.TB, files ...string) {
	t.Helper()
	past := time.Now().Add(-time.Hour)
	for _, file := range files {
		if err := os.Chtimes(file, past, past); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually waits for the next index, which may be a second away.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 60 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: not within 3s", what)
}

func TestReplacedFilesAreServedAtOnce(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	ca.Issue(t, "a.example").Write(t, folder, "a.example")
	server := start(t, Options{Path: folder})
	tag := server.get(t, "/a.example").header.Get("ETag")
	for range 5 {
		next := ca.Issue(t, "a.example")
		next.Write(t, folder, "a.example")
		got := server.get(t, "/a.example", "If-None-Match", tag)
		wantLeaf(t, got, next)
		tag = got.header.Get("ETag")
	}
	remove(t, folder, "a.example.crt", "a.example.key")
	eventually(t, "removed", func() bool { return server.get(t, "/a.example").status == http.StatusNotFound })
}

// A second write within the resolution of a file's time, of the same size and
// to the same inode, is seen all the same.
func TestReplacedWithinTheClocksResolution(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	first, second := ca.Issue(t, "a.example"), ca.Issue(t, "a.example")
	for len(first.Chain) != len(second.Chain) {
		second = ca.Issue(t, "a.example")
	}
	chain, key := first.Write(t, folder, "a.example")
	server := start(t, Options{Path: folder})
	wantLeaf(t, server.get(t, "/a.example"), first)
	info, err := os.Stat(chain)
	if err != nil {
		t.Fatal(err)
	}
	second.Write(t, folder, "a.example")
	for _, file := range []string{chain, key} {
		if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	wantLeaf(t, server.get(t, "/a.example"), second)
}

func TestNewFilesAreServed(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	server := start(t, Options{Path: folder})
	wantError(t, server.get(t, "/san.example"), http.StatusNotFound, "unknown name")
	issued := ca.Issue(t, "a.example", "san.example", "*.wild.example")
	issued.Write(t, folder, "a.example")
	wantLeaf(t, server.get(t, "/a.example"), issued)
	for _, path := range []string{"/san.example", "/x.wild.example"} {
		eventually(t, path, func() bool { return server.get(t, path).status == http.StatusOK })
		wantLeaf(t, server.get(t, path), issued)
	}
	other := ca.Issue(t, "a.example", "another.example")
	other.Write(t, folder, "a.example")
	eventually(t, "a SAN that is gone", func() bool { return server.get(t, "/san.example").status == http.StatusNotFound })
	eventually(t, "a new SAN", func() bool { return server.get(t, "/another.example").status == http.StatusOK })
	wantLeaf(t, server.get(t, "/another.example"), other)
}

// Between two looks at the directory the index may be wrong about a file. No
// certificate is served for a SAN that it does not have.
func TestIndexThatIsBehind(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	for _, file := range []string{"kept", "gone"} {
		ca.Issue(t, file+".example", "*."+file+".example").Write(t, folder, file)
	}
	found, err := newFolder(folder, false, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	behind := *found.index.Load()
	behind.due = time.Now().Add(time.Hour)
	found.index.Store(&behind)
	ca.Issue(t, "other.example").Write(t, folder, "kept")
	remove(t, folder, "gone.crt")
	for _, test := range []struct {
		name string
		want error
	}{
		{"kept.example", errChanging},
		{"x.kept.example", errChanging},
		{"gone.example", errUnknown},
		{"x.gone.example", errUnknown},
		{"kept.example", errUnknown}, // by now the directory was looked at again
	} {
		if pair, err := found.find(test.name); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, %v; want %v", test.name, pair, err, test.want)
		}
	}
}

// A certificate that was removed is unknown at once, by every name it had.
func TestRemovedPairIsUnknownAtOnce(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	ca.Issue(t, "a.example", "san.example", "*.wild.example").Write(t, folder, "pair")
	server := start(t, Options{Path: folder})
	remove(t, folder, "pair.crt", "pair.key")
	for _, path := range []string{"/san.example", "/x.wild.example", "/a.example"} {
		wantError(t, server.get(t, path), http.StatusNotFound, "unknown name")
	}
}

// The next holder of a SAN is served at once when the first is removed.
func TestRemovedPairMakesRoomForTheNext(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	short := ca.IssueWith(t, certtest.Options{Names: []string{"san.example"}, NotAfter: time.Now().Add(time.Hour)})
	short.Write(t, folder, "short")
	long := ca.Issue(t, "san.example")
	long.Write(t, folder, "long")
	server := start(t, Options{Path: folder})
	wantLeaf(t, server.get(t, "/san.example"), long)
	remove(t, folder, "long.crt", "long.key")
	wantLeaf(t, server.get(t, "/san.example"), short)
}

// A link to a certificate that is gone is not looked up again and again.
func TestLinkToNothingIsForgotten(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	makeDir(t, folder+"/data")
	ca.Issue(t, "san.example").Write(t, folder+"/data", "pair")
	link(t, "data/pair.crt", folder+"/pair.crt")
	link(t, "data/pair.key", folder+"/pair.key")
	server := start(t, Options{Path: folder})
	remove(t, folder, "data/pair.crt")
	wantError(t, server.get(t, "/san.example"), http.StatusNotFound, "unknown name")
}

// One certificate that cannot be served does not hide another with its SAN.
func TestBadHolderOfASANHidesNoGoodOne(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	good := ca.IssueWith(t, certtest.Options{Names: []string{"san.example", "*.wild.example"}, NotAfter: time.Now().Add(24 * time.Hour)})
	good.Write(t, folder, "good")
	_, key := ca.Issue(t, "san.example", "*.wild.example").Write(t, folder, "a-open")
	chmod(t, key, 0o644)
	ca.Issue(t, "san.example", "*.wild.example").Write(t, folder, "b-mismatch")
	write(t, folder, "b-mismatch.key", string(good.Key))
	ca.Issue(t, "san.example", "*.wild.example").Write(t, folder, "c-garbage")
	write(t, folder, "c-garbage.key", "garbage")
	server := start(t, Options{Path: folder})
	for _, path := range []string{"/san.example", "/x.wild.example"} {
		wantLeaf(t, server.get(t, path), good)
	}
	remove(t, folder, "good.crt", "good.key")
	wantError(t, server.get(t, "/san.example"), http.StatusServiceUnavailable, "certificate not readable")
	if log := server.log.String(); !strings.Contains(log, "a-open.key has mode 0644") {
		t.Errorf("log %s: want what is wrong with the first", log)
	}
}

func TestPauseBetweenScans(t *testing.T) {
	for _, test := range []struct {
		took  time.Duration
		first bool
		want  time.Duration
	}{
		{time.Millisecond, false, time.Second},
		{100 * time.Millisecond, false, 2 * time.Second},
		{time.Minute, false, 10 * time.Second},
		{time.Millisecond, true, time.Second},
		{time.Minute, true, time.Second},
	} {
		if got := pause(test.took, test.first); got != test.want {
			t.Errorf("after %s, first %t: %s, want %s", test.took, test.first, got, test.want)
		}
	}
}

func TestHalfWrittenPairKeepsTheOldOne(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	old, next := ca.Issue(t, "a.example", "san.example"), ca.Issue(t, "a.example", "san.example")
	old.Write(t, folder, "a.example")
	server := start(t, Options{Path: folder})
	wantLeaf(t, server.get(t, "/a.example"), old)
	states := []struct{ name, chain, key string }{
		{"new certificate, old key", string(next.Chain), string(old.Key)},
		{"old certificate, new key", string(old.Chain), string(next.Key)},
		{"certificate cut short", string(next.Chain[:100]), string(next.Key)},
		{"key cut short", string(next.Chain), string(next.Key[:50])},
		{"empty certificate", "", string(next.Key)},
		{"garbage", "garbage", "garbage"},
	}
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			write(t, folder, "a.example.crt", state.chain)
			write(t, folder, "a.example.key", state.key)
			wantLeaf(t, server.get(t, "/a.example"), old)
			wantLeaf(t, server.get(t, "/san.example"), old)
		})
	}
	if log := server.log.String(); strings.Count(log, "the one before it stays in use") != 1 {
		t.Errorf("log %s: want one line for it", log)
	}
	next.Write(t, folder, "a.example")
	wantLeaf(t, server.get(t, "/a.example"), next)
}

func TestUnreadablePairs(t *testing.T) {
	ca, parent := certtest.NewCA(t), t.TempDir()
	folder := filepath.Join(parent, "certs")
	makeDir(t, folder)
	good := ca.Issue(t, "a.example")
	tests := []struct {
		name    string
		prepare func(t *testing.T, file string)
		log     string
	}{
		{"no key", func(t *testing.T, file string) {
			good.Write(t, folder, file)
			remove(t, folder, file+".key")
		}, "no-key.example.crt has no no-key.example.key"},
		{"never whole", func(t *testing.T, file string) {
			good.Write(t, folder, file)
			write(t, folder, file+".key", string(ca.Issue(t, "x.example").Key))
		}, "private key does not match public key"},
		{"directory", func(t *testing.T, file string) {
			good.Write(t, folder, file)
			remove(t, folder, file+".crt")
			makeDir(t, filepath.Join(folder, file+".crt"))
		}, "not a regular file"},
		{"FIFO", func(t *testing.T, file string) {
			good.Write(t, folder, file)
			remove(t, folder, file+".key")
			if err := syscall.Mkfifo(filepath.Join(folder, file+".key"), 0o600); err != nil {
				t.Skip(err)
			}
		}, "not a regular file"},
		{"huge", func(t *testing.T, file string) {
			good.Write(t, folder, file)
			write(t, folder, file+".crt", string(good.Chain)+strings.Repeat("\n", maxFile))
		}, "longer than 1048576 bytes"},
		{"link out", func(t *testing.T, file string) {
			good.Write(t, parent, file)
			link(t, "../"+file+".crt", filepath.Join(folder, file+".crt"))
			link(t, "../"+file+".key", filepath.Join(folder, file+".key"))
		}, "path escapes from parent"},
		{"absolute link out", func(t *testing.T, file string) {
			good.Write(t, folder, file)
			good.Write(t, parent, file)
			remove(t, folder, file+".key")
			link(t, filepath.Join(parent, file+".key"), filepath.Join(folder, file+".key"))
		}, "path escapes from parent"},
	}
	server := start(t, Options{Path: folder})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			name := strings.ToLower(strings.ReplaceAll(test.name, " ", "-")) + ".example"
			test.prepare(t, name)
			got := server.get(t, "/"+name)
			wantError(t, got, http.StatusServiceUnavailable, "certificate not readable")
			if log := server.log.String(); !strings.Contains(log, test.log) {
				t.Errorf("log %s: want %q", log, test.log)
			}
		})
	}
}

func TestLinksInsideAreFollowed(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	issued := ca.Issue(t, "a.example", "san.example")
	makeDir(t, folder+"/..data")
	issued.Write(t, folder+"/..data", "whatever")
	link(t, "..data/whatever.crt", folder+"/a.example.crt")
	link(t, "..data/whatever.key", folder+"/a.example.key")
	server := start(t, Options{Path: folder})
	wantLeaf(t, server.get(t, "/a.example"), issued)
	wantLeaf(t, server.get(t, "/san.example"), issued)
}

func TestReplacedDirectoryIsSeen(t *testing.T) {
	ca, parent := certtest.NewCA(t), t.TempDir()
	old, next := ca.Issue(t, "a.example", "old.example"), ca.Issue(t, "a.example", "new.example")
	for version, issued := range map[string]certtest.Issued{"v1": old, "v2": next} {
		makeDir(t, filepath.Join(parent, version))
		issued.Write(t, filepath.Join(parent, version), "a.example")
	}
	current := filepath.Join(parent, "certs")
	link(t, "v1", current)
	server := start(t, Options{Path: current})
	wantLeaf(t, server.get(t, "/a.example"), old)
	remove(t, parent, "certs")
	wantError(t, server.get(t, "/a.example"), http.StatusServiceUnavailable, "certificate not readable")
	link(t, "v2", current)
	wantLeaf(t, server.get(t, "/a.example"), next)
	eventually(t, "new SAN", func() bool { return server.get(t, "/new.example").status == http.StatusOK })
	if got := server.get(t, "/old.example"); got.status != http.StatusNotFound {
		t.Errorf("old SAN: %d", got.status)
	}
}

func TestOpenKeysAreRefused(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	issued := ca.Issue(t, "a.example", "san.example")
	chain, key := issued.Write(t, folder, "a.example")
	longAgo(t, chain, key) // or they would be read each time
	server := start(t, Options{Path: folder})
	generous := start(t, Options{Path: folder, AllowOpenKeys: true})
	wantLeaf(t, server.get(t, "/a.example"), issued)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660} {
		chmod(t, key, mode)
		for _, path := range []string{"/a.example", "/san.example", "/certs?server_name=a.example"} {
			wantError(t, server.get(t, path), http.StatusServiceUnavailable, "certificate not readable")
		}
		wantLeaf(t, generous.get(t, "/a.example"), issued)
		want := fmt.Sprintf("a.example.key has mode %04o: others than its owner may open it", mode)
		if log := server.log.String(); !strings.Contains(log, want) {
			t.Errorf("log %s: want %q", log, want)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		chmod(t, key, mode)
		wantLeaf(t, server.get(t, "/a.example"), issued)
	}
}

// While pairs are being replaced every answer is a whole pair.
func TestNoAnswerMixesTwoPairs(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	pairs := []certtest.Issued{ca.Issue(t, "a.example", "san.example"), ca.Issue(t, "a.example", "san.example")}
	pairs[0].Write(t, folder, "a.example")
	server := start(t, Options{Path: folder})
	wantLeaf(t, server.get(t, "/a.example"), pairs[0])
	var readers sync.WaitGroup
	for _, path := range []string{"/a.example", "/san.example", "/a.example"} {
		readers.Go(func() {
			for range 100 {
				if _, err := server.get(t, path).leaf(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { readers.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
			pairs[i%2].Write(t, folder, "a.example")
		}
	}
}

func TestForgetsFilesThatAreGone(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	ca.Issue(t, "a.example").Write(t, folder, "a.example")
	found, err := newFolder(folder, false, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := found.find("a.example"); err != nil {
		t.Fatal(err)
	}
	remove(t, folder, "a.example.crt", "a.example.key")
	eventually(t, "forgotten", func() bool {
		found.find("x.example")
		return found.held("a.example").pair == nil
	})
}

func BenchmarkTenThousandFiles(b *testing.B) {
	ca, folder := certtest.NewCA(b), b.TempDir()
	key := ca.Issue(b, "x.example").Signer
	for i := range 10_000 {
		names := []string{fmt.Sprintf("n%d.example", i), fmt.Sprintf("s%d.example", i)}
		chain, keyFile := ca.IssueWith(b, certtest.Options{Names: names, Key: key}).Write(b, folder, names[0])
		longAgo(b, chain, keyFile)
	}
	started := time.Now()
	found, err := newFolder(folder, false, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("first scan: %s", time.Since(started))
	for _, kind := range []string{"n", "s", "unknown"} {
		b.Run(kind, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				found.find(fmt.Sprintf("%s%d.example", kind, i%10_000))
			}
		})
	}
	b.Run("scan", func(b *testing.B) {
		root, err := os.OpenRoot(folder)
		if err != nil {
			b.Fatal(err)
		}
		defer root.Close()
		for b.Loop() {
			if _, err := found.scan(root, found.index.Load()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
