package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"hellogate/control/config"
)

// Adopt is [Listen] with what another process has open: its listening socket, and the file that LockFile returned there. It takes
// both over. The socket's file and the lock are that process' until Own is called; where the file is gone, there is a new one.
func Adopt(options SocketOptions, listener *net.UnixListener, lockFile *os.File) (*Socket, error) {
	socket, err := adopt(options, listener, &lock{file: lockFile, path: options.Path + ".lock", left: true})
	if err != nil {
		listener.Close()
		lockFile.Close()
		return nil, fmt.Errorf("control socket %s: %w", options.Path, err)
	}
	return socket, nil
}

func adopt(options SocketOptions, listener *net.UnixListener, held *lock) (*Socket, error) {
	if err := config.CheckSocket(options.Path); err != nil {
		return nil, err
	}
	group, err := groupID(options.Group)
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	socket := &Socket{UnixListener: listener, options: options, lock: held, left: true}
	if socket.file, err = os.Lstat(options.Path); errors.Is(err, fs.ErrNotExist) {
		if socket, err = replace(options, group); err == nil {
			socket.lock = held
			err = listener.Close()
		}
	}
	return socket, err
}

// LockFile is what a process that is to adopt the socket needs besides it.
func (s *Socket) LockFile() *os.File { return s.lock.file }

// Leave has Close leave the file and the lock to a process that has adopted the socket.
func (s *Socket) Leave() { s.left, s.lock.left = true, true }

// Own takes the file and the lock over from the process that had them, and gives the file the mode and the group that are
// configured now. With an error, too, they are taken over.
func (s *Socket) Own() error {
	s.left, s.lock.left = false, false
	if err := s.own(); err != nil {
		return fmt.Errorf("control socket %s: %w", s.options.Path, err)
	}
	return nil
}

func (s *Socket) own() error {
	if err := write(s.lock.file); err != nil {
		return err
	}
	group, err := groupID(s.options.Group)
	if err != nil || !s.isThere() {
		return err
	}
	return permit(s.options.Path, s.options.Mode, group)
}
