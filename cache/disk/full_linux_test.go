package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of some size until the test ends, and returns its folder and what changes its options.
func smallDisk(t *testing.T, size string) (dir string, remount func(flags uintptr, options string)) {
	t.Helper()
	asRoot(t)
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mounting takes more than root here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return dir, func(flags uintptr, options string) {
		t.Helper()
		must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, options))
	}
}

func TestDiskFull(t *testing.T) {
	both(t, func(t *testing.T, encrypted bool) {
		dir, remount := smallDisk(t, "1m")
		l := &lab{t: t, pace: quick(), log: &lines{}}
		l.options = Options{Dir: filepath.Join(dir, "tier"), Log: zerolog.New(l.log)}
		if encrypted {
			l.options.KeyFile = writeKey(t, 1)
		}
		l.open()
		defer func() { l.Close() }()
		written := 0
		for ; written < 5000; written++ {
			l.Put(sample(written))
			if err := l.trySync(); err != nil {
				if !strings.Contains(err.Error(), "no space left") {
					t.Fatal(err)
				}
				break
			}
		}
		if written < 100 || written == 5000 {
			t.Fatalf("full after %d records", written)
		}
		for i := range written + 1 {
			l.holds(sample(i))
		}
		l.Delete(sample(3).Key)
		for i := range 100 {
			l.Put(sample(6000 + i))
		}
		l.lacks(sample(3).Key)
		if !l.Stats().Failing {
			t.Fatal("not failing")
		}
		l.log.has(t, 1, "can't be written")
		remount(0, "size=64m")
		l.sync()
		l.log.has(t, 1, "can't be written")
		l.log.has(t, 1, "can be written again")
		l.reopen(nil)
		l.lacks(sample(3).Key)
		for i := range written + 1 {
			if i != 3 {
				l.holds(sample(i))
			}
		}
		for i := range 100 {
			l.holds(sample(6000 + i))
		}
		l.log.has(t, 0, "set aside")
	})
}

// Opened on a full disk, what is there can be read; everything can be deleted, for that takes no room.
func TestOpenOnFullDisk(t *testing.T) {
	dir, _ := smallDisk(t, "1m")
	l := &lab{t: t, pace: quick(), log: &lines{}}
	l.options = Options{Dir: filepath.Join(dir, "tier"), Log: zerolog.New(l.log)}
	l.open()
	defer func() { l.Close() }()
	records := l.fill(50)
	l.reopen(func() {
		ballast, err := os.Create(filepath.Join(dir, "ballast"))
		must(t, err)
		defer ballast.Close()
		for err == nil {
			_, err = ballast.Write(make([]byte, 4096))
		}
	})
	for _, record := range records {
		l.holds(record)
	}
	l.DeleteAll()
	l.sync()
	l.lacks(records[0].Key)
}

func TestNewOnFullDisk(t *testing.T) {
	dir, _ := smallDisk(t, "8k")
	tier, err := Open(Options{Dir: filepath.Join(dir, "tier")})
	if err == nil {
		tier.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("got %v", err)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir, remount := smallDisk(t, "8m")
	l := &lab{t: t, pace: quick(), log: &lines{}}
	l.options = Options{Dir: filepath.Join(dir, "tier"), Log: zerolog.New(l.log)}
	l.open()
	defer func() { l.Close() }()
	records := l.fill(20)
	must(t, l.Close())
	remount(unix.MS_RDONLY, "")
	if tier, err := Open(l.options); err == nil || !strings.Contains(err.Error(), "read-only") {
		if err == nil {
			tier.Close()
		}
		t.Fatalf("got %v", err)
	}
	remount(0, "")
	l.open()
	l.holds(records[0])
	if aside := l.aside(); len(aside) > 0 {
		t.Fatal(fmt.Sprint("set aside: ", aside))
	}
}
