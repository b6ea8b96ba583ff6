package control

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// handOver gives what another process would get of a socket.
func handOver(t *testing.T, from *Socket) (*net.UnixListener, *os.File) {
	t.Helper()
	file, err := from.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(from.LockFile().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return listener.(*net.UnixListener), os.NewFile(uintptr(fd), "control.lock")
}

func adoptFrom(t *testing.T, from *Socket, options SocketOptions) *Socket {
	t.Helper()
	listener, lockFile := handOver(t, from)
	adopted, err := Adopt(options, listener, lockFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { adopted.Close() })
	return adopted
}

func wantLeft(t *testing.T, path string, want ...string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range left {
		names = append(names, entry.Name())
	}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("there are %q, want %q", names, want)
	}
}

func TestAdopt(t *testing.T) {
	const socket, lock = "control.sock", "control.sock.lock"
	t.Run("upgrade", func(t *testing.T) {
		path := socketPath(t)
		old := listenAt(t, path)
		adopted := adoptFrom(t, old, SocketOptions{Path: path, Mode: 0o640})
		old.LockFile().WriteString("a longer text than a process id\n")
		old.Leave()
		if err := old.Close(); err != nil {
			t.Error(err)
		}
		if err := adopted.Own(); err != nil {
			t.Error(err)
		}
		connect(t, path)
		if text, _ := os.ReadFile(path + ".lock"); string(text) != fmt.Sprintf("%d\n", os.Getpid()) {
			t.Errorf("the lock says %q", text)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != 0o640|fs.ModeSocket {
			t.Errorf("%v, %v: want the mode that is configured now", info, err)
		}
		if third, err := Listen(SocketOptions{Path: path}); err == nil {
			third.Close()
			t.Error("another process may have it, too")
		}
		adopted.Close()
		wantLeft(t, path)
	})
	t.Run("the new process fails", func(t *testing.T) {
		path := socketPath(t)
		old := listenAt(t, path)
		adopted := adoptFrom(t, old, SocketOptions{Path: path})
		adopted.Close()
		connect(t, path)
		wantLeft(t, path, socket, lock)
		old.Close()
		wantLeft(t, path)
	})
	t.Run("the new process has another", func(t *testing.T) {
		path := socketPath(t)
		old := listenAt(t, path)
		old.Leave()
		old.Close()
		wantLeft(t, path)
	})
	t.Run("the file is gone", func(t *testing.T) {
		path := socketPath(t)
		old := listenAt(t, path)
		os.Remove(path)
		adopted := adoptFrom(t, old, SocketOptions{Path: path})
		connect(t, path)
		old.Leave()
		old.Close()
		if err := adopted.Own(); err != nil {
			t.Error(err)
		}
		wantLeft(t, path, socket, lock)
		adopted.Close()
		wantLeft(t, path)
	})
}
