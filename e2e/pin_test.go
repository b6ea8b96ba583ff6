package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// put has a pair pinned by the command, as an operator would.
func (g *gate) put(name string, p pair, flags ...string) result {
	g.t.Helper()
	certFile, keyFile := p.write(g.t, shortFolder(g.t), "pair")
	return g.ctl(append([]string{"cert", "put", name, "--cert", certFile, "--key", keyFile}, flags...)...)
}

// wantServed checks which certificate a client gets.
func (g *gate) wantServed(name string, want pair) {
	g.t.Helper()
	c := g.dial(name)
	if got := c.fingerprint(); got != want.fingerprint() {
		g.t.Errorf("%s: served %s, want %s", name, got, want.fingerprint())
	}
	c.Close()
}

// newPinWorld is a world with a disk tier, which pins are kept on.
func newPinWorld(t testing.TB, overrides ...string) (w *world, tier string) {
	t.Helper()
	tier = shortFolder(t) + "/tier"
	return newWorld(t, append(overrides, fmt.Sprintf("cache: {dir: %q}", tier))...), tier
}

// What is pinned is served in place of what the store has, at once, and the store is not even asked.
func TestPinGoesBeforeTheStore(t *testing.T) {
	t.Parallel()
	w, _ := newPinWorld(t)
	w.visit("a.example")
	pinned := ca().issue([]string{"a.example", "b.example"})
	for _, name := range []string{"a.example", "b.example"} {
		wantExit(t, "cert put", w.put(name, pinned), 0, name)
		w.wantServed(name, pinned)
	}
	w.store.wantRequests(t, "b.example", 0)
	c := w.dial("b.example")
	c.Close()
	if got := w.accessOf(c).text("cert"); got != "pinned" {
		t.Errorf("the access log calls it %q", got)
	}
	show := w.ctl("cert", "show", "b.example")
	wantExit(t, "cert show", show, 0, pinned.fingerprint(), "pinned")
	if strings.Contains(show.stdout, "re-fetch") {
		t.Errorf("a pin is never fetched again:\n%s", show.stdout)
	}
	wantExit(t, "cert ls", w.ctl("cert", "ls"), 0, "pinned")
	wantExit(t, "status", w.ctl("status"), 0, "2 pinned by hand")
	wantExit(t, "explain", w.ctl("explain", "b.example"), 0, "pinned by hand", "served from the cache")
	wantExit(t, "prefetch", w.ctl("prefetch", "b.example"), 0, "cached")
	w.store.wantRequests(t, "b.example", 0)
}

// No flush takes what is pinned; each lists it instead.
func TestPinStaysThroughFlushes(t *testing.T) {
	t.Parallel()
	w, _ := newPinWorld(t)
	pinned := ca().issue([]string{"a.example"})
	wantExit(t, "cert put", w.put("a.example", pinned), 0)
	w.visit("b.example")
	for _, arguments := range [][]string{{"a.example"}, {"*.example"}, {"--all"}, {"--cert", pinned.fingerprint()}} {
		what := fmt.Sprint("flush ", arguments)
		wantExit(t, what, w.ctl(append([]string{"flush"}, arguments...)...), 0, "pinned, stays: a.example")
		w.wantServed("a.example", pinned)
	}
	var answer flushed
	w.post("POST", "/flush/all", "", &answer)
	if len(answer.Flushed) != 0 || len(answer.Pinned) != 1 {
		t.Errorf("flush of all: %+v", answer)
	}
	w.store.wantRequests(t, "a.example", 0)
}

// With cache.dir a pin survives a restart, whatever was flushed before, and so does its removal.
func TestPinSurvivesARestart(t *testing.T) {
	t.Parallel()
	w, tier := newPinWorld(t)
	pinned := ca().issue([]string{"a.example"})
	wantExit(t, "cert put", w.put("a.example", pinned), 0)
	for _, arguments := range [][]string{{"a.example"}, {"--all"}, {"--cert", pinned.fingerprint()}} {
		wantExit(t, fmt.Sprint("flush ", arguments), w.ctl(append([]string{"flush"}, arguments...)...), 0, "pinned, stays: a.example")
	}
	w.command.Process.Kill() // it was said to be there: no orderly end is needed
	<-w.ended
	w.stopped.Store(true)

	settings := []string{usesStore(w.store), usesBackend(w.backend.address), fmt.Sprintf("cache: {dir: %q}", tier)}
	second := start(t, settings...)
	second.wantServed("a.example", pinned)
	w.store.wantRequests(t, "a.example", 0)
	wantExit(t, "cert rm", second.ctl("cert", "rm", "a.example"), 0)
	second.stop()

	third := start(t, settings...)
	third.wantServed("a.example", w.store.pairFor("a.example"))
	wantExit(t, "cert rm of what is not pinned", third.ctl("cert", "rm", "a.example"), 1)
}

