package handover

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fileOf is a duplicate of a socket's descriptor.
func fileOf(t *testing.T, socket any) *os.File {
	t.Helper()
	file, err := socket.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSocketsListener(t *testing.T) {
	for _, c := range []struct {
		name, given, label string
		asked              string
		want               bool
	}{
		{"same text", "127.0.0.2:PORT", "", "127.0.0.2:PORT", true},
		{"by name", "127.0.0.2:PORT", "127.0.0.2:0", "127.0.0.2:0", true},
		{"other address", "127.0.0.2:PORT", "", "127.0.0.3:PORT", false},
		{"other port", "127.0.0.2:PORT", "", "127.0.0.2:1", false},
		{"no port", "127.0.0.2:PORT", "", "127.0.0.2:0", false},
		{"mapped", "127.0.0.2:PORT", "", "[::ffff:127.0.0.2]:PORT", true},
		{"host name", "127.0.0.1:PORT", "", "localhost:PORT", true},
		{"every address", "[::]:PORT", "", ":PORT", true},
		{"every address of IPv4", "0.0.0.0:PORT", "", ":PORT", true},
		{"IPv6 written out", "[::]:PORT", "", "[::]:PORT", true},
		{"IPv4 is not IPv6", "0.0.0.0:PORT", "", "[::]:PORT", false},
		{"IPv6 is not IPv4", "[::]:PORT", "", "0.0.0.0:PORT", false},
		{"one is not every", "127.0.0.1:PORT", "", ":PORT", false},
		{"every is not one", "[::]:PORT", "", "127.0.0.1:PORT", false},
		{"nonsense", "127.0.0.1:PORT", "", "no port", false},
		{"a name that is no address", "127.0.0.1:PORT", "web", "web", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen(network(c.given), strings.ReplaceAll(c.given, "PORT", "0"))
			if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) {
				t.Skip(err) // no IPv6 here, or no further loopback addresses
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			asked := strings.ReplaceAll(c.asked, "PORT", port)
			var s Sockets
			s.Add(c.label, fileOf(t, l))
			defer s.CloseUnused()
			got, found := s.Listener("tcp", asked)
			if found != c.want {
				t.Fatalf("found: %v, want %v", found, c.want)
			}
			if !found {
				return
			}
			defer got.Close()
			if got.Addr().String() != l.Addr().String() {
				t.Errorf("listens on %s, want %s", got.Addr(), l.Addr())
			}
			if _, again := s.Listener("tcp", asked); again {
				t.Error("found twice")
			}
		})
	}
}

// network has an IPv4 wildcard be one, which "tcp" would not.
func network(address string) string {
	if strings.HasPrefix(address, "0.0.0.0") {
		return "tcp4"
	}
	return "tcp"
}

// The address decides which of several it is; without a host, IPv6 comes first, which has clients of IPv4, too.
func TestSocketsPrefer(t *testing.T) {
	first, second := listenTCP(t, "127.0.0.1:0"), listenTCP(t, "127.0.0.1:0")
	var s Sockets
	s.Add("x", fileOf(t, first))
	s.Add("x", fileOf(t, second))
	defer s.CloseUnused()
	got, found := s.Listener("tcp", second.Addr().String())
	if !found || got.Addr().String() != second.Addr().String() {
		t.Fatalf("got %v", got)
	}
	got.Close()
	if unused := s.CloseUnused(); len(unused) != 1 || unused[0] != "x: "+first.Addr().String() {
		t.Errorf("unused: %q", unused)
	}
}

func TestSocketsUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	defer l.Close()
	var s Sockets
	s.Add("control", fileOf(t, l))
	if _, found := s.Listener("tcp", path); found {
		t.Error("a Unix socket is no TCP listener")
	}
	got, found := s.Listener("unix", path)
	if !found {
		t.Fatal("not found")
	}
	got.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file went with the listener: %v", err)
	}
}

func TestSocketsUnusable(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	l := listenTCP(t, "127.0.0.1:0")
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	before := descriptors()
	var s Sockets
	s.Add("udp", fileOf(t, packets))
	s.Add("connection", fileOf(t, conn))
	s.Add("file", null)
	for _, address := range []string{packets.LocalAddr().String(), conn.LocalAddr().String(), "udp", "connection", "file"} {
		if _, found := s.Listener("tcp", address); found {
			t.Errorf("found a listener for %s", address)
		}
	}
	unused := s.CloseUnused()
	if len(unused) != 3 || !strings.Contains(unused[0], "udp: not a listening stream socket") {
		t.Errorf("unused: %q", unused)
	}
	if after := descriptors(); after != before-1 { // null is closed, too
		t.Errorf("%d descriptors, want %d", after, before-1)
	}
}

func TestSocketsNone(t *testing.T) {
	var none *Sockets
	if _, found := none.Listener("tcp", ":443"); found || none.CloseUnused() != nil {
		t.Error("something of nothing")
	}
}
