package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mounted makes the storage a file system of its own.
func (p *pebble) mounted(options string) {
	p.t.Helper()
	if err := os.Mkdir(p.storage, 0o700); err != nil {
		p.t.Fatal(err)
	}
	if output, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", p.storage).CombinedOutput(); err != nil {
		p.t.Skipf("can't mount a tmpfs: %v: %s", err, output)
	}
	p.t.Cleanup(func() { syscall.Unmount(p.storage, syscall.MNT_DETACH) })
}

// Where nothing can be kept nothing is ordered, and it is said why; what is there goes on being served.
func TestACMEStorageReadOnly(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	p.mounted("size=4m,mode=0700")
	g := p.gate("names: [a.example], on_demand: [.example]")
	p.awaitServed(g, "a.example")
	g.stop()
	remount(t, p.storage, "remount,ro")
	orders := p.asked(stepOrder)
	g = p.again(g)
	p.leaf(g, "a.example")
	if g.serves("b.example", p.trusted) {
		t.Error("a name was served that could not be kept")
	}
	got := g.ctl("acme", "renew", "a.example", "--force")
	if wantExit(t, "renew", got, 1); !strings.Contains(got.stderr, "read-only") {
		t.Errorf("it does not say why: %s", got.stderr)
	}
	g.await("line about the storage", func(e entry) bool { return e.text("level") == "error" && contains(e, "read-only") })
	if got := p.asked(stepOrder); got != orders {
		t.Errorf("%d orders were made", got-orders)
	}
	p.leaf(g, "a.example")
}

// A storage that is full is found out before anything is ordered, and used again when there is room.
func TestACMEStorageFull(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	p.mounted("size=256k,mode=0700")
	g := p.gate("names: [a.example], on_demand: [.example]")
	p.awaitServed(g, "a.example")
	ballast := filepath.Join(p.storage, "ballast")
	fillUp(t, ballast)
	orders := p.asked(stepOrder)
	if g.serves("b.example", p.trusted) {
		t.Error("a name was served that could not be kept")
	}
	g.await("line about the storage", func(e entry) bool { return e.text("level") == "error" && contains(e, "no space") })
	if got := p.asked(stepOrder); got != orders {
		t.Errorf("%d orders were made", got-orders)
	}
	p.leaf(g, "a.example")
	p.stored("a.example")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wantExit(t, "renew", g.ctl("acme", "renew", "a.example", "--force"), 0, "renewed")
	p.leaf(g, "c.example")
}

// fillUp writes until there is no room.
func fillUp(t testing.TB, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
}

func remount(t testing.TB, folder, options string) {
	t.Helper()
	if output, err := exec.Command("mount", "-o", options, folder).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}
