//go:build !noepoll

package socket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// spliced are two connections of one strand, and their peers.
func spliced(t *testing.T) (s *Strand, from, to *conn, sender, receiver *net.TCPConn) {
	t.Helper()
	g := startGroup(t)
	a, s, sender0 := pairOf(t, g, "tcp", "127.0.0.1:0")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := g.Dial(t.Context(), s, a, Target{Address: l.Addr().String(), Within: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	receiver0, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return s, a.(*conn), b.(*conn), sender0.(*net.TCPConn), prepare(t, receiver0).(*net.TCPConn)
}

// pipesHeld is how many pipes somebody uses.
func pipesHeld() int { return int(pipesOpen.Load()) - len(pipes) }

// emptyPool has no pipe be kept for the next.
func emptyPool() {
	for {
		select {
		case p := <-pipes:
			_ = closeFD(p.in)
			_ = closeFD(p.out)
			pipesOpen.Add(-1)
		default:
			return
		}
	}
}

// spliceAll moves all that comes, as a splice does, and returns how the stream ended.
func spliceAll(t *testing.T, s *Strand, from, to *conn) (moved int, readErr, writeErr error) {
	t.Helper()
	until(t, s, func() bool {
		for {
			if writeErr = to.Flush(); writeErr != nil || to.Queued() > 0 {
				return writeErr != nil
			}
			var n int
			n, readErr, writeErr = to.Splice(from)
			if moved += n; readErr != nil || writeErr != nil {
				return readErr != ErrNothingYet || writeErr != nil
			}
		}
	})
	return moved, readErr, writeErr
}

// All arrives as it was sent, however the receiver takes it, and the pipe goes back.
func TestSplice(t *testing.T) {
	for _, test := range []struct {
		name  string
		pause time.Duration // before the receiver takes anything
	}{
		{"to one who takes it", 0},
		{"to one who lets it wait", 200 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, from, to, sender, receiver := spliced(t)
			data := filled(12 << 20)
			go func() {
				mustWrite(t, sender, string(data))
				_ = sender.CloseWrite()
			}()
			got := make(chan []byte, 1)
			go func() {
				time.Sleep(test.pause)
				all, err := io.ReadAll(receiver)
				if err != nil {
					t.Error(err)
				}
				got <- all
			}()
			moved, readErr, writeErr := spliceAll(t, s, from, to)
			if moved != len(data) || readErr != io.EOF || writeErr != nil {
				t.Errorf("moved %d of %d: %v, %v", moved, len(data), readErr, writeErr)
			}
			flushed(t, s, to)
			if err := to.CloseWrite(); err != nil {
				t.Error(err)
			}
			if all := <-got; !bytes.Equal(all, data) {
				t.Errorf("%d bytes arrived", len(all))
			}
			if held := pipesHeld(); held != 0 {
				t.Errorf("%d pipes are held", held)
			}
		})
	}
}

// fill has more come than the receiver takes.
func fill(t *testing.T, s *Strand, from, to *conn, sender *net.TCPConn) {
	t.Helper()
	go func() { _, _ = sender.Write(make([]byte, 64<<20)) }()
	until(t, s, func() bool {
		for to.Queued() == 0 {
			if _, err, _ := to.Splice(from); err != nil {
				return false
			}
		}
		return true
	})
}

// What waits in the pipe is queued like anything else: what is written goes behind it, what is closed takes it along.
func TestSpliceQueues(t *testing.T) {
	t.Run("a write goes behind", func(t *testing.T) {
		s, from, to, sender, receiver := spliced(t)
		fill(t, s, from, to, sender)
		held := to.piped()
		if held == 0 || to.Queued() != held {
			t.Errorf("%d are queued, %d in the pipe", to.Queued(), held)
		}
		if n, err := to.Write([]byte("last")); n != 4 || err != nil || to.Queued() != held+4 {
			t.Errorf("wrote %d of 4, %d queued: %v", n, to.Queued(), err)
		}
		got := make(chan []byte, 1)
		go func() {
			all, _ := io.ReadAll(receiver)
			got <- all
		}()
		flushed(t, s, to)
		_ = to.CloseWrite()
		if all := <-got; len(all) < held || !bytes.HasSuffix(all, []byte("\x00last")) {
			t.Errorf("%d bytes arrived", len(all))
		}
	})
	for name, end := range map[string]func(*conn){"close": func(c *conn) { c.Close() }, "abort": (*conn).Abort} {
		t.Run(name, func(t *testing.T) {
			s, from, to, sender, _ := spliced(t)
			emptyPool()
			before := pipesOpen.Load()
			fill(t, s, from, to, sender)
			end(to)
			if after := pipesOpen.Load(); after != before || len(pipes) != 0 {
				t.Errorf("%d pipes more, %d of them for the next, who would get what they hold", after-before, len(pipes))
			}
		})
	}
}

// Nothing comes: the pipe does not wait for it.
func TestSpliceOfNothing(t *testing.T) {
	s, from, to, sender, receiver := spliced(t)
	if n, err, _ := to.Splice(from); n != 0 || err != ErrNothingYet || pipesHeld() != 0 {
		t.Errorf("%d: %v, %d pipes are held", n, err, pipesHeld())
	}
	mustWrite(t, sender, "x")
	until(t, s, func() bool { n, _, _ := to.Splice(from); return n == 1 })
	if n, err := receiver.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("%d: %v", n, err)
	}
	nothingFor(t, s, settled)
}

