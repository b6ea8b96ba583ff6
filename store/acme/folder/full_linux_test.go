package folder

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// mounted runs a test with a file system of its own.
func mounted(t *testing.T, size string) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "mount")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skipf("mount a tmpfs, for which it takes root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(at, 0) })
	return at
}

// TestFullDisk: an order would fail at its end; the probe says so before.
func TestFullDisk(t *testing.T) {
	f := open(t, mounted(t, "256k"))
	save(t, f, "kept", "old")
	if err := f.Writable(context.Background()); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(f.Path(), "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	wantError(t, f.Writable(context.Background()), "no space left on device")
	wantError(t, f.Save(context.Background(), "kept", make([]byte, 40_000)), "no space left on device")
	wantContent(t, f, "kept", "old")
	if left, _ := os.ReadDir(filepath.Join(f.Path(), temporary)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestReadOnly: what is there can be read, and why nothing can be written is said.
func TestReadOnly(t *testing.T) {
	at := mounted(t, "256k")
	save(t, open(t, at), "kept", "old")
	if err := syscall.Mount("", at, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	f := open(t, at)
	wantContent(t, f, "kept", "old")
	wantError(t, f.Writable(context.Background()), "read-only file system")
	wantError(t, f.Save(context.Background(), "kept", nil), "read-only file system")
	_, _, err := f.Lock(context.Background(), "a")
	wantError(t, err, "read-only file system")
}
