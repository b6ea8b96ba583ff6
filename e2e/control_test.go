package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// wantFields checks that a JSON object has each field, and gives the object.
func wantFields(t testing.TB, where, text string, fields ...string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("%s: %v in %.500s", where, err, text)
	}
	for _, field := range fields {
		if _, has := object[field]; !has {
			t.Errorf("%s: no %q in %.500s", where, field, text)
		}
	}
	return object
}

// curl sends a request to the control socket as an operator would.
func (g *gate) curl(arguments ...string) result {
	g.t.Helper()
	arguments = append([]string{"-sS", "--unix-socket", g.control}, arguments...)
	return execute(g.t, "", program(g.t, "curl"), arguments...)
}

// curl reads the status, in the shape that was promised.
func TestCurlStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.dial("a.example")
	got := w.curl("http://localhost/status")
	status := wantFields(t, "status", got.stdout, "version", "uptime_seconds", "connections", "cache", "stores", "backends", "names")
	for part, fields := range map[string][]string{
		"connections": {"active", "total", "limit"},
		"cache":       {"entries", "bytes", "limit_bytes", "negative", "hits", "stale", "misses", "coalesced"},
	} {
		wantFields(t, part, string(must(json.Marshal(status[part]))), fields...)
	}
	for part, fields := range map[string][]string{
		"stores":   {"name", "breaker", "failures", "retry_in_seconds"},
		"backends": {"name", "servers"},
		"names": {
			"name", "names", "issuer", "fingerprint_sha256", "key_type", "store", "source", "fetched_at", "refetch_in_seconds",
			"expires_in_seconds", "not_after", "last_error",
		},
	} {
		list, _ := status[part].([]any)
		if len(list) != 1 {
			t.Errorf("%s: %v, want one", part, status[part])
			continue
		}
		wantFields(t, part, string(must(json.Marshal(list[0]))), fields...)
	}
	parsed := w.status()
	if parsed.Connections.Active != 1 || parsed.Cache.Entries != 1 || parsed.Cache.Misses != 1 || parsed.Stores[0].Breaker != "closed" {
		t.Errorf("status %+v", parsed)
	}
	if server := parsed.Backends[0].Servers[0]; server.Address != w.backend.address || server.State != "up" || server.Connections != 1 {
		t.Errorf("server %+v", server)
	}
	c.Close()
}

// curl lists the certificates, all and one, and what is told of them is true.
func TestCurlCerts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("a.example")
	w.visit("b.example")
	var all struct{ Certs []certStatus }
	w.get("/certs", &all)
	if len(all.Certs) != 2 {
		t.Errorf("listed %+v", all.Certs)
	}
	var got certStatus
	if err := json.Unmarshal([]byte(w.curl("http://localhost/certs/a.example").stdout), &got); err != nil {
		t.Fatal(err)
	}
	p := w.store.pairFor("a.example")
	if got.Name != "a.example" || got.Fingerprint != p.fingerprint() || got.Source != "fetched" || got.KeyType != "ecdsa-p256" ||
		!got.NotAfter.Equal(p.leaf().NotAfter) || len(got.Names) != 1 || !strings.Contains(got.Issuer, "e2e intermediate") {
		t.Errorf("told %+v", got)
	}
	if until := time.Until(p.leaf().NotAfter).Seconds(); got.ExpiresIn < until-60 || got.ExpiresIn > until+60 || got.RefetchIn <= 0 || got.RefetchIn >= until {
		t.Errorf("expires in %v, to be fetched again in %v; it is valid for %v", got.ExpiresIn, got.RefetchIn, until)
	}
}

