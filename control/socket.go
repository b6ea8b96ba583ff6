package control

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"hellogate/control/config"
)

// probeTimeout bounds the question whether anybody answers on a socket that is already there.
const probeTimeout = time.Second

// SocketOptions say where the control socket is and who may use it.
type SocketOptions struct {
	Path  string
	Mode  fs.FileMode // zero: 0600, or 0660 with a group
	Group string      // name or number; empty: the process's own
}

// Socket is the listening control socket. Close it to have it taken away.
type Socket struct {
	*net.UnixListener
	options SocketOptions
	file    os.FileInfo
	lock    *lock
	left    bool // to another process
	closing sync.Once
}

// Listen opens the control socket at options.Path. It has its mode and group before anybody can see it; a
// stale one is replaced, and one that a process still answers on is an error. A symbolic link, or anything
// else that isn't a socket, is left alone and is an error. The directory is made when it is that of
// [config.DefaultSocket].
func Listen(options SocketOptions) (*Socket, error) {
	socket, err := listen(options)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", options.Path, err)
	}
	return socket, nil
}

func listen(options SocketOptions) (*Socket, error) {
	if err := config.CheckSocket(options.Path); err != nil {
		return nil, err
	}
	group, err := groupID(options.Group)
	if err != nil {
		return nil, err
	}
	if options.Path == config.DefaultSocket() {
		if err := makeDirectory(filepath.Dir(options.Path), group); err != nil {
			return nil, err
		}
	}
	lock, err := acquire(options.Path + ".lock")
	if err != nil {
		return nil, err
	}
	socket, err := replace(options, group)
	if err != nil {
		lock.release()
		return nil, err
	}
	socket.lock = lock
	return socket, nil
}

// replace binds beside the path and moves the new socket over what is there. Its caller holds the lock.
func replace(options SocketOptions, group int) (*Socket, error) {
	if err := vacant(options.Path); err != nil {
		return nil, err
	}
	// chmod after bind would leave a moment in which others may connect, and umask is the whole process's.
	private, err := makePrivate(filepath.Dir(options.Path))
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	bound := filepath.Join(private, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: bound, Net: "unix"})
	if err != nil {
		return nil, plain(err)
	}
	listener.SetUnlinkOnClose(false)
	file, err := publish(bound, options, group)
	if err != nil {
		listener.Close()
		return nil, err
	}
	return &Socket{UnixListener: listener, options: options, file: file}, nil
}

// makePrivate makes a directory below parent that nobody else may look into. Its name is short, since a socket's path
// in it may not be longer than the kernel allows, which is hardly more than the configuration does.
func makePrivate(parent string) (path string, err error) {
	const digits, count = 36, 36 * 36
	start := rand.IntN(count)
	for i := range count {
		n := (start + i) % count
		path = filepath.Join(parent, "."+strconv.FormatInt(int64(n/digits), digits)+strconv.FormatInt(int64(n%digits), digits))
		if err = os.Mkdir(path, 0o700); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return path, err
}

// publish gives a bound socket its group and mode and moves it to its path.
func publish(bound string, options SocketOptions, group int) (os.FileInfo, error) {
	if err := permit(bound, options.Mode, group); err != nil {
		return nil, err
	}
	if err := os.Rename(bound, options.Path); err != nil {
		return nil, err
	}
	return os.Lstat(options.Path)
}

// permit gives a socket its group, if there is one, and mode.
func permit(path string, mode fs.FileMode, group int) error {
	if group >= 0 {
		if err := os.Chown(path, -1, group); err != nil {
			return err
		}
	}
	switch {
	case mode == 0 && group >= 0:
		mode = 0o660
	case mode == 0:
		mode = 0o600
	}
	return os.Chmod(path, mode)
}

// vacant says whether a socket may be put at path: nothing is there, or a socket that nobody answers on.
func vacant(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("is there and is not a socket")
	}
	conn, err := net.DialTimeout("unix", path, probeTimeout)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("is there, and can't be asked whether it is in use: %w", plain(err))
	}
	defer conn.Close()
	if peer, ok := credentials(conn); ok {
		return fmt.Errorf("is in use by a running process (pid %d)", peer.pid)
	}
	return errors.New("is in use by a running process")
}

// Close stops listening and removes the socket file, if it is still the one that Listen made, and is not another process'. It
// may be called more than once.
func (s *Socket) Close() (err error) {
	s.closing.Do(func() { err = s.close() })
	return err
}

func (s *Socket) close() error {
	if !s.left && s.isThere() {
		os.Remove(s.options.Path)
	}
	err := s.UnixListener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // the HTTP server closed it first
	}
	s.lock.release()
	if s.left {
		s.clear()
	}
	return err
}

// clear takes away what was left to another process that does not want it: its control socket may be somewhere else.
func (s *Socket) clear() {
	free, err := acquire(s.options.Path + ".lock")
	if err != nil {
		return
	}
	if s.isThere() {
		os.Remove(s.options.Path)
	}
	free.release()
}

// isThere reports whether the file at the path is the socket's.
func (s *Socket) isThere() bool {
	info, err := os.Lstat(s.options.Path)
	return err == nil && os.SameFile(info, s.file)
}

// Path is where the socket is.
func (s *Socket) Path() string { return s.options.Path }

func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if id, err := strconv.Atoi(group); err == nil && id >= 0 {
		return id, nil
	}
	found, err := user.LookupGroup(group)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(found.Gid)
}

// plain takes the temporary path out of an error of package net: the caller says which path it was about.
func plain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
