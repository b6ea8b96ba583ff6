package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestInheritNothing(t *testing.T) {
	inherited, err := Inherit()
	if inherited != nil || err != nil {
		t.Fatal(inherited, err)
	}
	if err := inherited.Receive(); err != nil {
		t.Error(err)
	}
	if _, found := inherited.Listener("tcp", ":443"); found {
		t.Error("a listener")
	}
	if _, found := inherited.File("x"); found || inherited.State("x") != nil {
		t.Error("something")
	}
	if unused, err := inherited.Ready(); unused != nil || err != nil {
		t.Error(unused, err)
	}
	inherited.Failed(errors.New("x"))
}

func TestInheritRefuses(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	tcp := listenTCP(t, "127.0.0.1:0")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ value, want string }{
		{"", "not the number of a descriptor"},
		{"x", "not the number of a descriptor"},
		{"-1", "not the number of a descriptor"},
		{"2", "not the number of a descriptor"},
		{"4294967296", "not the number of a descriptor"},
		{"99999", "bad file descriptor"},
		{own(t, null), "not a stream socket"},
		{own(t, fileOf(t, packets)), "not a stream socket"},
		{own(t, fileOf(t, tcp)), "not a Unix stream socket"},
	} {
		t.Setenv(Variable, c.value)
		inherited, err := Inherit()
		if inherited != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want %q", Variable, c.value, err, c.want)
		}
		if _, left := os.LookupEnv(Variable); left {
			t.Error("the variable is left")
		}
	}
}

// own is the number of a descriptor that is closed by whoever takes it over, or by nobody.
func own(t *testing.T, file *os.File) string {
	t.Helper()
	defer file.Close()
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	if err := raw.Control(func(original uintptr) { fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(fd)
}

// heir is a new process that talks to the test.
func heir(t *testing.T) (*Inherited, *wire) {
	t.Helper()
	old, theirs, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(old.close)
	t.Setenv(Variable, own(t, theirs))
	inherited, err := Inherit()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inherited.end)
	return inherited, old
}

// An old process that ends, or answers with something else, is an error and nothing is left open.
func TestOldProcessMisbehaves(t *testing.T) {
	lists := func(what list) []byte {
		content, _ := json.Marshal(what)
		return append(header(listKind, len(content)), content...)
	}
	for _, c := range []struct {
		name   string
		answer []byte
		want   string
	}{
		{"ends", nil, "it has ended"},
		{"ends in a header", []byte("l\x00"), "it has ended"},
		{"ends in a message", []byte("l\x00\x00\x00\x09{"), "it has ended"},
		{"no JSON", []byte("l\x00\x00\x00\x01{"), "not JSON"},
		{"goes at once", header(goKind, 0), "a message of kind 'g'"},
		{"no descriptor", append(lists(list{Listeners: []string{":1"}}), header(descriptorKind, 0)...), "without its descriptor"},
		{"bytes for a descriptor", append(lists(list{Files: []string{"f"}}), "d\x00\x00\x00\x01x"...), "a descriptor with 1 bytes"},
		{"section too large", lists(list{Sections: []section{{"s", MaxState + 1}}}), "where 67108864 may be"},
		{"sections too large", lists(list{Sections: []section{{"s", MaxState}, {"t", 1}}}), "where 0 may be"},
		{"negative section", lists(list{Sections: []section{{"s", -1}}}), "of -1 bytes"},
		{"too many sections", lists(list{Sections: make([]section, maxSections+1)}), "65 sections"},
		{"too many descriptors", lists(list{Files: make([]string, maxDescriptors+1)}), "1025 descriptors"},
		{"too many bytes", append(lists(list{Sections: []section{{"s", 1}}}), "b\x00\x00\x00\x02xy"...), "that lacks 1"},
		{"no bytes", append(lists(list{Sections: []section{{"s", 1}}}), header(bytesKind, 0)...), "that lacks 1"},
		{"too few bytes", append(lists(list{Sections: []section{{"s", 2}}}), "b\x00\x00\x00\x01x"...), "it has ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inherited, old := heir(t)
			if _, err := old.conn.Write(c.answer); err != nil {
				t.Fatal(err)
			}
			old.conn.CloseWrite()
			before := descriptors()
			err := inherited.Receive()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if after := descriptors(); after != before {
				t.Errorf("%d descriptors, had %d", after, before)
			}
			if _, err := inherited.Ready(); err == nil {
				t.Error("ready without anything")
			}
			if _, err := old.receive(askKind); err != nil {
				t.Errorf("asked: %v", err)
			}
			inherited.Failed(err)
			reason := (*reported)(nil)
			if _, failed := old.receive(readyKind); !errors.As(failed, &reason) || reason.reason != err.Error() {
				t.Errorf("reported: %v", failed)
			}
		})
	}
}

