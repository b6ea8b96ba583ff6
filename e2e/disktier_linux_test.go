package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tier is a disk tier in a folder, encrypted with the key in a file if one is named.
func tier(folder, keyFile string) string {
	return fmt.Sprintf("cache: {dir: %q, dir_key_file: %q}", folder, keyFile)
}

// kill ends hellogate with SIGKILL.
func (g *gate) kill() {
	g.t.Helper()
	g.stopped.Store(true)
	g.command.Process.Kill()
	<-g.ended
}

// diskStatus is what status says of the disk tier.
type diskStatus struct {
	Records   int    `json:"records"`
	Written   int    `json:"written"`
	Damaged   int    `json:"damaged"`
	LastError string `json:"last_error"`
}

func (g *gate) disk() *diskStatus {
	g.t.Helper()
	var status struct {
		Disk *diskStatus `json:"disk"`
	}
	g.get("/status", &status)
	return status.Disk
}

// shown is what is known of a name's certificate.
func (g *gate) shown(name string) (c certStatus) {
	g.t.Helper()
	g.get("/certs/"+name, &c)
	return c
}

// written waits until the disk tier has so many records.
func (g *gate) written(records int) {
	g.t.Helper()
	g.eventually(fmt.Sprintf("%d names are on disk", records), func() bool {
		status := g.disk()
		return status != nil && status.Records >= records
	})
}

// A restart with the store down serves every name that was served before, at its old lifetime, and nothing that was unknown.
func TestRestartIsWarm(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := newWorld(t, tier(folder, ""))
	w.store.on("unknown.example", status(404))
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("n%d.example", i))
		w.visit(names[i])
	}
	w.refused("unknown.example", 112)
	before := w.shown(names[0])
	w.stop()
	w.store.stop()

	again := start(t, usesStore(w.store), usesBackend(w.backend.address), tier(folder, ""))
	for _, name := range names {
		again.visit(name)
	}
	again.refused("unknown.example", 80)
	after := again.shown(names[0])
	if after.Source != "disk" || after.Fingerprint != before.Fingerprint || after.RefetchIn > before.RefetchIn ||
		after.RefetchIn < before.RefetchIn-60 || after.FetchedAt != before.FetchedAt {
		t.Errorf("before the restart %+v, after it %+v", before, after)
	}
}

// What was on disk when hellogate is killed is served after it, whenever that was; and what was flushed is not.
func TestKilledWhileItWrites(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s, b := newStore(t), newBackend(t, echo)
	g := start(t, usesStore(s), usesBackend(b.address), tier(folder, ""))
	for round := range 5 {
		kept, flushed := fmt.Sprintf("kept%d.example", round), fmt.Sprintf("flushed%d.example", round)
		g.visit(kept)
		g.visit(flushed)
		g.written(round + 2)
		g.flush(flushed)
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for i := range 50 {
				g.serves(fmt.Sprintf("r%d-%d.example", round, i))
			}
		}()
		time.Sleep(time.Duration(round) * 15 * time.Millisecond)
		g.kill()
		<-stop
		s.stop()
		g = start(t, usesStore(s), usesBackend(b.address), tier(folder, ""))
		for earlier := range round + 1 {
			g.visit(fmt.Sprintf("kept%d.example", earlier))
			g.refused(fmt.Sprintf("flushed%d.example", earlier), 80)
		}
		s.start()
		g.eventually("the store is asked again", func() bool { return g.serves("later.example") })
	}
}

