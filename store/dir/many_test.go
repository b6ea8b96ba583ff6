package dir

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hellogate/store/certtest"
)

// TestMany has 100,000 files in one folder. Opening it reads none of them; a change is told within the time that any is;
// and when nothing changes, nothing is done.
func TestMany(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("100,000 files")
	}
	folder := inMemory(t)
	fill(t, folder, 100_000)
	ca := certtest.NewCA(t)
	before, after := ca.Issue(t, name), ca.Issue(t, name)
	before.Write(t, folder, name)
	dir := open(t, folder)
	if dir.kept() != nil {
		t.Error("the certificates are read at once")
	}
	begun := time.Now()
	changes := watch(t, dir)
	t.Logf("read in %v", time.Since(begun))
	wants(t, dir, name, before)
	after.Write(t, folder, name)
	toldAnd(t, changes, dir, name, after)
	wants(t, dir, "b.example")
	looks := dir.kept().looks.Load()
	silent(t, changes)
	if done := dir.kept().looks.Load() - looks; done != 0 {
		t.Errorf("nothing has changed, and %d names were looked at", done)
	}
	started := time.Now()
	if _, err := Open(Options{Path: folder}); err != nil {
		t.Error(err)
	}
	t.Logf("opened in %v", time.Since(started))
}

// inMemory returns a folder on a file system in memory, if there is one.
func inMemory(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "hellogate-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { remove(t, folder) })
	return folder
}

// fill makes certificates that take next to no time to make or to read.
func fill(t *testing.T, folder string, count int) {
	t.Helper()
	const links = 30_000 // that a file may have: ext4 allows 65,000
	for i := range count / 2 {
		source := filepath.Join(folder, fmt.Sprintf("source-%d", i/links))
		if i%links == 0 {
			put(t, source, "-")
		}
		for _, suffix := range []string{".crt", ".key"} {
			if err := os.Link(source, filepath.Join(folder, fmt.Sprintf("x%d.example%s", i, suffix))); err != nil {
				t.Fatal(err)
			}
		}
	}
}
