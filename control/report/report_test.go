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

func TestStatusSaysWhatTheDiskDoes(t *testing.T) {
	for _, c := range []struct {
		name string
		disk *control.DiskStatus
		want string
	}{
		{"none", nil, ""},
		{"fine", &control.DiskStatus{Path: "/tier", Records: 7, FileBytes: 64 << 10, Written: 9}, "disk /tier: 7 names in 64.0 KiB, 3 taken from it, 9 written"},
		{
			"in trouble", &control.DiskStatus{Path: "/tier", Damaged: 1, Dropped: 2, LastError: "no\x1bspace"},
			`disk /tier: 0 names in 0 B, 3 taken from it, 0 written, 1 damaged, 2 not written; fails with no\x1bspace`,
		},
	} {
		var out bytes.Buffer
		if err := Status(&out, control.Status{Disk: c.disk, Cache: control.CacheStatus{Loaded: 3}}); err != nil {
			t.Fatal(err)
		}
		got := ""
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "disk") {
				got = strings.Join(strings.Fields(line), " ")
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestStatusCountsPinsAndLimits(t *testing.T) {
	var out bytes.Buffer
	Status(&out, control.Status{
		Cache: control.CacheStatus{Pinned: 4, PinnedHits: 5, Limited: 6}, Connections: control.Connections{Handshaking: 2, Waiting: 3},
	})
	for _, want := range []string{"2 (and 3 waiting) in the handshake", "4 pinned by hand", "5 pinned", "6 limited"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, out.String())
		}
	}
}

// What there is one of is not told as if there were several.
func TestStatusCountsOne(t *testing.T) {
	one := control.Status{
		Cache: control.CacheStatus{Entries: 1, Aliases: 1, Hits: 1, Misses: 1, Refreshes: 1},
		Disk:  &control.DiskStatus{Path: "/tier", Records: 1}, Process: control.Process{OpenFiles: 1, Goroutines: 1, LogDropped: 1},
	}
	two := control.Status{
		Cache: control.CacheStatus{Entries: 2, Aliases: 2, Hits: 2, Misses: 2, Refreshes: 2},
		Disk:  &control.DiskStatus{Path: "/tier", Records: 2}, Process: control.Process{OpenFiles: -1, Goroutines: 2, LogDropped: 2},
	}
	for _, c := range []struct {
		status control.Status
		wants  []string
	}{
		{one, []string{
			" 1 name in 0 B", "1 of them an alias,", " 1 hit,", "1 miss,", "1 of them a refresh,", "/tier: 1 name in",
			"1 open file,", "1 goroutine,", "1 log line dropped",
		}},
		{two, []string{
			" 2 names in 0 B", "2 of them aliases,", " 2 hits,", "2 misses,", "2 of them refreshes,", "/tier: 2 names in",
			"? open files,", "2 goroutines,", "2 log lines dropped",
		}},
	} {
		var out bytes.Buffer
		Status(&out, c.status)
		for _, want := range c.wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in %s", want, out.String())
			}
		}
	}
}

func TestStatusSaysWhatIsWatchedAndPermitted(t *testing.T) {
	yes, no := true, false
	var out bytes.Buffer
	Status(&out, control.Status{
		Stores: []control.StoreStatus{
			{Name: "a", Breaker: "closed", Watching: &yes},
			{Name: "b", Breaker: "closed", Watching: &no, WatchProblem: "no\x1bway", LastError: "timeout"},
			{Name: "c", Breaker: "closed"},
		},
		Permission: &control.PermissionStatus{URL: "http://ask", Breaker: "open", RetryIn: 7, Yes: 1, No: 2, Failed: 3, CutOff: 4, Remembered: 5},
	})
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"WATCHING LAST ERROR a closed 0 0 0 0 yes - b closed 0 0 0 0 no timeout c closed 0 0 0 0 - -", `b: changes: no\x1bway`,
		"PERMISSION BREAKER YES NO FAILED CUT OFF REMEMBERED LAST ERROR http://ask open, retry in 7s 1 2 3 4 5 -",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, out.String())
		}
	}
}

