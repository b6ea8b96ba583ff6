package report

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"hellogate/control"
)

// printed is what a report writes, its columns one blank apart.
func printed(t *testing.T, print func(io.Writer) error) string {
	t.Helper()
	var out bytes.Buffer
	if err := print(&out); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestBackendsSayHowEachServerIs(t *testing.T) {
	before := func(d time.Duration) *time.Time {
		at := time.Now().Add(-d)
		return &at
	}
	later := time.Now().Add(90*time.Second + 500*time.Millisecond)
	for _, c := range []struct {
		name   string
		server control.BackendServer
		want   string
	}{
		{"up", control.BackendServer{Address: "10.0.0.5:143", Endpoint: "10.0.0.5:143", State: "up", Weight: 3, Connections: 2}, "10.0.0.5:143 up 3 2 0 - -"},
		{"never looked up", control.BackendServer{Address: "db:1", State: "down", Reason: "its name is not looked up yet"}, "db:1 down 0 0 0 - its name is not looked up yet"},
		{
			"a name, limited, a backup",
			control.BackendServer{Address: "db:1", Endpoint: "10.0.0.7:1", State: "up", Backup: true, Connections: 2, MaxConnections: 9},
			"db:1 (10.0.0.7:1) up, backup 0 2 of 9 0 - -",
		},
		{"a path", control.BackendServer{Address: "unix:/run/x", Endpoint: "/run/x", State: "up"}, "unix:/run/x up 0 0 0 - -"},
		{
			"checked",
			control.BackendServer{Address: "a:1", State: "up", CheckedAt: before(2 * time.Second), CheckMS: 1.25},
			"a:1 up 0 0 0 1.2 ms, 2s ago -",
		},
		{
			"down by its checks",
			control.BackendServer{Address: "a:1", State: "down", Reason: "refused", CheckedAt: before(2 * time.Second), CheckError: "refused"},
			"a:1 down 0 0 0 failed 2s ago refused",
		},
		{
			"ejected",
			control.BackendServer{
				Address: "a:1", State: "ejected", Reason: "5 failures", EjectedUntil: &later, Failures: 5, EarlyResets: 1,
				LastError: "dial: refused", LastErrorAt: before(61 * time.Second),
			},
			"a:1 ejected 0 0 5, 1 early reset - 5 failures; for 1m 30s; last error 1m 1s ago: dial: refused",
		},
		{
			"a check that begins to fail",
			control.BackendServer{Address: "a:1", State: "up", CheckedAt: before(0), CheckError: "timeout", LastError: "refused"},
			"a:1 up 0 0 0 failed 0s ago check: timeout; last error refused",
		},
	} {
		backend := control.Backend{Name: "mail", Balance: "random_two", Queued: 4, Servers: []control.BackendServer{c.server}}
		got := printed(t, func(out io.Writer) error { return Backends(out, []control.Backend{backend}) })
		if _, line, _ := strings.Cut(got, "\n"); line != "mail random_two 4 "+c.want+"\n" {
			t.Errorf("%s: %q, want %q", c.name, line, c.want)
		}
	}
	got := printed(t, func(out io.Writer) error { return Backends(out, []control.Backend{{Name: "mail", Panic: true}}) })
	if !strings.HasSuffix(got, "\nmail: too few servers are well, and all are used\n") {
		t.Errorf("panic: %s", got)
	}
}

func TestReportsOfLiveOperation(t *testing.T) {
	server := control.BackendServer{Address: "a:1", State: "drain", Weight: 2, Connections: 1}
	for _, c := range []struct {
		name  string
		print func(io.Writer) error
		want  string
	}{
		{"drained", func(out io.Writer) error {
			return ServerChanged(out, control.ServerChange{Backend: "mail", Servers: []control.BackendServer{server}})
		}, "mail a:1: drain, weight 2, 1 connection\n"},
		{"killed with it", func(out io.Writer) error {
			return ServerChanged(out, control.ServerChange{Backend: "mail", Servers: []control.BackendServer{server}, Killed: 2})
		}, "mail a:1: drain, weight 2, 1 connection\n2 connections reset\n"},
		{"connections", func(out io.Writer) error {
			ConnectionsHead(out)
			return ConnectionLine(out, control.Connection{
				ID: "0a", Client: "192.0.2.7:1", Name: "a.example", Backend: "mail", Server: "a:1", Stage: "splice",
				Age: 61, BytesIn: 1024, BytesOut: 5, Route: "*.example",
			})
		}, "ID CLIENT NAME BACKEND SERVER STAGE AGE IN OUT ROUTE\n0a 192.0.2.7:1 a.example mail a:1 splice 1m 1s 1.0 KiB 5 B *.example\n"},
		{"a connection that begins", func(out io.Writer) error {
			return ConnectionLine(out, control.Connection{ID: "0a", Stage: "proxy"})
		}, "0a - - - - proxy 0s 0 B 0 B -\n"},
		{"killed", func(out io.Writer) error {
			return Killed(out, control.KillResult{Killed: 1, NotOpen: []string{"0b"}})
		}, "not open: 0b\n1 connection reset\n"},
		{"reloaded", func(out io.Writer) error {
			return Reloaded(out, control.ReloadResult{Changed: []string{"routes", "tls"}, AfterARestart: []string{"cache", "log"}})
		}, "changed: routes, tls\nnot in effect before an upgrade or a restart: cache, log\n"},
		{"reloaded the same", func(out io.Writer) error { return Reloaded(out, control.ReloadResult{}) }, "changed: nothing: the file says what it said\n"},
		{"reloaded what needs a restart", func(out io.Writer) error {
			return Reloaded(out, control.ReloadResult{AfterARestart: []string{"cache"}})
		}, "changed: nothing\nnot in effect before an upgrade or a restart: cache\n"},
	} {
		if got := printed(t, c.print); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