// With a key file, nothing of a certificate can be read from the disk; with another key, what is there is set aside with one
// line, and clients are served from the store.
func TestDiskTierKey(t *testing.T) {
	t.Parallel()
	folder, keys := t.TempDir(), t.TempDir()
	for i, key := range []string{"first", "second"} {
		writeFile(t, filepath.Join(keys, key), strings.Repeat(fmt.Sprintf("%02x", 7+i), 32)+"\n")
		if err := os.Chmod(filepath.Join(keys, key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, tier(folder, filepath.Join(keys, "first")))
	w.visit("a.example")
	w.written(1)
	w.stop()
	if holds(t, folder, w.store.pairFor("a.example").leaf().Raw[50:90]) {
		t.Error("the certificate can be read from the disk")
	}
	w.store.stop()
	same := start(t, usesStore(w.store), usesBackend(w.backend.address), tier(folder, filepath.Join(keys, "first")))
	same.visit("a.example")
	same.stop()
	w.store.start()

	other := start(t, usesStore(w.store), usesBackend(w.backend.address), tier(folder, filepath.Join(keys, "second")))
	if lines := other.logged("set aside"); lines != 1 {
		t.Errorf("%d lines say that something was set aside:\n%s", lines, other.log)
	}
	other.visit("a.example")
	w.store.wantRequests(t, "a.example", 2)
}

// holds reports whether a file below a folder has some bytes in it.
func holds(t *testing.T, folder string, part []byte) (found bool) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		found = found || bytes.Contains(text, part)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Without a key file it is in there, or the test above proves nothing.
func TestDiskTierWithoutKey(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := newWorld(t, tier(folder, ""))
	w.visit("a.example")
	w.written(1)
	w.stop()
	if !holds(t, folder, w.store.pairFor("a.example").leaf().Raw[50:90]) {
		t.Error("the certificate is not on disk")
	}
}

// Whatever became of the file, hellogate starts, says in one line that it set it aside, and serves.
func TestDamagedDiskTier(t *testing.T) {
	for name, damage := range map[string]func(text []byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"cut short": func(text []byte) []byte { return text[:len(text)/2] },
		"garbage":   func(text []byte) []byte { return bytes.Repeat([]byte("garbage"), len(text)/7) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			w := newWorld(t, tier(folder, ""))
			w.visit("a.example")
			w.written(1)
			w.stop()
			file := filepath.Join(folder, "certificates.db")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(text), 0o600); err != nil {
				t.Fatal(err)
			}
			again := start(t, usesStore(w.store), usesBackend(w.backend.address), tier(folder, ""))
			if lines := again.logged("set aside"); lines > 1 || lines == 0 && name != "empty" {
				t.Errorf("%d lines say that it was set aside:\n%s", lines, again.log)
			}
			again.visit("a.example")
			again.visit("b.example")
			again.written(2)
		})
	}
}

// A second process that shares the folder runs without it, says so, and takes nothing from the first.
func TestDiskTierOfTwo(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := newWorld(t, tier(folder, ""))
	w.visit("a.example")
	second := start(t, usesStore(w.store), usesBackend(w.backend.address), tier(folder, ""))
	if second.logged("no disk tier") != 1 || second.disk() != nil {
		t.Errorf("the second has one, too:\n%s", second.log)
	}
	second.visit("b.example")
	w.visit("b.example")
	w.written(2)
}

// The folder is made for its owner alone, or made so, and a link in its place is refused.
func TestDiskTierFolder(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	open, link := filepath.Join(parent, "open"), filepath.Join(parent, "link")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, tier(open, ""))
	w.visit("a.example")
	w.written(1)
	for path, want := range map[string]fs.FileMode{open: 0o700, filepath.Join(open, "certificates.db"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info, err, want)
		}
	}
	g := configured(t, usesStore(w.store), usesBackend(w.backend.address), tier(link, ""))
	wantExit(t, "a link for a folder", command(t, "run", "--config", g.config), 1)
}

// A disk that is full breaks no handshake, is said once, and goes on being used when there is room again.
func TestDiskTierFull(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", folder).Run(); err != nil {
		t.Skip("can't mount a tmpfs: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(folder, syscall.MNT_DETACH) })
	w := newWorld(t, tier(folder, ""), "cache: {size: 64m}")
	ballast := filepath.Join(folder, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 3800<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		if !w.serves(fmt.Sprintf("n%d.example", i)) {
			t.Fatalf("n%d.example is not served", i)
		}
	}
	w.eventually("status says that the disk is full", func() bool { return strings.Contains(w.disk().LastError, "no space") })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.within(40*time.Second, "it is used again", func() bool { return w.disk().LastError == "" })
}

// A disk that can't be written to at all is no reason not to serve.
func TestDiskTierReadOnly(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "sealed")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "ro,mode=0700", "tmpfs", folder).Run(); err != nil {
		t.Skip("can't mount a tmpfs: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(folder, syscall.MNT_DETACH) })
	w := newWorld(t, tier(folder, ""))
	w.visit("a.example")
	if w.logged("no disk tier") != 1 {
		t.Errorf("it does not say so:\n%s", w.log)
	}
}
