package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"hellogate/control"
)

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		seconds int64
		want    string
	}{
		{-1, "overdue"},
		{0, "0s"},
		{59, "59s"},
		{60, "1m"},
		{61, "1m 1s"},
		{3600, "1h"},
		{3661, "1h 1m"},
		{3601, "1h"},
		{86400, "1d"},
		{90000, "1d 1h"},
		{86400*89 + 3599, "89d"},
	} {
		if got := duration(c.seconds); got != c.want {
			t.Errorf("%d: %q, want %q", c.seconds, got, c.want)
		}
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		bytes int64
		want  string
	}{{0, "0 B"}, {999, "999 B"}, {1024, "1.0 KiB"}, {1000 * 1024, "1.0 MiB"}, {512 << 20, "512.0 MiB"}, {3 << 40, "3.0 TiB"}} {
		if got := size(c.bytes); got != c.want {
			t.Errorf("%d: %q, want %q", c.bytes, got, c.want)
		}
	}
}

func someStatus() control.Status {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	cert := control.Cert{Name: "a.example", Source: "fetched", Store: "main", RefetchIn: 3600, ExpiresIn: 86400, FetchedAt: at, NotAfter: at}
	old := cert
	old.Name, old.LastError, old.Withdrawn, old.RefetchIn = "old.example", "timeout", true, -5
	return control.Status{
		Version: "1.2.3", State: control.StateDegraded, Uptime: 3700, Problems: []string{"store main is not asked"},
		Connections: control.Connections{Active: 3, Limit: 100, Refused: map[string]uint64{"no_cert": 2, "timeout": 5}},
		Cache:       control.CacheStatus{Entries: 7},
		Stores:      []control.StoreStatus{{Name: "main", Breaker: "open", RetryIn: 12, LastError: "dial\n\x1b[2Jrefused"}},
		Backends:    []control.Backend{{Name: "mail", Servers: []control.BackendServer{{Address: "10.0.0.5:143", State: "down"}}}},
		Troubled:    []control.Cert{old},
		Names:       []control.Cert{cert},
	}
}

func TestStatusSaysFirstWhatIsWrong(t *testing.T) {
	var out bytes.Buffer
	if err := Status(&out, someStatus()); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if !strings.HasPrefix(text, "DEGRADED: hellogate 1.2.3, up 1h 1m, pid 0\n  ! store main is not asked\n\nconnections") {
		t.Errorf("begins with %.200s", text)
	}
	at := 0
	for _, want := range []string{
		"3 active of 100", "open, retry in 12s", "10.0.0.5:143", "down", "timeout", "no_cert", "old.example", "overdue",
		"withdrawn: timeout", "NAME (1 of 7)", "a.example", "fetched from main",
	} {
		found := strings.Index(text[at:], want)
		if found < 0 {
			t.Fatalf("no %q in this place: %s", want, text)
		}
		at += found
	}
}

func TestStatusSaysWhatSigns(t *testing.T) {
	for _, c := range []struct {
		process control.Process
		want    string
	}{
		{control.Process{RSASignatures: "libcrypto OpenSSL 3.0.19"}, "signed by libcrypto OpenSSL 3.0.19\n"},
		{control.Process{RSASignatures: "Go (libcrypto.so.3: \x1b[2J)"}, `signed by Go (libcrypto.so.3: \x1b[2J)` + "\n"},
		{control.Process{RSASignatures: "libcrypto OpenSSL 3.0.19", RSASignaturesFailed: 3}, "3.0.19, 3 that it failed at by Go\n"},
	} {
		var out bytes.Buffer
		if err := Status(&out, control.Status{Process: c.process}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("no %q in %s", c.want, out.String())
		}
	}
}

func TestNothingFromOutsideReachesTheTerminal(t *testing.T) {
	var out bytes.Buffer
	Status(&out, someStatus())
	Cert(&out, control.Cert{Issuer: "CN=\u202egro\x1b[31m", Names: []string{"a\u202e"}})
	CertLine(&out, control.Cert{Issuer: "CN=\u202e", LastError: "\r"})
	Explanation(&out, control.Explanation{Outcome: "\x1b", Steps: []control.Step{{Step: "x", Result: "\x07"}}, Cached: &control.Cert{Issuer: "\u202e"}})
	Prefetched(&out, control.PrefetchResult{Reason: "\x1b"})
	for _, r := range out.String() {
		if r != '\n' && (r < ' ' || r > '~') {
			t.Fatalf("%q in %q", r, out.String())
		}
	}
}

func TestManyFlushedAreCounted(t *testing.T) {
	var out bytes.Buffer
	Flushed(&out, control.FlushResult{Flushed: make([]string, 1000), Pinned: []string{"p.example"}})
	text := out.String()
	if strings.Count(text, "\n") > flushedShown+3 || !strings.HasSuffix(text, "pinned, stays: p.example\nand 900 more\n1000 flushed\n") {
		t.Errorf("got %s", text)
	}
}
