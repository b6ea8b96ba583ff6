package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// link is a store of a chain: what it is, and what the configuration says besides.
type link struct {
	name, kind, settings string
}

func asksHTTP(name string, s *fakeStore, settings string) link {
	return link{name, fmt.Sprintf("http: {url: %q, timeout: 2s}", s.url()), settings}
}

func readsFolder(name, folder, settings string) link {
	return link{name, fmt.Sprintf("dir: {path: %q}", folder), settings}
}

// usesChain has the stores asked in order.
func usesChain(links ...link) string {
	var entries []string
	for _, l := range links {
		entry := fmt.Sprintf("{name: %s, %s", l.name, l.kind)
		if l.settings != "" {
			entry += ", " + l.settings
		}
		entries = append(entries, entry+"}")
	}
	return "stores: [" + strings.Join(entries, ", ") + "]"
}

func newChain(t testing.TB, links []link, overrides ...string) *gate {
	t.Helper()
	return start(t, append([]string{usesChain(links...), usesBackend(newBackend(t, echo).address)}, overrides...)...)
}

// answeredBy is the store that a name's certificate came from.
func (g *gate) answeredBy(name string) string {
	g.t.Helper()
	var cert certStatus
	g.get("/certs/"+name, &cert)
	return cert.Store
}

// fails answers 500 to every name, unknowing 404.
func fails(s *fakeStore)     { s.onAll(status(500)) }
func unknowing(s *fakeStore) { s.onAll(status(404)) }

// The stores are asked in order until one knows the name: those after it are not asked, and status and explain say which
// it was. A name that none of them knows is unknown.
func TestChainOrder(t *testing.T) {
	t.Parallel()
	first, second := newStore(t), newStore(t)
	unknowing(first)
	first.works("a.example")
	second.on("nobody.example", status(404))
	g := newChain(t, []link{asksHTTP("first", first, ""), asksHTTP("second", second, "")})
	g.gives("a.example", first.pairFor("a.example"))
	g.gives("b.example", second.pairFor("b.example"))
	g.refused("nobody.example", alertUnrecognizedName)
	g.refused("nobody.example", alertUnrecognizedName)
	second.wantRequests(t, "a.example", 0)
	for _, s := range []*fakeStore{first, second} {
		s.wantRequests(t, "nobody.example", 1)
	}
	for name, want := range map[string]string{"a.example": "first", "b.example": "second"} {
		if got := g.answeredBy(name); got != want {
			t.Errorf("%s came from store %q, want %q", name, got, want)
		}
		wantExit(t, "explain", g.ctl("explain", name), 0, want)
	}
}

// A store that fails is passed by: the next one answers, and that answer lives no longer than min_ttl, whatever it says
// itself. The store that comes first is asked again then, and its answer takes the place of the other's.
func TestChainFailureGoesOn(t *testing.T) {
	t.Parallel()
	first, second := newStore(t), newStore(t)
	fails(first)
	second.onAll(withHeader("Cache-Control", "max-age=86400", second.serveIssued))
	g := newChain(t, []link{asksHTTP("first", first, ""), asksHTTP("second", second, "")}, "cache: {min_ttl: 1s}")
	g.gives("a.example", second.pairFor("a.example"))
	var cert certStatus
	if g.get("/certs/a.example", &cert); cert.RefetchIn > 1 {
		t.Errorf("asked again in %v s, want at most min_ttl", cert.RefetchIn)
	}
	first.works("a.example")
	g.eventually("the first store's certificate is served", func() bool {
		return g.certificateFor("a.example") == first.pairFor("a.example").fingerprint()
	})
}

func withHeader(name, value string, do answer) answer {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(name, value)
		do(w, r)
	}
}

// A failure is not taken for a no because another store said no: such a name is not remembered as unknown.
func TestChainFailureIsNoNo(t *testing.T) {
	t.Parallel()
	first, second := newStore(t), newStore(t)
	fails(first)
	unknowing(second)
	g := newChain(t, []link{asksHTTP("first", first, ""), asksHTTP("second", second, "")})
	g.refused("a.example", alertInternalError)
	if got := g.status().Cache.Negative; got != 0 {
		t.Errorf("%d names are remembered as unknown", got)
	}
	second.works("a.example")
	g.eventually("it is served", func() bool { return g.serves("a.example") })
}

// A store is asked for the names of its own alone; a name that is nobody's is unknown without a request.
func TestChainNames(t *testing.T) {
	t.Parallel()
	first, second := newStore(t), newStore(t)
	g := newChain(t, []link{
		asksHTTP("first", first, `names: ["*.one.example", both.example]`),
		asksHTTP("second", second, `names: [.two.example, both.example]`),
	})
	g.gives("a.one.example", first.pairFor("a.one.example"))
	g.gives("deep.a.two.example", second.pairFor("deep.a.two.example"))
	g.gives("both.example", first.pairFor("both.example"))
	g.refused("deep.a.one.example", alertUnrecognizedName)
	g.refused("nobodys.example", alertUnrecognizedName)
	if got := len(first.allRequests()); got != 2 {
		t.Errorf("the first store was asked %d times, want 2", got)
	}
	if got := len(second.allRequests()); got != 1 {
		t.Errorf("the second store was asked %d times, want 1", got)
	}
}

