package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	fileName    = "certificates.db"
	asidePrefix = fileName + ".aside-"
	asideFormat = "20060102-150405"
	keepAside   = 3

	// lockWait is how long a process that is about to end is waited for.
	lockWait  = 500 * time.Millisecond
	lockRetry = 20 * time.Millisecond
)

// folder is the folder of a tier, open and locked. All that happens in it goes by the descriptor: what stands at its path
// later doesn't matter.
type folder struct {
	path   string
	handle *os.File
}

// openFolder makes the folder if it is missing, enforces that nobody else has a say in it, and locks it.
func openFolder(path string) (*folder, error) {
	path = filepath.Clean(path)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the disk tier's folder: %w", err)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("open the disk tier's folder: %s is a symbolic link", path)
	}
	handle, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the disk tier's folder: %w", err)
	}
	d := &folder{path: path, handle: handle}
	if err = enforce(handle, path, fs.ModeDir, 0o700); err == nil {
		err = d.lock()
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// enforce checks of what was opened that it is of a type and ours, and gives it a mode.
func enforce(opened *os.File, path string, kind, mode fs.FileMode) error {
	info, err := opened.Stat()
	if err != nil {
		return fmt.Errorf("open the disk tier: %w", err)
	}
	if info.Mode().Type() != kind {
		return fmt.Errorf("open the disk tier: %s is a %s", path, describe(info.Mode()))
	}
	if owner, known := info.Sys().(*syscall.Stat_t); known && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("open the disk tier: %s belongs to uid %d, not to us (%d)", path, owner.Uid, os.Geteuid())
	}
	if info.Mode().Perm() == mode {
		return nil
	}
	if err := opened.Chmod(mode); err != nil {
		return fmt.Errorf("open the disk tier: give %s the mode %04o: %w", path, mode, err)
	}
	return nil
}

func describe(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "folder"
	case mode.IsRegular():
		return "regular file"
	}
	return "special file (" + mode.Type().String() + ")"
}

// lock takes the folder for this process. The lock ends with the descriptor, however the process ends.
func (d *folder) lock() error {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockRetry) {
		err := unix.Flock(int(d.handle.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock the disk tier's folder %s: %w", d.path, err)
		case time.Now().After(deadline):
			return fmt.Errorf("lock the disk tier's folder %s: %w", d.path, ErrInUse)
		}
	}
}

func (d *folder) close() { d.handle.Close() }

// file returns the path of the database, for people.
func (d *folder) file() string { return filepath.Join(d.path, fileName) }

// open opens the database, or makes an empty file if there is none.
func (d *folder) open() (*os.File, error) {
	// A fifo would wait for its other end but for O_NONBLOCK, which means nothing to a regular file.
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	descriptor, err := unix.Openat(int(d.handle.Fd()), fileName, flags, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("open the disk tier: %s is a symbolic link", d.file())
	}
	if err != nil {
		return nil, fmt.Errorf("open the disk tier: %w", &fs.PathError{Op: "open", Path: d.file(), Err: err})
	}
	_ = unix.SetNonblock(descriptor, false)
	opened := os.NewFile(uintptr(descriptor), d.file())
	if err := enforce(opened, d.file(), 0, 0o600); err != nil {
		opened.Close()
		return nil, err
	}
	return opened, nil
}

// setAside gives the database a name that says when it was, and returns that. Of those before, the newest are kept.
func (d *folder) setAside(now time.Time) (string, error) {
	name, err := d.asideName(now)
	if err != nil {
		return "", err
	}
	at := int(d.handle.Fd())
	if err := unix.Renameat(at, fileName, at, name); err != nil && !errors.Is(err, unix.ENOENT) {
		return "", fmt.Errorf("set the disk tier's file %s aside: %w", d.file(), err)
	}
	if err := d.prune(); err != nil {
		return "", err
	}
	return name, d.sync()
}

// asideName finds a name that isn't taken: files may be set aside twice a second.
func (d *folder) asideName(now time.Time) (string, error) {
	taken, err := d.aside()
	if err != nil {
		return "", err
	}
	for {
		name := asidePrefix + now.UTC().Format(asideFormat)
		if !slices.Contains(taken, name) {
			return name, nil
		}
		now = now.Add(time.Second)
	}
}

// aside returns the names of what was set aside, the oldest first.
func (d *folder) aside() ([]string, error) {
	if _, err := d.handle.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("list the disk tier's folder %s: %w", d.path, err)
	}
	names, err := d.handle.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list the disk tier's folder %s: %w", d.path, err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, asidePrefix) })
	slices.Sort(names)
	return names, nil
}

// prune removes what was set aside but for the newest.
func (d *folder) prune() error {
	names, err := d.aside()
	if err != nil {
		return err
	}
	for ; len(names) > keepAside; names = names[1:] {
		if err := d.unlink(names[0]); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the database. It is no error if there is none.
func (d *folder) remove() error {
	if err := d.unlink(fileName); err != nil {
		return err
	}
	return d.sync()
}

func (d *folder) unlink(name string) error {
	if err := unix.Unlinkat(int(d.handle.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the disk tier's file %s: %w", filepath.Join(d.path, name), err)
	}
	return nil
}

// sync has the folder's entries on the disk.
func (d *folder) sync() error {
	if err := d.handle.Sync(); err != nil {
		return fmt.Errorf("sync the disk tier's folder %s: %w", d.path, err)
	}
	return nil
}
