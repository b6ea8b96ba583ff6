package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// makeDirectory makes the default socket's directory, for its owner alone (and to be passed through by the
// group, if there is one), or makes sure that one that is there can't be tampered with by others.
func makeDirectory(path string, group int) error {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrNotExist) { // no /run on this system
		err = os.MkdirAll(path, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := ours(path); err != nil {
		return err
	}
	if group < 0 {
		return nil
	}
	if err := os.Chown(path, -1, group); err != nil {
		return err
	}
	return os.Chmod(path, 0o710)
}

// ours refuses a directory that another user made, or may write to, in a place that all may write to.
func ours(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", path)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("directory %s belongs to another user, or others may write to it", path)
	}
	return nil
}
