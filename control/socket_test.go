package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func listenAt(t *testing.T, path string) *Socket {
	t.Helper()
	socket, err := Listen(SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

func TestSocketModes(t *testing.T) {
	for _, c := range []struct {
		options SocketOptions
		want    fs.FileMode
	}{
		{SocketOptions{}, 0o600},
		{SocketOptions{Mode: 0o640}, 0o640},
		{SocketOptions{Group: fmt.Sprint(os.Getgid())}, 0o660},
		{SocketOptions{Group: fmt.Sprint(os.Getgid()), Mode: 0o600}, 0o600},
	} {
		c.options.Path = socketPath(t)
		socket, err := Listen(c.options)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(c.options.Path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != c.want|fs.ModeSocket {
			t.Errorf("%+v: mode %v, want %v", c.options, got, c.want)
		}
		socket.Close()
	}
}

func TestNothingIsLeft(t *testing.T) {
	path := socketPath(t)
	listenAt(t, path).Close()
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	os.WriteFile(path+".lock", []byte("99999\n"), 0o600) // as a process leaves it that was killed
	listenAt(t, path)
	connect(t, path)
}

func TestLiveSocketIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	listenAt(t, path)
	_, err := Listen(SocketOptions{Path: path})
	if err == nil {
		t.Fatal("taken over")
	}
	want := fmt.Sprintf("control socket %s: is in use by a running hellogate (pid %d)", path, os.Getpid())
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	connect(t, path)
}

func TestSocketOfAnotherProgramIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(SocketOptions{Path: path}); err == nil || !strings.Contains(err.Error(), "in use by a running process") {
		t.Errorf("got %v", err)
	}
	connect(t, path)
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(path string) error
	}{
		{"file", func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) }},
		{"directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"link to a file", func(path string) error { return os.Symlink("/etc/hosts", path) }},
		{"link to nothing", func(path string) error { return os.Symlink(path+".elsewhere", path) }},
		{"link to a stale socket", func(path string) error {
			stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + "2"})
			if err != nil {
				return err
			}
			stale.SetUnlinkOnClose(false)
			stale.Close()
			return os.Symlink(path+"2", path)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := socketPath(t)
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Listen(SocketOptions{Path: path}); err == nil || !strings.Contains(err.Error(), "is not a socket") {
				t.Errorf("got %v", err)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("replaced: %v", err)
			}
			if _, err := os.Lstat(path + ".lock"); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the lock was left")
			}
		})
	}
}

func TestLockThatIsALinkIsNotFollowed(t *testing.T) {
	path := socketPath(t)
	victim := filepath.Join(t.TempDir(), "victim")
	for _, link := range []func(string, string) error{os.Symlink, os.Link} {
		os.WriteFile(victim, []byte("precious"), 0o600)
		if err := link(victim, path+".lock"); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(SocketOptions{Path: path}); err == nil {
			t.Error("followed")
		}
		if text, _ := os.ReadFile(victim); string(text) != "precious" {
			t.Errorf("the victim is %q", text)
		}
		os.Remove(path + ".lock")
	}
}

func TestCloseLeavesAnothersSocket(t *testing.T) {
	path := socketPath(t)
	socket := listenAt(t, path)
	os.Remove(path)
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	socket.Close()
	connect(t, path)
}

// Of many that start at once over a stale socket, one gets it, and it stays with that one.
func TestOneOfManyGetsIt(t *testing.T) {
	for range 20 {
		path := socketPath(t)
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		stale.Close()
		var sockets []*Socket
		var mu sync.Mutex
		var starters sync.WaitGroup
		for range 8 {
			starters.Go(func() {
				if socket, err := Listen(SocketOptions{Path: path}); err == nil {
					mu.Lock()
					sockets = append(sockets, socket)
					mu.Unlock()
				}
			})
		}
		starters.Wait()
		if len(sockets) != 1 {
			t.Fatalf("%d got it", len(sockets))
		}
		connect(t, path).Close()
		sockets[0].Close()
	}
}

// S10: whoever watches for the socket never finds it open to others, not for a moment.
func TestNoWindow(t *testing.T) {
	path := socketPath(t)
	os.Chmod(filepath.Dir(path), 0o755)
	var stop atomic.Bool
	var open atomic.Int64
	var watchers sync.WaitGroup
	watchers.Go(func() {
		for !stop.Load() {
			if info, err := os.Lstat(path); err == nil && info.Mode().Perm() != 0o600 {
				open.Add(1)
			}
		}
	})
	for range 200 {
		socket, err := Listen(SocketOptions{Path: path})
		if err != nil {
			t.Error(err)
			break
		}
		socket.Close()
	}
	stop.Store(true)
	watchers.Wait()
	if open.Load() > 0 {
		t.Errorf("seen open %d times", open.Load())
	}
}

func TestPathThatIsTooLong(t *testing.T) {
	path := filepath.Join(filepath.Dir(socketPath(t)), strings.Repeat("x", 120))
	_, err := Listen(SocketOptions{Path: path})
	if err == nil || !strings.Contains(err.Error(), "bytes long: a socket's path has at most 103") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// The configuration takes these, so they have to work: for whoever listens, and for whoever connects.
func TestLongestPath(t *testing.T) {
	const most = 103
	for _, name := range []string{"s", "a.sck", "control.sock", strings.Repeat("n", 60)} {
		if len(name) < len("a.sck") && runtime.GOOS != "linux" {
			continue // addresses have no room to spare
		}
		t.Run(name, func(t *testing.T) {
			base := filepath.Dir(socketPath(t))
			directory := filepath.Join(base, strings.Repeat("d", most-len(base)-len(name)-2))
			if err := os.Mkdir(directory, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(directory, name)
			if len(path) != most {
				t.Fatalf("%d bytes", len(path))
			}
			listenAt(t, path)
			connect(t, path)
			if left, _ := os.ReadDir(directory); len(left) != 2 { // with its lock
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestDirectoryOfAnother(t *testing.T) {
	base := t.TempDir()
	open := filepath.Join(base, "open")
	os.Mkdir(open, 0o700)
	os.Chmod(open, 0o777)
	link := filepath.Join(base, "link")
	os.Symlink(base, link)
	file := filepath.Join(base, "file")
	os.WriteFile(file, nil, 0o600)
	for _, path := range []string{open, link, file} {
		if err := makeDirectory(path, -1); err == nil {
			t.Errorf("%s: taken", path)
		}
	}
	fresh := filepath.Join(base, "fresh")
	for range 2 {
		if err := makeDirectory(fresh, -1); err != nil {
			t.Error(err)
		}
	}
	if info, _ := os.Stat(fresh); info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestAcceptedConnectionsKnowTheirPeer(t *testing.T) {
	socket := listenAt(t, socketPath(t))
	connect(t, socket.Path())
	socket.SetDeadline(time.Now().Add(5 * time.Second))
	conn, err := socket.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if peer, ok := credentials(conn); ok && (peer.uid != os.Getuid() || peer.pid != os.Getpid()) {
		t.Errorf("got %+v", peer)
	}
}
