package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"hellogate/control"
)

// ConnectionsHead writes the heads of the columns that ConnectionLine fills.
func ConnectionsHead(out io.Writer) error {
	return connectionLine(out, "ID", "CLIENT", "NAME", "BACKEND", "SERVER", "STAGE", "AGE", "IN", "OUT", "ROUTE")
}

// ConnectionLine writes one connection of a list that may be too long to hold. - is what is not known yet.
func ConnectionLine(out io.Writer, c control.Connection) error {
	return connectionLine(out, c.ID, clean(c.Client), clean(c.Name), clean(c.Backend), clean(c.Server), clean(c.Stage),
		duration(c.Age), size(c.BytesIn), size(c.BytesOut), clean(c.Route))
}

func connectionLine(out io.Writer, id, client, name, backend, server, stage, age, in, outward, route string) error {
	line := fmt.Sprintf("%-24s  %-21s  %-30s  %-12s  %-21s  %-9s  %-7s  %-9s  %-9s  %s", cmp.Or(id, "-"), cmp.Or(client, "-"), cmp.Or(name, "-"),
		cmp.Or(backend, "-"), cmp.Or(server, "-"), stage, age, in, outward, cmp.Or(route, "-"))
	_, err := fmt.Fprintln(out, strings.TrimRight(line, " "))
	return err
}

// Killed writes how many connections were reset, and which were not there.
func Killed(out io.Writer, result control.KillResult) error {
	for _, id := range result.NotOpen {
		fmt.Fprintf(out, "not open: %s\n", clean(id))
	}
	_, err := fmt.Fprintf(out, "%s reset\n", control.Numbered(result.Killed, "connection", "connections"))
	return err
}

// Reloaded writes what a reload changed, and what it could not.
func Reloaded(out io.Writer, result control.ReloadResult) error {
	changed := "nothing: the file says what it said"
	switch {
	case len(result.Changed) > 0:
		changed = strings.Join(result.Changed, ", ")
	case len(result.AfterARestart) > 0:
		changed = "nothing"
	}
	_, err := fmt.Fprintf(out, "changed: %s\n", clean(changed))
	if len(result.AfterARestart) > 0 {
		_, err = fmt.Fprintf(out, "not in effect before an upgrade or a restart: %s\n", clean(strings.Join(result.AfterARestart, ", ")))
	}
	return err
}