// Every form of a flush, by curl: what it says it removed is what is asked for again.
func TestCurlFlush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names := []string{"a.example", "x.b.example", "y.b.example", "c.example"}
	for _, name := range names {
		w.visit(name)
	}
	for _, test := range []struct {
		name, path, payload string
		want                []string
	}{
		{"a name", "/flush/a.example", "", []string{"a.example"}},
		{"a name that is gone", "/flush/a.example", "", []string{}},
		{"a name never seen", "/flush/nobody.example", "", []string{}},
		{"a pattern", "/flush", `{"pattern": "*.b.example"}`, []string{"x.b.example", "y.b.example"}},
		{"a fingerprint", "/flush", fmt.Sprintf(`{"fingerprint": %q}`, w.store.pairFor("c.example").fingerprint()), []string{"c.example"}},
		{"nothing left", "/flush/all", "", []string{}},
	} {
		got := w.curl("-X", "POST", "-d", test.payload, "http://localhost"+test.path)
		var answer flushed
		if err := json.Unmarshal([]byte(got.stdout), &answer); err != nil {
			t.Fatalf("%s: %v in %q", test.name, err, got.stdout)
		}
		if answer.Result != "success" || !sameNames(answer.Flushed, test.want) || answer.Flushed == nil || answer.Pinned == nil {
			t.Errorf("%s: %s, want %q flushed", test.name, got.stdout, test.want)
		}
	}
	for _, name := range names {
		w.visit(name)
		w.store.wantRequests(t, name, 2)
	}
	var answer flushed
	w.post("POST", "/flush", `{"all": true}`, &answer)
	if !sameNames(answer.Flushed, names) {
		t.Errorf("flushed %q of %q", answer.Flushed, names)
	}
	w.post("POST", "/flush", `{"names": ["a.example", "b.example"]}`, &answer)
}

func sameNames(got, want []string) bool {
	seen := map[string]int{}
	for _, name := range got {
		seen[name]++
	}
	for _, name := range want {
		seen[name]--
	}
	for _, count := range seen {
		if count != 0 {
			return false
		}
	}
	return true
}

// A flush removes a remembered no and a remembered failure too.
func TestFlushForgetsAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.on("gone.example", status(404))
	w.store.on("broken.example", status(500))
	w.refused("gone.example", alertUnrecognizedName)
	w.refused("broken.example", alertInternalError)
	for _, name := range []string{"gone.example", "broken.example"} {
		w.store.works(name)
		w.flush(name)
		w.visit(name)
	}
}

// Prefetch warms the cache, passes a remembered no by, and tells of each name on a line of its own.
func TestCurlPrefetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("cached.example")
	w.store.on("gone.example", status(404))
	w.store.on("broken.example", status(500))
	w.store.on("late.example", status(404))
	w.refused("late.example", alertUnrecognizedName)
	w.store.works("late.example")
	got := w.curl("-X", "POST", "-d", `{"names": ["new.example", "cached.example", "gone.example", "broken.example", "late.example"]}`,
		"http://localhost/prefetch")
	results := map[string]string{}
	for line := range strings.Lines(got.stdout) {
		answer := wantFields(t, "prefetch", line, "name", "result", "reason")
		results[fmt.Sprint(answer["name"])] = fmt.Sprint(answer["result"])
	}
	want := map[string]string{
		"new.example": "fetched", "cached.example": "cached", "gone.example": "unknown", "broken.example": "failed", "late.example": "fetched",
	}
	if fmt.Sprint(results) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", results, want)
	}
	w.visit("new.example")
	w.store.wantRequests(t, "new.example", 1)
}

// Explain tells the route, the backend and the steps, without asking the store.
func TestCurlExplain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.curl("http://localhost/explain/a.example")
	told := wantFields(t, "explain", before.stdout, "name", "route", "action", "backend", "certificate", "steps")
	if told["name"] != "a.example" || told["action"] != "terminate" || told["backend"] != "main" {
		t.Errorf("told %s", before.stdout)
	}
	steps, _ := told["steps"].([]any)
	if len(steps) == 0 {
		t.Fatal("no steps")
	}
	wantFields(t, "step", string(must(json.Marshal(steps[0]))), "step", "result")
	w.store.wantRequests(t, "a.example", 0)
	w.visit("a.example")
	after := w.curl("http://localhost/explain/a.example")
	if after.stdout == before.stdout {
		t.Errorf("told the same with the name cached: %s", after.stdout)
	}
}