func TestCertSaysAllThatIsKnown(t *testing.T) {
	at := time.Now().Add(-time.Minute)
	fetched := control.Cert{
		Name: "a.example", Names: []string{"a.example", "b.example"}, Source: "fetched", Store: "main", FetchedAt: at, NotAfter: at,
		RefetchIn: 3600, TookMS: 1.25, Remarks: []string{"odd"}, RoutedTo: []string{"10.0.0.5:25", "mail"}, WithoutECDSA: true,
		LastError: "timeout", Withdrawn: true, Expiring: true, AliasOf: "c.example", KeyType: "ecdsa-p256", SecondKeyType: "rsa-2048",
	}
	pinned := control.Cert{Name: "a.example", Source: "pinned", Store: "by hand", FetchedAt: at, NotAfter: at, RefetchIn: 3600}
	for _, c := range []struct {
		name          string
		cert          control.Cert
		shown, listed []string
		never         string
	}{
		{"fetched", fetched, []string{
			"key ecdsa-p256, and rsa-2048 for clients that can't use it", "fetched from main, for c.example", ", in 1.2 ms", "re-fetch in 1h", "served to clients that can't use ECDSA", "routed to 10.0.0.5:25 mail",
			"remark odd", "trouble withdrawn: about to expire, and no newer one is known: timeout",
		}, []string{
			"fetched 1m 1.2 ms 1h", "main", "withdrawn", "timeout", "alias of c.example", "for clients that can't use ECDSA", "routed to 10.0.0.5:25 mail", "odd",
		}, "put there"},
		{"pinned", pinned, []string{"from pinned", "put there"}, []string{"pinned 1m - - "}, "re-fetch"},
	} {
		var shown, listed bytes.Buffer
		Cert(&shown, c.cert)
		CertLine(&listed, c.cert)
		for _, check := range []struct {
			text  string
			wants []string
		}{{shown.String(), c.shown}, {listed.String(), c.listed}} {
			text := strings.Join(strings.Fields(check.text), " ")
			for _, want := range check.wants {
				if !strings.Contains(text, want) {
					t.Errorf("%s: no %q in %s", c.name, want, text)
				}
			}
			if strings.Contains(text, c.never) {
				t.Errorf("%s: %q in %s", c.name, c.never, text)
			}
		}
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
	at := time.Now()
	Backends(&out, []control.Backend{{Name: "\x1b", Balance: "\x1b", Servers: []control.BackendServer{{
		Address: "\u202e", Endpoint: "\x1b", Reason: "\x1b", LastError: "\x07", LastErrorAt: &at, CheckError: "\r",
	}}, Panic: true}})
	ServerChanged(&out, control.ServerChange{Backend: "\x1b", Servers: []control.BackendServer{{Address: "\u202e"}}})
	ConnectionLine(&out, control.Connection{Name: "\x1b", Client: "\x1b", Backend: "\x1b", Server: "\u202e", Stage: "\x1b", Route: "~\u202e"})
	Killed(&out, control.KillResult{NotOpen: []string{"\x1b"}})
	Reloaded(&out, control.ReloadResult{Changed: []string{"\x1b"}, AfterARestart: []string{"\x1b"}})
	CertLine(&out, control.Cert{Issuer: "CN=\u202e", LastError: "\r", Store: "\x1b", RoutedTo: []string{"\x1b"}, Remarks: []string{"\x1b"}})
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

// Of the listeners those are said whose clients say something before their TLS.
func TestStatusOfListeners(t *testing.T) {
	var out strings.Builder
	err := Status(&out, control.Status{Listeners: []control.Listener{{Name: "pg\x1b", StartTLS: "postgres"}, {Name: ":443"}}})
	if err != nil || strings.Count(out.String(), "listener") != 1 || !strings.Contains(out.String(), `listener     pg\x1b: starttls postgres`) {
		t.Errorf("%v\n%s", err, out.String())
	}
}