// Each store has a breaker of its own: that of a store that hangs opens, status says so of it alone, and names are served
// by the next one without waiting for it.
func TestChainBreakers(t *testing.T) {
	t.Parallel()
	first, second := newStore(t), newStore(t)
	first.onAll(hang)
	hangs := asksHTTP("first", first, "breaker: {failures: 3, reset: 1h}")
	hangs.kind = fmt.Sprintf("http: {url: %q, timeout: 200ms}", first.url())
	g := newChain(t, []link{hangs, asksHTTP("second", second, "")})
	for i := range 3 {
		g.visit(fmt.Sprintf("n%d.example", i))
	}
	if got := g.breakers(); !slices.Equal(got, []string{"first open", "second closed"}) {
		t.Fatalf("breakers: %q", got)
	}
	wantExit(t, "status", g.ctl("status"), 0, "first", "second", "open", "closed")
	asked := len(first.allRequests())
	for i := range 5 {
		g.visit(fmt.Sprintf("m%d.example", i))
	}
	if got := len(first.allRequests()); got != asked {
		t.Errorf("the store behind the open breaker was asked %d times", got-asked)
	}
}

// breakers are the stores and what their breakers are.
func (g *gate) breakers() (all []string) {
	g.t.Helper()
	for _, s := range g.status().Stores {
		all = append(all, s.Name+" "+s.Breaker)
	}
	return all
}

// With write_back a folder gets what a later store answered, readable for its owner alone, and serves it when that store
// is gone, across a flush and a restart.
func TestChainWritesBackIntoFolder(t *testing.T) {
	t.Parallel()
	folder, second := t.TempDir(), newStore(t)
	links := []link{readsFolder("first", folder, "write_back: true"), asksHTTP("second", second, "")}
	g := newChain(t, links)
	want := second.pairFor("a.example")
	g.gives("a.example", want)
	g.eventually("both files are written", func() bool {
		return exists(filepath.Join(folder, "a.example.crt")) && exists(filepath.Join(folder, "a.example.key"))
	})
	for _, file := range []string{"a.example.crt", "a.example.key"} {
		if info := must(os.Stat(filepath.Join(folder, file))); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	second.stop()
	g.flush("a.example")
	g.gives("a.example", want)
	if got := g.answeredBy("a.example"); got != "first" {
		t.Errorf("it came from store %q after the flush", got)
	}
	g.stop()
	newChain(t, links).gives("a.example", want)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// What was got because an earlier store could not be asked is not written back; what is got once it can be is.
func TestChainWritesNothingBackAfterAFailure(t *testing.T) {
	t.Parallel()
	folder, second, third := t.TempDir(), newStore(t), newStore(t)
	fails(second)
	g := newChain(t, []link{
		readsFolder("first", folder, "write_back: true"), asksHTTP("second", second, ""), asksHTTP("third", third, ""),
	}, "cache: {min_ttl: 1s}")
	g.gives("a.example", third.pairFor("a.example"))
	g.gives("b.example", third.pairFor("b.example"))
	unknowing(second)
	g.gives("c.example", third.pairFor("c.example")) // it is written: a store that said no has not failed
	g.eventually("c.example is written", func() bool { return exists(filepath.Join(folder, "c.example.crt")) })
	second.works("a.example")
	g.eventually("a.example is written", func() bool { return exists(filepath.Join(folder, "a.example.crt")) })
	if text := string(must(os.ReadFile(filepath.Join(folder, "a.example.crt")))); text != second.pairFor("a.example").certPEM() {
		t.Errorf("the folder has another certificate than the second store's:\n%s", text)
	}
}

// Answers that the store wants nobody to keep, or to ask again for soon, are not written back either, and neither are those
// for a name that write_back is not for.
func TestChainWritesBackOnlyWhatMayBeKept(t *testing.T) {
	t.Parallel()
	folder, second := t.TempDir(), newStore(t)
	second.on("nostore.example", withHeader("Cache-Control", "no-store", second.serveIssued))
	second.on("private.example", withHeader("Cache-Control", "private", second.serveIssued))
	g := newChain(t, []link{
		readsFolder("first", folder, "write_back: true, names: ['*.example']"), asksHTTP("second", second, ""),
	})
	for _, name := range []string{"nostore.example", "private.example", "a.elsewhere.test", "kept.example"} {
		g.visit(name)
	}
	g.eventually("kept.example is written", func() bool { return exists(filepath.Join(folder, "kept.example.key")) })
	if files := must(filepath.Glob(filepath.Join(folder, "[^.]*"))); len(files) != 2 {
		t.Errorf("the folder holds %q", files)
	}
}

// A folder that can't be written to keeps nobody from being served.
func TestChainWriteBackFails(t *testing.T) {
	t.Parallel()
	folder, second := t.TempDir(), newStore(t)
	put(t, filepath.Join(folder, ".hellogate"), "in the way of the folder that files are written in first")
	g := newChain(t, []link{readsFolder("first", folder, "write_back: true"), asksHTTP("second", second, "")})
	g.visit("a.example")
	g.await("warning about the write", func(e entry) bool {
		return e.text("level") == "warn" && e.text("name") == "a.example" && e.text("store") == "first"
	})
	g.visit("a.example")
}
