package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A store is replaced by another again and again, under load with names that no one asked for before, while it is being asked:
// no handshake fails.
func TestReloadStoreUnderLoad(t *testing.T) {
	t.Parallel()
	servers := newBackend(t, echo)
	servers.forgetPeers()
	first, second := newStore(t), newStore(t)
	for _, each := range []*fakeStore{first, second} {
		each.onAll(after(20*time.Millisecond, each.serveIssued))
	}
	g := start(t, usesChain(asksHTTP("main", first, "")), usesBackend(servers.address), "log: {level: info, access: false}")
	var visitors []*load
	for client := range 8 {
		names := make([]string, 5000)
		for n := range names {
			names[n] = fmt.Sprintf("n%d.c%d.example", n, client)
		}
		visitors = append(visitors, underLoad(t, g.address, 1, names...))
	}
	for n := range 8 {
		visitors[n].wait(g, 5)
		got := g.reload(usesChain(asksHTTP("main", []*fakeStore{second, first}[n%2], "")))
		if !slices.Equal(got.Changed, []string{"stores"}) || len(got.AfterRestart) != 0 {
			t.Errorf("%+v", got)
		}
	}
	for _, each := range visitors {
		each.wait(g, 5)
		each.wantNoFailure(t)
	}
	for _, each := range []*fakeStore{first, second} {
		if len(each.allRequests()) < 20 {
			t.Errorf("one of the stores was asked for %d names alone", len(each.allRequests()))
		}
	}
}

// A store that is new knows a name that was a no: it is served at once. So is one that could not be fetched. What was cached of
// the others stays, and the breaker of a store that stays is as it was.
func TestReloadNewStore(t *testing.T) {
	t.Parallel()
	first, folder := newStore(t), t.TempDir()
	for _, name := range []string{"late.example", "broken.example"} {
		issued := ca().issue([]string{name})
		put(t, filepath.Join(folder, name+".pem"), issued.certPEM()+issued.keyPEM())
	}
	first.on("late.example", status(http.StatusNotFound))
	first.on("broken.example", status(http.StatusInternalServerError, "Retry-After", "60"))
	kept := asksHTTP("first", first, "breaker: {failures: 2, reset: 10m}")
	g := newChain(t, []link{kept}, "cache: {negative_ttl: 10m}")
	g.visit("a.example")
	g.refused("late.example", alertUnrecognizedName)
	g.refused("broken.example", alertInternalError)
	fails(first)
	for n := range 6 {
		g.serves(fmt.Sprintf("n%d.example", n))
	}
	if got := g.breakers(); !slices.Equal(got, []string{"first open"}) {
		t.Fatalf("breakers: %q", got)
	}
	g.reload(usesChain(kept, readsFolder("second", folder, "names: [.example]")))
	g.visit("late.example")
	g.visit("broken.example")
	g.visit("a.example")
	if from := g.answeredBy("late.example"); from != "second" {
		t.Errorf("answered by %q", from)
	}
	if got := g.breakers(); !slices.Equal(got, []string{"first open", "second closed"}) {
		t.Errorf("breakers: %q", got)
	}
	wantExit(t, "explain", g.ctl("explain", "new.example"), 0, "store first", "store second")
	metrics := g.curl("http://localhost/metrics").stdout
	for _, series := range []string{`hellogate_breaker_state{store="first",state="open"} 1`, `hellogate_store_requests_total{store="second",result="bundle"}`} {
		if !strings.Contains(metrics, series) {
			t.Errorf("no %s in the metrics", series)
		}
	}
}