// Without a disk tier a pin would be lost with the process: it takes --ephemeral to want that.
func TestPinWithoutDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pinned := ca().issue([]string{"a.example"})
	got := w.put("a.example", pinned)
	wantExit(t, "without --ephemeral", got, 1)
	if !strings.Contains(got.stderr, "--ephemeral") || !strings.Contains(got.stderr, "cache.dir") {
		t.Errorf("standard error: %s", got.stderr)
	}
	w.wantServed("a.example", w.store.pairFor("a.example"))
	wantExit(t, "with --ephemeral", w.put("a.example", pinned, "--ephemeral"), 0)
	w.wantServed("a.example", pinned)
	if code, text, err := w.request("PUT", "/certs/b.example", string(bundleJSON(ca().issue([]string{"b.example"})))); code != http.StatusConflict {
		t.Errorf("PUT without ephemeral=true: %d %s %v", code, text, err)
	}
}

// What is not fit to be served is not pinned; one line says why, and nothing else changes.
func TestBadPins(t *testing.T) {
	t.Parallel()
	w, _ := newPinWorld(t)
	good := ca().issue([]string{"a.example"})
	foreign := good
	foreign.key = newKey()
	for why, bad := range map[string]pair{
		"private key":          foreign,
		"covers other.example": ca().issue([]string{"other.example"}),
		"expired":              ca().issue([]string{"a.example"}, valid(-2*time.Hour, -time.Hour)),
		"not valid for":        ca().issue([]string{"a.example"}, valid(time.Hour, 2*time.Hour)),
	} {
		got := w.put("a.example", bad)
		wantExit(t, why, got, 1)
		if !strings.Contains(got.stderr, why) || !strings.Contains(got.stderr, "a.example") {
			t.Errorf("want %q in %s", why, got.stderr)
		}
	}
	folder := shortFolder(t)
	_, keyFile := good.write(t, folder, "a")
	text := filepath.Join(folder, "text.pem")
	writeFile(t, text, "no PEM\n")
	for _, file := range []string{text, keyFile, filepath.Join(folder, "nowhere.pem")} {
		wantExit(t, file, w.ctl("cert", "put", "a.example", "--cert", file, "--key", keyFile), 1)
	}
	if got := w.ctl("cert", "put", "a.example", "--cert", text); got.code != 2 {
		t.Errorf("without --key: exit %d", got.code)
	}
	wantExit(t, "cert rm", w.ctl("cert", "rm", "a.example"), 1)
	w.wantServed("a.example", w.store.pairFor("a.example"))
}

// The end of a pin is warned of in time.
func TestPinAboutToExpire(t *testing.T) {
	t.Parallel()
	w, _ := newPinWorld(t)
	pinned := ca().issue([]string{"a.example"}, valid(-time.Hour, 3*time.Minute))
	wantExit(t, "cert put", w.put("a.example", pinned), 0)
	w.await("warning", func(e entry) bool {
		return e.text("level") == "warn" && e.text("name") == "a.example" && strings.Contains(e.text("message"), "about to expire")
	})
	w.eventually("status begins with it", func() bool {
		return strings.Contains(w.ctl("status").stdout, "! certificates: 1 pinned by hand expires soon")
	})
	wantExit(t, "cert show", w.ctl("cert", "show", "a.example"), 0, "about to expire")
}

// A pin that has expired gives way to the store, and no client is refused meanwhile.
func TestExpiredPinGivesWay(t *testing.T) {
	t.Parallel()
	w, _ := newPinWorld(t)
	pinned := ca().issue([]string{"a.example"}, valid(-time.Hour, 4*time.Second))
	wantExit(t, "cert put", w.put("a.example", pinned), 0)
	w.wantServed("a.example", pinned)
	w.store.wantRequests(t, "a.example", 0)
	time.Sleep(time.Until(pinned.leaf().NotAfter))
	w.eventually("the store's is served", func() bool {
		c, err := handshake(w.address, "a.example")
		if err != nil {
			t.Fatalf("while the pin gives way: %v", err)
		}
		defer c.wire.TCPConn.Close()
		return c.fingerprint() == w.store.pairFor("a.example").fingerprint()
	})
}

