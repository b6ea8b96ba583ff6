package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock is a file beside the control socket that one process at a time holds locked: between two that start
// at once, only one may find the socket stale and replace it.
type lock struct {
	file *os.File
	path string
	left bool // to another process
}

// acquire takes the lock at path, or says which process has it.
func acquire(path string) (*lock, error) {
	for {
		file, err := open(path)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			defer file.Close()
			return nil, held(file, err)
		}
		// Whoever held it may have removed the file between our open and our lock.
		if !current(file, path) {
			file.Close()
			continue
		}
		if err := write(file); err != nil {
			file.Close()
			return nil, err
		}
		return &lock{file: file, path: path}, nil
	}
}

// open opens or makes the file. What somebody else put there, as a link to a file of ours, is refused.
func open(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || int(stat.Uid) != os.Geteuid() || stat.Nlink > 1 {
		file.Close()
		return nil, fmt.Errorf("%s is not a file of this user", path)
	}
	return file, nil
}

func held(file *os.File, err error) error {
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	text, _ := io.ReadAll(io.LimitReader(file, 20))
	pid := strings.TrimSpace(string(text))
	if pid == "" {
		pid = "unknown"
	}
	return fmt.Errorf("is in use by a running hellogate (pid %s)", pid)
}

func current(file *os.File, path string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}

func write(file *os.File) error {
	text := fmt.Appendf(nil, "%d\n", os.Getpid())
	// At its start, since another process may have written with this descriptor, and never empty for who reads it.
	if _, err := file.WriteAt(text, 0); err != nil {
		return err
	}
	return file.Truncate(int64(len(text)))
}

// release removes the file while it is still locked, then lets go of it; or leaves it to the process that has it, too.
func (l *lock) release() {
	if !l.left {
		os.Remove(l.path)
	}
	l.file.Close()
}