// The names of a store that is removed are answered by the next, and served meanwhile; a name that none has any more goes on
// being served too. The store is not asked again, and nothing is said of it.
func TestReloadRemovedStore(t *testing.T) {
	t.Parallel()
	first, second := newStore(t), newStore(t)
	second.on("alone.example", status(http.StatusNotFound))
	rest := asksHTTP("second", second, "")
	g := newChain(t, []link{asksHTTP("first", first, ""), rest})
	g.visit("alone.example")
	g.gives("a.example", first.pairFor("a.example"))
	g.reload(usesChain(rest))
	first.stop()
	asked := len(first.allRequests())
	g.changesTo("a.example", first.pairFor("a.example"), second.pairFor("a.example"))
	g.gives("alone.example", first.pairFor("alone.example"))
	g.visit("b.example")
	if from := g.answeredBy("a.example"); from != "second" {
		t.Errorf("answered by %q", from)
	}
	if got := g.breakers(); !slices.Equal(got, []string{"second closed"}) || len(first.allRequests()) != asked {
		t.Errorf("breakers: %q; asked %d times more", got, len(first.allRequests())-asked)
	}
	g.rewrite("stores: []")
	g.reloadFails("no store", "stores")
}

// A store that can't be opened leaves all as it was, also where others of the file could be.
func TestReloadStoreThatIsWrong(t *testing.T) {
	t.Parallel()
	first, second := newStore(t), newStore(t)
	kept := asksHTTP("first", first, "")
	g := newChain(t, []link{kept}, "cache: {negative_ttl: 10m}")
	first.on("no.example", status(http.StatusNotFound))
	g.refused("no.example", alertUnrecognizedName)
	g.visit("a.example")
	before := must(os.ReadFile(g.config))
	token := filepath.Join(t.TempDir(), "token")
	writeFile(t, token, "one two\n") // which is seen when the store is opened, after others, and not before
	for _, c := range []struct{ what, stores, reason string }{
		{"no folder", usesChain(asksHTTP("second", second, ""), kept, readsFolder("folder", "/nonexistent/folder", "")), "/nonexistent/folder"},
		{"no CA file", usesChain(kept, link{"second", fmt.Sprintf("http: {url: %q, ca_file: /nonexistent.pem}", second.url()), ""}), "/nonexistent.pem"},
		{"no token", usesChain(asksHTTP("second", second, ""), kept, link{"third", fmt.Sprintf("http: {url: %q, token_file: %q}", second.url(), token), ""}), "token has a space"},
		{"none", "stores: []", "stores"},
	} {
		g.rewrite(c.stores)
		g.reloadFails(c.what, c.reason)
		if got := g.breakers(); !slices.Equal(got, []string{"first closed"}) {
			t.Errorf("%s: breakers: %q", c.what, got)
		}
		g.replaceConfig(string(before))
	}
	g.refused("no.example", alertUnrecognizedName)
	g.visit("a.example")
	g.visit("b.example")
	first.wantRequests(t, "no.example", 1)
	first.wantRequests(t, "a.example", 1)
	if asked := len(second.allRequests()); asked > 0 {
		t.Errorf("a store that was never in use was asked %d times", asked)
	}
}

// A folder that comes is watched from then on, one that goes no longer; stores that come and go leave nothing behind.
func TestReloadWatchedStores(t *testing.T) {
	t.Parallel()
	folder, other, source := t.TempDir(), t.TempDir(), newStore(t)
	source.onAll(status(http.StatusNotFound))
	asks := asksHTTP("source", source, "")
	g := newChain(t, []link{asks})
	with := func(path string) {
		g.reload(usesChain(readsFolder("folder", path, ""), asks))
		g.eventually("the folder is watched", func() bool {
			text, err := g.ask("GET", "/status", "")
			return err == nil && strings.Contains(text, `"watching":true`)
		})
	}
	with(folder)
	g.refused("a.example", alertUnrecognizedName)
	issued := ca().issue([]string{"a.example"})
	put(t, filepath.Join(folder, "a.example.pem"), issued.certPEM()+issued.keyPEM())
	g.appears("a.example", issued)
	g.reload(usesChain(asks))
	before := g.process()
	for range 10 {
		with(folder)
		with(other)
		g.reload(usesChain(asks))
	}
	g.eventually("nothing is left of them", func() bool {
		now := g.process()
		return now.Goroutines <= before.Goroutines+3 && now.Files <= before.Files+3
	})
	g.gives("a.example", issued)
}