// A pin that is removed leaves the name to the store.
func TestRemovedPin(t *testing.T) {
	t.Parallel()
	w, _ := newPinWorld(t)
	pinned := ca().issue([]string{"a.example"})
	wantExit(t, "cert put", w.put("a.example", pinned), 0)
	w.wantServed("a.example", pinned)
	wantExit(t, "cert rm", w.ctl("cert", "rm", "a.example"), 0, "a.example")
	w.wantServed("a.example", w.store.pairFor("a.example"))
	wantExit(t, "cert rm, again", w.ctl("cert", "rm", "a.example"), 1)
	wantExit(t, "status", w.ctl("status"), 0, "0 pinned by hand")
}

// prefetch - reads any number of names from standard input, passes by what is none, tells of those that could not be had,
// and on standard error how far it is and how fast.
func TestPrefetchFromStandardInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.on("nobody.example", status(404))
	w.store.on("broken.example", status(500))
	const count = 600
	lines := []string{"# a comment", "", "bad..name", "  nobody.example", "broken.example", "UPPER.example."}
	for i := range count {
		lines = append(lines, fmt.Sprintf("n%d.example", i))
	}
	got := execute(t, strings.Join(lines, "\n"), hellogate, "prefetch", "-", "--control", w.control)
	if got.code != 1 {
		t.Errorf("exit %d, want 1: three could not be had", got.code)
	}
	if told := strings.Split(strings.TrimSpace(got.stdout), "\n"); len(told) != 3 {
		t.Errorf("%d lines of those that could not be had:\n%.2000s", len(told), got.stdout)
	}
	for _, want := range []string{`bad\.\.name +failed +line 3`, `nobody\.example +unknown`, `broken\.example +failed .*500`} {
		if !regexp.MustCompile(want).MatchString(got.stdout) {
			t.Errorf("no %q in:\n%.2000s", want, got.stdout)
		}
	}
	if want := regexp.MustCompile(fmt.Sprintf(`(?m)^%d names, 3 could not be had, \d+ a second$`, count+4)); !want.MatchString(got.stderr) {
		t.Errorf("standard error: %s", got.stderr)
	}
	if entries := w.status().Cache.Entries; entries != count+1 {
		t.Errorf("%d names are cached, want %d", entries, count+1)
	}
	w.store.stop()
	w.visit("n599.example")
	w.visit("upper.example")
}

// While a slow store is asked, prefetch - tells every second how far it is.
func TestPrefetchTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.onAll(after(200*time.Millisecond, status(404)))
	const count = 400 // of which 32 are asked for at once
	var names strings.Builder
	for i := range count {
		fmt.Fprintf(&names, "n%d.example\n", i)
	}
	got := execute(t, names.String(), hellogate, "prefetch", "-", "--control", w.control)
	lines := strings.Split(strings.TrimSpace(got.stderr), "\n")
	if len(lines) < 3 || strings.HasPrefix(lines[0], fmt.Sprint(count)) || !strings.HasPrefix(lines[len(lines)-2], fmt.Sprint(count)) {
		t.Errorf("standard error:\n%s", got.stderr)
	}
}

// The names that the configuration lists are fetched after the start, which does not wait for them.
func TestConfiguredPrefetch(t *testing.T) {
	t.Parallel()
	store, backend := newStore(t), newBackend(t, echo)
	hold := make(chan struct{})
	store.on("slow.example", func(w http.ResponseWriter, r *http.Request) {
		<-hold
		store.serveIssued(w, r)
	})
	g := start(t, waitsForStore(store, patience), usesBackend(backend.address),
		"prefetch: [slow.example, a.example, Bücher.example]")
	g.visit("other.example") // while one is still being fetched
	close(hold)
	line := g.await("line that says so", func(e entry) bool { return e.text("message") == "prefetched" })
	if line.number("fetched") != 3 {
		t.Errorf("%v", line)
	}
	store.stop()
	for _, name := range []string{"slow.example", "a.example", "xn--bcher-kva.example"} {
		g.visit(name)
	}
}
