package report

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"hellogate/control"
)

// Backends writes the state of the pools.
func Backends(out io.Writer, list []control.Backend) error {
	return table(out, func(w io.Writer) { backends(w, list) })
}

func backends(w io.Writer, list []control.Backend) {
	fmt.Fprint(w, "BACKEND\tBALANCE\tQUEUE\tSERVER\tSTATE\tWEIGHT\tCONNECTIONS\tFAILURES\tLAST CHECK\tREASON\n")
	now := time.Now()
	for _, backend := range list {
		for _, server := range backend.Servers {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n",
				clean(backend.Name), clean(cmp.Or(backend.Balance, "-")), backend.Queued, place(server), state(server), server.Weight,
				connections(server), failures(server), check(server, now), cmp.Or(reason(server, now), "-"))
		}
	}
	for _, backend := range list {
		if backend.Panic {
			fmt.Fprintf(w, "%s: too few servers are well, and all are used\n", clean(backend.Name))
		}
	}
}

// place is where a server is: its address as configured, and what that stands for.
func place(server control.BackendServer) string {
	if server.Endpoint == "" || server.Endpoint == server.Address {
		return clean(server.Address)
	}
	if path, is := strings.CutPrefix(server.Address, "unix:"); is && path == server.Endpoint {
		return clean(server.Address)
	}
	return clean(server.Address) + " (" + clean(server.Endpoint) + ")"
}

func state(server control.BackendServer) string {
	if server.Backup {
		return server.State + ", backup"
	}
	return server.State
}

func connections(server control.BackendServer) string {
	if server.MaxConnections == 0 {
		return strconv.Itoa(server.Connections)
	}
	return fmt.Sprintf("%d of %d", server.Connections, server.MaxConnections)
}

func failures(server control.BackendServer) string {
	text := strconv.FormatUint(server.Failures, 10)
	if server.EarlyResets > 0 {
		text += ", " + control.Numbered(server.EarlyResets, "early reset", "early resets")
	}
	return text
}

// check says when the last health check ended, and how; - is that there are none.
func check(server control.BackendServer, now time.Time) string {
	switch {
	case server.CheckedAt == nil:
		return "-"
	case server.CheckError != "":
		return "failed " + ago(server.CheckedAt, now)
	}
	return fmt.Sprintf("%.1f ms, %s", server.CheckMS, ago(server.CheckedAt, now))
}

// reason is why a server is in its state, and what last went wrong with it.
func reason(server control.BackendServer, now time.Time) string {
	var parts []string
	if server.Reason != "" {
		parts = append(parts, clean(server.Reason))
	}
	if server.EjectedUntil != nil && server.EjectedUntil.After(now) {
		parts = append(parts, "for "+duration(int64(server.EjectedUntil.Sub(now)/time.Second)))
	}
	if server.CheckError != "" && server.CheckError != server.Reason {
		parts = append(parts, "check: "+clean(server.CheckError))
	}
	if server.LastError != "" && server.LastError != server.Reason {
		text := clean(server.LastError)
		if server.LastErrorAt != nil {
			text = ago(server.LastErrorAt, now) + ": " + text
		}
		parts = append(parts, "last error "+text)
	}
	return strings.Join(parts, "; ")
}

func ago(at *time.Time, now time.Time) string {
	return duration(max(int64(now.Sub(*at)/time.Second), 0)) + " ago"
}

// ServerChanged writes what a server is after a change.
func ServerChanged(out io.Writer, changed control.ServerChange) error {
	for _, server := range changed.Servers {
		fmt.Fprintf(out, "%s %s: %s, weight %d, %s\n", clean(changed.Backend), place(server), state(server), server.Weight,
			control.Numbered(server.Connections, "connection", "connections"))
	}
	if changed.Killed == 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, "%s reset\n", control.Numbered(changed.Killed, "connection", "connections"))
	return err
}
