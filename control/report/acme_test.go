package report

import (
	"io"
	"strings"
	"testing"
	"time"

	"hellogate/control"
)

func TestACME(t *testing.T) {
	at := func(d time.Duration) *time.Time {
		at := time.Now().Add(d + 500*time.Millisecond)
		return &at
	}
	failed := control.ACMEName{
		Name: "b.example", State: "failed", Errors: 3, NextAt: at(time.Hour), NotAfter: at(25 * time.Hour), KeyTypes: []string{"p256", "rsa2048"},
		Last: &control.ACMETry{At: at(-2 * time.Minute), Result: "failed", Error: "429: too\u202emany"},
	}
	good := control.ACMEName{Name: "*.a.example", State: "valid", DueAt: at(30 * 24 * time.Hour), NextAt: at(30 * 24 * time.Hour), NotAfter: at(60 * 24 * time.Hour), KeyTypes: []string{"p256"}}
	for _, c := range []struct {
		name  string
		print func(io.Writer) error
		want  string
	}{
		{"head", ACMEHead, "NAME STATE KEYS EXPIRES IN DUE IN NEXT TRY IN LAST TRY NOTE\n"},
		{"good", func(w io.Writer) error { return ACMELine(w, good) }, "*.a.example valid p256 60d 30d 30d -\n"},
		{"failed", func(w io.Writer) error { return ACMELine(w, failed) }, `b.example failed p256 rsa2048 1d 1h - 1h 1m 59s ago 3 errors in a row: 429: too\u202emany` + "\n"},
		{"never tried", func(w io.Writer) error {
			return ACMELine(w, control.ACMEName{Name: "c.example", State: "waiting"})
		}, "c.example waiting - - - - -\n"},
		{"renewed", func(w io.Writer) error {
			return Renewed(w, "a.example", control.ACMERenewal{Renewed: true, NotAfter: new(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))})
		}, "a.example: renewed, good until 2026-01-02T03:04:05Z\n"},
		{"not due", func(w io.Writer) error {
			return Renewed(w, "a.example", control.ACMERenewal{DueAt: new(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))})
		}, "a.example: not due before 2026-01-02T03:04:05Z (--force renews it all the same)\n"},
	} {
		if got := printed(t, c.print); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What is known of a name is there, and then the last try, step by step.
func TestACMENameStepByStep(t *testing.T) {
	day := func(n int) *time.Time { return new(time.Date(2001, 1, n, 0, 0, 0, 0, time.UTC)) }
	got := printed(t, func(w io.Writer) error {
		return ACMEName(w, control.ACMEName{
			Name: "a.example", Store: "https://ca", Managed: true, State: "failed", CA: "https://ca", Errors: 2, DueAt: day(3), NotAfter: day(5), NextAt: day(4),
			ARI: &control.ACMEWindow{Start: *day(2), End: *day(3), URL: "https://ca/why"},
			Last: &control.ACMETry{At: day(3), Result: "failed", Error: "no\nroute", Steps: []control.ACMEStep{
				{At: *day(3), Type: "order", Detail: "new"}, {At: *day(3), Type: "challenge", Detail: "tls-alpn-01"},
			}},
		})
	})
	for _, want := range []string{
		"name a.example", "store https://ca", "ordered always: its store lists it", "state failed", "expires 2001-01-05T00:00:00Z, ", "due 2001-01-03T00:00:00Z, ",
		"CA suggests 2001-01-02T00:00:00Z to 2001-01-03T00:00:00Z https://ca/why", "next try 2001-01-04T00:00:00Z, ", "errors 2 in a row",
		"last try 2001-01-03T00:00:00Z, ", `error no\nroute`, "AT STEP DETAIL",
		"2001-01-03T00:00:00Z order new", "2001-01-03T00:00:00Z challenge tls-alpn-01",
	} {
		if !strings.Contains("\n"+got, "\n"+want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// Trouble comes first: the problem's line, then the names.
func TestStatusOfACME(t *testing.T) {
	got := printed(t, func(w io.Writer) error {
		return Status(w, control.Status{State: "degraded", Problems: []string{"acme ca: 1 name's order failed"}, ACME: []control.ACMEStatus{{
			Store: "ca", Names: map[string]int{"valid": 4, "failed": 1},
			Troubled: []control.ACMEName{{Name: "b.example", State: "failed", Errors: 1, Last: &control.ACMETry{Error: "429"}}},
		}}})
	})
	for _, want := range []string{
		"! acme ca: 1 name's order failed", "ACME VALID ORDERING WAITING FAILED EXPIRED NEXT IN\nca 4 0 0 1 0 -",
		"ORDERS IN TROUBLE STATE EXPIRES IN NEXT TRY IN LAST TRY NOTE\nb.example failed - - - 1 error in a row: 429",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if without := printed(t, func(w io.Writer) error { return Status(w, control.Status{}) }); strings.Contains(without, "ACME") {
		t.Error(without)
	}
}
