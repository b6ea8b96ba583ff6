package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"hellogate/control"
)

// ACMEHead writes the heads of the columns that ACMELine fills.
func ACMEHead(out io.Writer) error {
	return acmeLine(out, "NAME", "STATE", "KEYS", "EXPIRES IN", "DUE IN", "NEXT TRY IN", "LAST TRY", "NOTE")
}

// ACMELine writes one name of a list that may be too long to hold. - is what is not known.
func ACMELine(out io.Writer, name control.ACMEName) error {
	now := time.Now()
	return acmeLine(out, name.Name, clean(name.State), clean(cmp.Or(strings.Join(name.KeyTypes, " "), "-")),
		until(name.NotAfter, now), until(name.DueAt, now), until(name.NextAt, now), lastTry(name, now), clean(acmeNote(name)))
}

func acmeLine(out io.Writer, name, state, keys, expires, due, next, last, note string) error {
	line := fmt.Sprintf("%-40s  %-8s  %-13s  %-10s  %-9s  %-11s  %-15s  %s", name, state, keys, expires, due, next, last, note)
	_, err := fmt.Fprintln(out, strings.TrimRight(line, " "))
	return err
}

// until is how long it is until a time that may not be known.
func until(at *time.Time, now time.Time) string {
	if at == nil || at.IsZero() {
		return "-"
	}
	return duration(int64(at.Sub(now) / time.Second))
}

func lastTry(name control.ACMEName, now time.Time) string {
	if name.Last == nil || name.Last.At == nil {
		return "-"
	}
	return ago(name.Last.At, now)
}

func acmeNote(name control.ACMEName) string {
	var notes []string
	if name.Errors > 0 {
		notes = append(notes, control.Numbered(name.Errors, "error", "errors")+" in a row")
	}
	if name.Last != nil && name.Last.Error != "" {
		notes = append(notes, name.Last.Error)
	}
	return strings.Join(notes, ": ")
}

// ACMEName writes all that is known of a name that certificates are ordered for: how it is, then the last try step by step.
func ACMEName(out io.Writer, name control.ACMEName) error {
	now := time.Now()
	return table(out, func(w io.Writer) {
		line := func(key, value string) { fmt.Fprintf(w, "%s\t%s\n", key, clean(value)) }
		line("name", name.Name)
		line("store", name.Store)
		line("ordered", map[bool]string{true: "always: its store lists it", false: "on demand"}[name.Managed])
		line("state", name.State)
		when := func(key string, at *time.Time) {
			if at != nil && !at.IsZero() {
				line(key, at.UTC().Format(time.RFC3339)+", "+inOrAgo(*at, now))
			}
		}
		when("expires", name.NotAfter)
		when("due", name.DueAt)
		if ari := name.ARI; ari != nil {
			line("CA suggests", fmt.Sprintf("%s to %s %s", ari.Start.UTC().Format(time.RFC3339), ari.End.UTC().Format(time.RFC3339), ari.URL))
		}
		when("next try", name.NextAt)
		line("keys", cmp.Or(strings.Join(name.KeyTypes, " "), "-"))
		line("CA", cmp.Or(name.CA, "-"))
		if name.Errors > 0 {
			line("errors", fmt.Sprintf("%d in a row", name.Errors))
		}
		try(w, name.Last, now)
	})
}

// try writes what was done to get a certificate.
func try(w io.Writer, last *control.ACMETry, now time.Time) {
	if last == nil {
		return
	}
	if last.At != nil {
		fmt.Fprintf(w, "last try\t%s, %s: %s\n", last.At.UTC().Format(time.RFC3339), inOrAgo(*last.At, now), clean(cmp.Or(last.Result, "under way")))
	}
	if last.Error != "" {
		fmt.Fprintf(w, "error\t%s\n", clean(last.Error))
	}
	if len(last.Steps) > 0 {
		fmt.Fprint(w, "\nAT\tSTEP\tDETAIL\n")
	}
	for _, step := range last.Steps {
		fmt.Fprintf(w, "%s\t%s\t%s\n", step.At.UTC().Format(time.RFC3339), clean(step.Type), clean(step.Detail))
	}
}

func inOrAgo(at, now time.Time) string {
	if at.After(now) {
		return "in " + duration(int64(at.Sub(now)/time.Second))
	}
	return ago(&at, now)
}

// Renewed writes what came of a renewal.
func Renewed(out io.Writer, name string, renewal control.ACMERenewal) error {
	text := "renewed"
	if !renewal.Renewed {
		text = "not due"
		if renewal.DueAt != nil {
			text += " before " + renewal.DueAt.UTC().Format(time.RFC3339)
		}
		text += " (--force renews it all the same)"
	}
	if renewal.NotAfter != nil {
		text += ", good until " + renewal.NotAfter.UTC().Format(time.RFC3339)
	}
	_, err := fmt.Fprintf(out, "%s: %s\n", name, text)
	return err
}

// orders writes how the stores do that order certificates.
func orders(w io.Writer, statuses []control.ACMEStatus) {
	if len(statuses) == 0 {
		return
	}
	now := time.Now()
	fmt.Fprint(w, "\nACME\tVALID\tORDERING\tWAITING\tFAILED\tEXPIRED\tNEXT IN\n")
	for _, s := range statuses {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", clean(s.Store), s.Names[control.ACMEValid], s.Names[control.ACMEOrdering],
			s.Names[control.ACMEWaiting], s.Names[control.ACMEFailed], s.Names[control.ACMEExpired], until(s.NextAt, now))
	}
}

// troubledOrders writes the names whose orders fail.
func troubledOrders(w io.Writer, statuses []control.ACMEStatus) {
	now, head := time.Now(), "\nORDERS IN TROUBLE\tSTATE\tEXPIRES IN\tNEXT TRY IN\tLAST TRY\tNOTE\n"
	for _, s := range statuses {
		for _, name := range s.Troubled {
			fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\t%s\t%s\n", head, name.Name, clean(name.State), until(name.NotAfter, now), until(name.NextAt, now),
				lastTry(name, now), clean(acmeNote(name)))
			head = ""
		}
	}
}