// Wrong requests get a status that fits and the reason as JSON.
func TestControlErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct {
		method, path, payload string
		want                  int
	}{
		{"GET", "/nothing", "", 404},
		{"GET", "/certs/nobody.example", "", 404},
		{"GET", "/certs/not%20a%20name", "", 400},
		{"GET", "/explain/a..example", "", 400},
		{"POST", "/flush/-a.example", "", 400},
		{"POST", "/flush", `{"nmaes": ["a.example"]}`, 400},
		{"POST", "/flush", `{"names": ["a.example"`, 400},
		{"POST", "/flush", `{"fingerprint": "zz"}`, 400},
		{"POST", "/flush", "", 400},
		{"POST", "/prefetch", `{"names": ["../a"]}`, 400},
		{"POST", "/status", "", 405},
		{"GET", "/flush/all", "", 405},
		{"GET", "/prefetch", "", 405},
		{"DELETE", "/status", "", 405},
	} {
		code, text, err := w.request(test.method, test.path, test.payload)
		if err != nil || code != test.want {
			t.Errorf("%s %s %s: status %d, want %d (%v): %s", test.method, test.path, test.payload, code, test.want, err, text)
			continue
		}
		if got := wantFields(t, test.path, text, "result", "reason"); got["result"] != "error" || got["reason"] == "" {
			t.Errorf("%s %s: %s", test.method, test.path, text)
		}
	}
	w.visit("a.example")
}

// The control socket is for its owner alone. One left behind is replaced.
func TestControlSocket(t *testing.T) {
	t.Parallel()
	g := configured(t, usesStore(newStore(t)), usesBackend("127.0.0.1:9"))
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: g.control, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	g.run("run", "--config", g.config)
	info, err := os.Stat(g.control)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
}

// A socket that a live process serves is left alone, and so is that process.
func TestLiveControlSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := configured(t, usesStore(w.store), usesBackend(w.backend.address), fmt.Sprintf("control: {socket: %q}", w.control))
	if got := command(t, "run", "--config", second.config); got.code != 1 || !strings.Contains(got.stderr, w.control) {
		t.Errorf("exit %d:\n%s", got.code, got.stderr)
	}
	w.status()
}

// What is no socket is never removed to make room for one.
func TestFileInPlaceOfSocket(t *testing.T) {
	t.Parallel()
	g := configured(t, usesStore(newStore(t)), usesBackend("127.0.0.1:9"))
	writeFile(t, g.control, "precious")
	if got := command(t, "run", "--config", g.config); got.code != 1 {
		t.Errorf("exit %d:\n%s", got.code, got.stderr)
	}
	if text, err := os.ReadFile(g.control); string(text) != "precious" {
		t.Errorf("the file is gone: %v", err)
	}
}

// A flush is logged with who asked for it.
func TestChangesAreLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("a.example")
	w.flush("a.example")
	e := w.await("line about the flush", func(e entry) bool {
		return e["uid"] != nil && e["pid"] != nil && strings.Contains(fmt.Sprint(e), "flush")
	})
	if e.text("uid") != itoa(os.Getuid()) || e.text("pid") != itoa(os.Getpid()) {
		t.Errorf("logged uid %v and pid %v", e["uid"], e["pid"])
	}
}

// Slow and endless clients of the control socket bother nobody else.
func TestControlAbuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.memory()
	for range 200 {
		conn, err := net.Dial("unix", w.control)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /status HTTP/1.1\r\nHost: a\r\n") // and no more
	}
	huge := `{"names": ["` + strings.Repeat("a", 64<<20) + `"]}`
	if code, _, err := w.request("POST", "/flush", huge); err == nil && code < 400 {
		t.Errorf("a body of 64 MB got %d", code)
	}
	w.status()
	w.visit("a.example")
	if grown := w.peakMemory() - before; grown > 48<<20 && !withRace {
		t.Errorf("memory grew by %d bytes", grown)
	}
}

// POST /shutdown ends hellogate as SIGTERM does.
func TestShutdownRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.curl("-X", "POST", "http://localhost/shutdown")
	w.eventually("it has ended", w.hasEnded)
	w.stop()
}