// A sender's reset is told as such, a receiver's as the write's.
func TestSpliceResets(t *testing.T) {
	t.Run("by the sender", func(t *testing.T) {
		s, from, to, sender, _ := spliced(t)
		abort(t, sender)
		_, readErr, _ := spliceAll(t, s, from, to)
		if !errors.Is(readErr, syscall.ECONNRESET) && !(readErr == io.EOF && from.Over()) {
			t.Errorf("found %v", readErr)
		}
	})
	t.Run("by the receiver", func(t *testing.T) {
		s, from, to, sender, receiver := spliced(t)
		fill(t, s, from, to, sender)
		abort(t, receiver)
		_, _, writeErr := spliceAll(t, s, from, to)
		if !errors.Is(writeErr, syscall.ECONNRESET) && !errors.Is(writeErr, syscall.EPIPE) || !to.Over() {
			t.Errorf("found %v", writeErr)
		}
		to.Close()
		if held := pipesHeld(); held != 0 {
			t.Errorf("%d pipes are held", held)
		}
	})
}

// Where the kernel can't do it, nothing is done.
func TestSpliceUnsupported(t *testing.T) {
	t.Run("what is no TCP", func(t *testing.T) {
		_, _, to, _, _ := spliced(t)
		if n, err, _ := to.Splice(&relay{}); n != 0 || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%d: %v", n, err)
		}
	})
	t.Run("too many pipes", func(t *testing.T) {
		s, from, to, sender, _ := spliced(t)
		emptyPool()
		before := pipesOpen.Swap(MostPipes)
		defer pipesOpen.Store(before)
		mustWrite(t, sender, "x")
		until(t, s, func() bool { return from.ready.Load()&readable != 0 })
		if n, err, _ := to.Splice(from); n != 0 || !errors.Is(err, errors.ErrUnsupported) || pipesOpen.Load() != MostPipes {
			t.Errorf("%d: %v", n, err)
		}
		if n, err := from.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("read %d: %v", n, err)
		}
	})
	t.Run("no descriptors", func(t *testing.T) {
		_, from, to, _, _ := spliced(t)
		emptyPool()
		before := pipesOpen.Load()
		var limit, none unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Skip(err)
		}
		none = limit
		none.Cur = 3
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
			t.Skip(err)
		}
		n, err, _ := to.Splice(from)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if n != 0 || !errors.Is(err, errors.ErrUnsupported) || pipesOpen.Load() != before {
			t.Errorf("%d: %v, %d pipes more", n, err, pipesOpen.Load()-before)
		}
	})
}

// A Unix socket with a full backlog says so at once, where TCP would wait: it is waited for, too, as long as that may take.
func TestDialFullUnixSocket(t *testing.T) {
	for _, test := range []struct {
		name  string
		room  bool // comes
		cut   bool
		limit time.Duration
	}{
		{"room comes", true, false, patience},
		{"none comes", false, false, 100 * time.Millisecond},
		{"nobody wants it any more", false, true, patience},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := t.TempDir() + "/full"
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			raw, _ := l.(*net.UnixListener).SyscallConn()
			_ = raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) })
			if err != nil {
				t.Fatal(err)
			}
			full(t, path)
			g := startGroup(t)
			s := own(t, g)
			began := time.Now()
			switch {
			case test.room:
				time.AfterFunc(settled, func() {
					for {
						if _, err := l.Accept(); err != nil {
							return
						}
					}
				})
			case test.cut:
				time.AfterFunc(settled, s.Cut)
			}
			c, err := g.Dial(context.Background(), s, nil, Target{Network: "unix", Address: path, Within: test.limit})
			if took := time.Since(began); took < settled || took > patience/2 {
				t.Errorf("it took %v", took)
			}
			if test.room != (err == nil) {
				t.Errorf("dialled: %v", err)
			}
			if c != nil {
				c.Close()
			}
		})
	}
}

// full connects until no more can.
func full(t *testing.T, path string) {
	t.Helper()
	for range 10 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err == unix.EAGAIN {
			return
		}
	}
	t.Skip("the backlog has no end")
}

// The peer's address is an IPv4 one where it is that.
func TestRemote(t *testing.T) {
	for _, network := range []string{"127.0.0.1:0", "[::1]:0"} {
		g := startGroup(t)
		c, _, peer := pairOf(t, g, "tcp", network)
		if c.Remote().String() != peer.LocalAddr().String() {
			t.Errorf("%v, want %v", c.Remote(), peer.LocalAddr())
		}
	}
	g := startGroup(t)
	if c, _, _ := pairOf(t, g, "unix", t.TempDir()+"/s"); c.Remote().IsValid() {
		t.Errorf("%v of a Unix socket", c.Remote())
	}
}

// What a listener has, its connections have.
func TestInherit(t *testing.T) {
	g := startGroup(t)
	var single net.ListenConfig
	single.SetMultipathTCP(false) // which knows less of this
	raw, err := single.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := g.Listen(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Inherit(7*time.Second, 9*time.Second)
	peer, err := net.Dial("tcp", raw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	prepare(t, peer)
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	fd := accepted.(*conn).fd
	for option, want := range map[int]int{unix.TCP_KEEPIDLE: 7, unix.TCP_USER_TIMEOUT: 9000} {
		if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option); got != want || err != nil {
			t.Errorf("option %d is %d, want %d: %v", option, got, want, err)
		}
	}
	accepted.KeepAlive(0)
	if on, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE); on != 0 {
		t.Error("it is still asked")
	}
}
