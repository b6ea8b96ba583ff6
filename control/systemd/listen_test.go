package systemd

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	var files []*os.File
	var addresses []string
	for _, l := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"unix", path}, {"tcp", "127.0.0.1:0"}} {
		listener, err := net.Listen(l.network, l.address)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		file, err := listener.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		files, addresses = append(files, file), append(addresses, listener.Addr().String())
	}
	for _, c := range []struct {
		name, role   string
		count, names string
		asks         []string
		want         []string
	}{
		{"all", "mine", "3", "web:control:web", addresses, []string{"found: " + addresses[0], "found: " + path, "found: " + addresses[2]}},
		{
			"some", "mine", "3", "web:control:web", addresses[1:2],
			[]string{"found: " + path, "unused: web: " + addresses[0], "unused: web: " + addresses[2]},
		},
		{
			"without names", "mine", "3", "", nil,
			[]string{"unused: socket 1: " + addresses[0], "unused: socket 2: " + path, "unused: socket 3: " + addresses[2]},
		},
		{"with too many names", "mine", "1", "a:b:c", nil, []string{"inherited by what it starts: 4", "inherited by what it starts: 5", "unused: a: " + addresses[0]}},
		{"another's", "another's", "3", "", addresses, []string{"inherited by what it starts: 3", "inherited by what it starts: 4", "inherited by what it starts: 5"}},
		{"more than there are", "mine", "40", "", nil, []string{"error: LISTEN_FDS=40: descriptor "}},
		{"no number", "mine", "x", "", nil, []string{`error: LISTEN_FDS: "x" is no number`}},
		{"negative", "mine", "-1", "", nil, []string{`error: LISTEN_FDS: "-1" is no number`}},
		{"too many", "mine", "1025", "", nil, []string{`error: LISTEN_FDS: "1025" is no number`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			service := exec.Command(os.Args[0])
			service.ExtraFiles = files
			service.Env = append(os.Environ(), roleVariable+"="+c.role, "SYSTEMD_TEST_ADDRESSES="+strings.Join(c.asks, " "),
				pidVariable+"=1", countVariable+"="+c.count, namesVariable+"="+c.names, pidIDVariable+"=1", "GORACE=atexit_sleep_ms=0")
			output, err := service.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			got := lines(string(output))
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