// A new process that the old one doesn't let go must not go.
func TestReadyNeedsGo(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(*wire)
		ok     bool
	}{
		{"go", func(old *wire) { old.send(goKind, nil) }, true},
		{"end", func(old *wire) {}, false},
		{"something else", func(old *wire) { old.send(listKind, []byte("{}")) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inherited, old := heir(t)
			done := make(chan error, 1)
			go func() {
				defer old.conn.Close()
				if _, err := old.receive(askKind); err != nil {
					done <- err
					return
				}
				if err := old.sendState(&State{Sections: map[string][]byte{"keys": []byte("secret")}}); err != nil {
					done <- err
					return
				}
				_, err := old.receive(readyKind)
				c.answer(old)
				done <- err
			}()
			if err := inherited.Receive(); err != nil {
				t.Fatal(err)
			}
			secret := inherited.State("keys")
			if string(secret) != "secret" {
				t.Errorf("section %q", secret)
			}
			if _, err := inherited.Ready(); (err == nil) != c.ok {
				t.Errorf("ready: %v", err)
			}
			if string(secret) != "\x00\x00\x00\x00\x00\x00" {
				t.Errorf("not cleared: %q", secret)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// What came before the old process ended is closed.
func TestReceiveInPart(t *testing.T) {
	inherited, old := heir(t)
	front := listenTCP(t, "127.0.0.1:0")
	content, _ := json.Marshal(list{Listeners: []string{"front"}, Files: []string{"a", "b"}, Sections: []section{{"s", 1}}})
	if err := old.send(listKind, content); err != nil {
		t.Fatal(err)
	}
	for _, from := range []syscall.Conn{front.(syscall.Conn), os.Stderr} {
		if err := old.sendDescriptor(from); err != nil {
			t.Fatal(err)
		}
	}
	old.conn.CloseWrite()
	before := descriptors()
	if err := inherited.Receive(); !errors.Is(err, errEnded) {
		t.Errorf("error %v", err)
	}
	if after := descriptors(); after != before {
		t.Errorf("%d descriptors, had %d", after, before)
	}
}

// More descriptors than may be are refused and closed.
func TestFloodOfDescriptors(t *testing.T) {
	inherited, old := heir(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := descriptors()
	go func() {
		content, _ := json.Marshal(list{})
		for range maxDescriptors + 10 {
			raw, _ := null.SyscallConn()
			raw.Control(func(fd uintptr) { old.conn.WriteMsgUnix([]byte("l"), unix.UnixRights(int(fd)), nil) })
		}
		old.send(listKind, content)
	}()
	inherited.wire.conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = io.Copy(io.Discard, inherited.wire)
	if err == nil || !strings.Contains(err.Error(), "too many descriptors") {
		t.Errorf("error %v", err)
	}
	inherited.end()
	if after := descriptors(); after != before-1 {
		t.Errorf("%d descriptors, want %d", after, before-1)
	}
}

func TestEnvironmentOfTheNewProcess(t *testing.T) {
	got := inherit([]string{
		"PATH=/bin", "LISTEN_PID=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b", "WATCHDOG_PID=1", Variable + "=7", "LISTEN_FDS_X=1", "NOTIFY_SOCKET=@x",
	}, 3)
	want := []string{"PATH=/bin", "LISTEN_FDS_X=1", "NOTIFY_SOCKET=@x", Variable + "=3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestResolveProgram(t *testing.T) {
	directory := t.TempDir()
	link := directory + "/hellogate"
	if err := os.Symlink("/bin/sh", link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(directory)
	t.Setenv("PATH", directory)
	for _, name := range []string{link, "./hellogate", "hellogate"} {
		if got, err := resolve(name); got != link || err != nil {
			t.Errorf("%s: %s (%v), want the link itself, %s", name, got, err, link)
		}
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := resolve("-nowhere"); got != own || err != nil {
		t.Errorf("made up: %s (%v), want %s", got, err, own)
	}
}
