package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// place is an open folder. All that happens in it goes by its descriptor, and by single names: nothing that is put in the
// way, a symbolic link least of all, leads out of it.
type place struct {
	folder *Folder
	handle *os.File
}

func (p *place) close()          { p.handle.Close() }
func (p *place) descriptor() int { return int(p.handle.Fd()) }

// top opens the folder itself.
func (f *Folder) top() (*place, error) {
	if info, err := os.Lstat(f.options.Path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("%s is a symbolic link", f.options.Path)
	}
	handle, err := os.OpenFile(f.options.Path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := f.enforceTop(handle); err != nil {
		handle.Close()
		return nil, err
	}
	return &place{folder: f, handle: handle}, nil
}

func (f *Folder) enforceTop(handle *os.File) error {
	info, err := handle.Stat()
	if err != nil {
		return err
	}
	if wide := info.Mode().Perm() & 0o022; wide != 0 {
		return fmt.Errorf("%s has the mode %04o: others could have put there what they like", f.options.Path, info.Mode().Perm())
	}
	return f.enforce(handle, fs.ModeDir, 0o700)
}

// enter opens a folder below the top.
func (f *Folder) enter(elements []string, create bool) (*place, error) {
	at, err := f.top()
	for _, element := range elements {
		if err != nil {
			return nil, err
		}
		above := at
		at, err = above.enter(element, create)
		above.close()
	}
	return at, err
}

func (p *place) enter(name string, create bool) (*place, error) {
	if create {
		switch err := unix.Mkdirat(p.descriptor(), name, 0o700); {
		case err == nil:
			if err := p.sync(); err != nil {
				return nil, err
			}
		case !errors.Is(err, unix.EEXIST):
			return nil, p.wrap("make", name, err)
		}
	}
	handle, err := p.openAt(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := p.folder.enforce(handle, fs.ModeDir, 0o700); err != nil {
		handle.Close()
		return nil, err
	}
	return &place{folder: p.folder, handle: handle}, nil
}

// open opens a file to be read.
func (p *place) open(name string) (*os.File, error) {
	file, err := p.openAt(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := p.folder.enforce(file, 0, 0o600); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// openAt opens what a name stands for, and not what it links to.
func (p *place) openAt(name string, flags int, mode uint32) (*os.File, error) {
	// A fifo would wait for its other end but for O_NONBLOCK, which means nothing to a regular file.
	descriptor, err := unix.Openat(p.descriptor(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, mode)
	if err != nil && p.links(name) {
		return nil, fmt.Errorf("%s is a symbolic link", p.path(name))
	}
	if err != nil {
		return nil, p.wrap("open", name, err)
	}
	_ = unix.SetNonblock(descriptor, false)
	return os.NewFile(uintptr(descriptor), p.path(name)), nil
}

func (p *place) links(name string) bool {
	var stat unix.Stat_t
	return unix.Fstatat(p.descriptor(), name, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil && stat.Mode&unix.S_IFMT == unix.S_IFLNK
}

// enforce checks of what was opened that it is of a type and ours, and takes from others what they may do with it.
func (f *Folder) enforce(opened *os.File, kind, mode fs.FileMode) error {
	info, err := opened.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Type() != kind {
		return fmt.Errorf("%s is not what it should be: %s", opened.Name(), info.Mode())
	}
	if owner, known := info.Sys().(*syscall.Stat_t); known && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d, not to us (%d)", opened.Name(), owner.Uid, os.Geteuid())
	}
	was := info.Mode().Perm()
	if was&^mode == 0 {
		return nil
	}
	if err := opened.Chmod(was & mode); err != nil {
		return fmt.Errorf("take from others what %04o lets them do with %s: %w", was, opened.Name(), err)
	}
	if info, err = opened.Stat(); err == nil && info.Mode().Perm()&^mode != 0 {
		return fmt.Errorf("%s has the mode %04o, which its file system does not let us change", opened.Name(), was)
	}
	f.options.Log.Warn().Str("path", opened.Name()).Str("mode", fmt.Sprintf("%04o", was)).
		Str("now", fmt.Sprintf("%04o", was&mode)).Msg("acme folder: others could read this")
	return err
}

// write writes a new file, to the disk. On an error it may be there all the same.
func (p *place) write(name string, content []byte) error {
	file, err := p.openAt(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	// A network file system tells of a full disk only now, maybe.
	return errors.Join(err, file.Close())
}

// entries returns what is in the folder; nothing if it was removed since it was opened.
func (p *place) entries() ([]fs.DirEntry, error) {
	entries, err := p.handle.ReadDir(-1)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return entries, err
}

// sync brings to the disk which names there are in the folder.
func (p *place) sync() error {
	err := p.handle.Sync()
	// Some network file systems can't, and need not.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

func (p *place) path(name string) string { return filepath.Join(p.handle.Name(), name) }

func (p *place) wrap(operation, name string, err error) error {
	return &fs.PathError{Op: operation, Path: p.path(name), Err: err}
}
