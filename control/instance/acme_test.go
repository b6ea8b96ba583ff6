package instance

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"hellogate/control"
	"hellogate/control/config"
	"hellogate/control/events"
	"hellogate/sni"
	"hellogate/store/acme"
	"hellogate/store/acme/folder"
)

// Each kind of event that a store tells is one that may be published.
func TestOrderEvents(t *testing.T) {
	kinds := events.Kinds()
	seen := map[string]bool{}
	for kind, ours := range orderEvents {
		if !slices.Contains(kinds, ours) || seen[ours] {
			t.Errorf("%s: %q", kind, ours)
		}
		seen[ours] = true
	}
	if len(seen) != 7 {
		t.Errorf("%d kinds", len(seen))
	}
}

// What is not known of a name is left out.
func TestACMEName(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	utc := new(at.UTC())
	for _, c := range []struct {
		name   string
		status acme.Status
		want   control.ACMEName
	}{
		{"new", acme.Status{Name: "a.test", State: "waiting"}, control.ACMEName{Name: "a.test", State: "waiting", KeyTypes: []string{}}},
		{"all known", acme.Status{
			Name: "a.test", Managed: true, State: "failed", DueAt: at, NotAfter: at, KeyTypes: []string{"p256"}, CA: "https://ca", Errors: 2, NextAt: at,
			Last: acme.Try{At: at, EndedAt: at, Result: "failed", Error: "429", Steps: []acme.Step{{At: at, Type: "order", Detail: "new"}}},
			ARI:  acme.Window{Start: at, End: at, URL: "https://ca/why"},
		}, control.ACMEName{
			Name: "a.test", Managed: true, State: "failed", DueAt: utc, NotAfter: utc, KeyTypes: []string{"p256"}, CA: "https://ca", Errors: 2, NextAt: utc,
			Last: &control.ACMETry{At: utc, EndedAt: utc, Result: "failed", Error: "429", Steps: []control.ACMEStep{{At: *utc, Type: "order", Detail: "new"}}},
			ARI:  &control.ACMEWindow{Start: *utc, End: *utc, URL: "https://ca/why"},
		}},
		{"under way", acme.Status{Last: acme.Try{At: at, Result: "under_way"}}, control.ACMEName{
			KeyTypes: []string{}, Last: &control.ACMETry{At: utc, Result: "under_way"},
		}},
	} {
		if diff := cmp.Diff(c.want, acmeName(c.status)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// What is configured is what a store goes by.
func TestACMEOptions(t *testing.T) {
	hmac := filepath.Join(t.TempDir(), "hmac")
	if err := os.WriteFile(hmac, []byte("a2V5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pattern := func(text string) sni.Pattern {
		parsed, err := sni.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	kept, err := folder.Open(folder.Options{Path: filepath.Join(t.TempDir(), "acme"), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	settings := config.Store{Name: "ca", ACME: &config.ACMEStore{
		Directories: []string{"https://ca"}, Contact: "me@a.test", AcceptTerms: true, Names: []sni.Pattern{pattern("a.test"), pattern("*.b.test")},
		KeyTypes: []config.KeyType{config.KeyP256, config.KeyRSA2048}, Profile: "short", EAB: config.EAB{KID: "kid", HMACFile: hmac},
		HTTP01: ":80", DNS01: []string{"/bin/dns"}, Message: []string{"/bin/message"}, Wait: time.Second,
	}}
	for _, c := range []struct {
		name     string
		onDemand []sni.Pattern
		asked    string
		any      bool
	}{
		{"managed names alone", nil, "", false},
		{"whatever is permitted", nil, "https://ask.test", true},
		{"what matches, and is permitted", []sni.Pattern{pattern(".c.test")}, "https://ask.test", false},
	} {
		settings.ACME.OnDemand = c.onDemand
		i := &Instance{config: &config.Config{Permission: config.Permission{URL: c.asked}}}
		options, err := i.acmeOptions(settings, kept)
		if err != nil {
			t.Fatal(err)
		}
		if options.Any != c.any || len(options.OnDemand) != len(c.onDemand) {
			t.Errorf("%s: any %v, on demand %v", c.name, options.Any, options.OnDemand)
		}
		got := []any{options.Name, options.Directories, options.Contact, options.AcceptTerms, options.Names, options.KeyTypes, options.Profile, options.EAB, options.HTTP01, options.DNS01 != nil, options.Message != nil, options.Wait, options.Limits.PerDomain}
		want := []any{"ca", []string{"https://ca"}, "me@a.test", true, []string{"a.test", "*.b.test"}, []string{"p256", "rsa2048"}, "short", acme.EAB{KeyID: "kid", MACKey: "a2V5"}, true, true, true, time.Second, -1}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
