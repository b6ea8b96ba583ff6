package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// changeSeen is how long a change of a file may take to be served: a second, and two for a machine that is busy.
const changeSeen = 3 * time.Second

func usesFolder(path string) string { return fmt.Sprintf("stores: [{dir: {path: %q}}]", path) }

// newDirectory starts a hellogate that has its certificates from a folder.
func newDirectory(t testing.TB, folder string, overrides ...string) *gate {
	t.Helper()
	return start(t, append([]string{usesFolder(folder), usesBackend(newBackend(t, echo).address)}, overrides...)...)
}

// certificateFor is the fingerprint of what a client that asks for name gets, "" when it is refused.
func (g *gate) certificateFor(name string, options ...option) string {
	c, err := handshake(g.address, name, options...)
	if c != nil {
		defer c.wire.TCPConn.Close()
	}
	if err != nil {
		return ""
	}
	return c.fingerprint()
}

// gives checks that a name has the certificate of a pair.
func (g *gate) gives(name string, want pair) {
	g.t.Helper()
	if got := g.certificateFor(name); got != want.fingerprint() {
		g.t.Errorf("%s: served %q, want %q", name, got, want.fingerprint())
	}
}

// changesTo waits, as long as a change may take, until a name has the certificate of a pair. Until then it has that of
// another, and is never refused.
func (g *gate) changesTo(name string, before, after pair) {
	g.t.Helper()
	g.within(changeSeen, "the new certificate of "+name+" is served", func() bool {
		got := g.certificateFor(name)
		if got != before.fingerprint() && got != after.fingerprint() {
			g.t.Fatalf("%s: served %q while its files were replaced", name, got)
		}
		return got == after.fingerprint()
	})
}

// appears waits, as long as a change may take, until a name that was refused has the certificate of a pair.
func (g *gate) appears(name string, want pair) {
	g.t.Helper()
	g.within(changeSeen, name+" is served", func() bool { return g.certificateFor(name) == want.fingerprint() })
}

// put writes a file, in folders that are made.
func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, text)
}

// linkTo makes a symbolic link, in place of one that is there, as ln -sfn does.
func linkTo(t testing.TB, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("ln", "-sfn", target, path).CombinedOutput(); err != nil {
		t.Fatalf("ln: %v: %s", err, output)
	}
}

func move(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A name's own files go before a certificate that lists it, which goes before a wildcard's; as each is removed the next one
// is served, and at last nothing.
func TestDirPrecedence(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	own, wildcard := ca().issue([]string{"a.example.com"}), ca().issue([]string{"*.example.com"})
	listing := ca().issue([]string{"shop.example", "a.example.com"})
	own.write(t, folder, "a.example.com")
	listing.write(t, folder, "shop.example")
	wildcard.write(t, folder, "_.example.com")
	g := newDirectory(t, folder)
	g.gives("b.example.com", wildcard)
	g.gives("a.example.com", own)
	remove(t, filepath.Join(folder, "a.example.com.crt"), filepath.Join(folder, "a.example.com.key"))
	g.changesTo("a.example.com", own, listing)
	remove(t, filepath.Join(folder, "shop.example.crt"), filepath.Join(folder, "shop.example.key"))
	g.changesTo("a.example.com", listing, wildcard)
	remove(t, filepath.Join(folder, "_.example.com.crt"), filepath.Join(folder, "_.example.com.key"))
	g.within(changeSeen, "a.example.com is served no more", func() bool { return !g.serves("a.example.com") })
	g.refused("a.example.com", alertUnrecognizedName)
}

// A name of which half a pair is there is a failure, not unknown, and served within a second once the other half came.
func TestDirHalfOfANewPair(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	p := ca().issue([]string{"a.example"})
	put(t, filepath.Join(folder, "a.example.crt"), p.certPEM())
	g := newDirectory(t, folder)
	g.refused("a.example", alertInternalError)
	put(t, filepath.Join(folder, "a.example.key"), p.keyPEM())
	g.appears("a.example", p)
}

// Names that are remembered as unknown are served within a second of the files that are for them: their own, those of a
// wildcard, those of another name that list them.
func TestDirNewFiles(t *testing.T) {
	t.Parallel()
	for what, added := range map[string]struct {
		file  string
		names []string
	}{
		"own":          {"a.example.com", []string{"a.example.com"}},
		"a wildcard's": {"_.example.com", []string{"*.example.com"}},
		"another's":    {"shop.example", []string{"shop.example", "a.example.com"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			g := newDirectory(t, folder, "cache: {negative_ttl: 1h}")
			g.refused("a.example.com", alertUnrecognizedName)
			if got := g.status().Cache.Negative; got != 1 {
				t.Fatalf("%d names are remembered as unknown", got)
			}
			p := ca().issue(added.names)
			p.write(t, folder, added.file)
			g.appears("a.example.com", p)
		})
	}
}

// A name whose files were removed is refused within a second, and none of its certificate stays behind.
func TestDirRemovedFiles(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	chain, key := ca().issue([]string{"a.example"}).write(t, folder, "a.example")
	g := newDirectory(t, folder)
	g.visit("a.example")
	remove(t, chain, key)
	g.within(changeSeen, "a.example is served no more", func() bool { return !g.serves("a.example") })
	g.refused("a.example", alertUnrecognizedName)
	if code, text, _ := g.request("GET", "/certs/a.example", ""); code != 404 {
		t.Errorf("its certificate is still there: %d %s", code, text)
	}
}

// Files that are removed and written again are served again within a second; between, the name may be refused.
func TestDirRemovedAndWritten(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	first, second := ca().issue([]string{"a.example"}), ca().issue([]string{"a.example"})
	chain, key := first.write(t, folder, "a.example")
	g := newDirectory(t, folder)
	g.gives("a.example", first)
	remove(t, chain, key)
	second.write(t, folder, "a.example")
	g.appears("a.example", second)
}

// Links that lead out of the folder, files and folders, relative and absolute, are not followed: the name fails, the log
// says on which file, and what is there is not served.
func TestDirLinksOutside(t *testing.T) {
	t.Parallel()
	for what, lead := range map[string]func(t *testing.T, outside, folder string){
		"an absolute link": func(t *testing.T, outside, folder string) {
			linkTo(t, filepath.Join(outside, "a.example.crt"), filepath.Join(folder, "a.example.crt"))
			linkTo(t, filepath.Join(outside, "a.example.key"), filepath.Join(folder, "a.example.key"))
		},
		"a relative link": func(t *testing.T, _, folder string) {
			linkTo(t, "../outside/a.example.crt", filepath.Join(folder, "a.example.crt"))
			linkTo(t, "../outside/a.example.key", filepath.Join(folder, "a.example.key"))
		},
		"a link to a folder": func(t *testing.T, _, folder string) {
			linkTo(t, "../../outside/a.example", filepath.Join(folder, "live", "a.example"))
		},
		"only the key": func(t *testing.T, outside, folder string) {
			text, err := os.ReadFile(filepath.Join(outside, "a.example.crt"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(folder, "a.example.crt"), string(text))
			linkTo(t, "../outside/a.example.key", filepath.Join(folder, "a.example.key"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			folder, outside := filepath.Join(parent, "certs"), filepath.Join(parent, "outside")
			p := ca().issue([]string{"a.example"})
			put(t, filepath.Join(outside, "a.example", "fullchain.pem"), p.certPEM())
			put(t, filepath.Join(outside, "a.example", "privkey.pem"), p.keyPEM())
			p.write(t, outside, "a.example")
			other := ca().issue([]string{"b.example"})
			put(t, filepath.Join(folder, "b.example.pem"), other.certPEM()+other.keyPEM())
			lead(t, outside, folder)
			g := newDirectory(t, folder)
			g.refused("a.example", alertInternalError)
			g.await("line about the link", func(e entry) bool { return strings.Contains(e.text("reason"), "escapes") })
			g.gives("b.example", other)
		})
	}
}

// A certificate that mod_md obtained and httpd never put into place is warned of, once, and not served.
func TestDirStaged(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	active, staged := ca().issue([]string{"a.example"}), ca().issue([]string{"a.example"})
	layouts["mod_md"](t, folder, "a.example", active)
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(folder, "domains/a.example/pubcert.pem"), before, before); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "staging/a.example/pubcert.pem"), staged.certPEM())
	put(t, filepath.Join(folder, "staging/a.example/privkey.pem"), staged.keyPEM())
	g := newDirectory(t, folder)
	isWarning := func(e entry) bool {
		return e.text("level") == "warn" && e["staged"] != nil && e.text("name") == "a.example"
	}
	for range 3 {
		g.gives("a.example", active)
		g.flush("a.example")
	}
	g.await("warning of what is staged", isWarning)
	count := 0
	for lines, _ := g.log.all(); len(lines) > 0; lines = lines[1:] {
		if isWarning(lines[0]) {
			count++
		}
	}
	if count != 1 {
		t.Errorf("warned %d times", count)
	}
}

// A folder of 100,000 files is served from at once, a change in it is seen as fast as in a small one, and the processor has
// nothing to do while nothing changes.
func TestDirOf100000Files(t *testing.T) {
	t.Parallel()
	size := 100_000
	if withRace {
		size = 10_000
	}
	folder := t.TempDir()
	fill(t, folder, size)
	first, second := ca().issue([]string{"a.example", "listed.example"}), ca().issue([]string{"a.example", "listed.example"})
	put(t, filepath.Join(folder, "a.example.pem"), first.certPEM()+first.keyPEM())
	g := newDirectory(t, folder, "cache: {negative_ttl: 1h, lookup_timeout: 60s}", "limits: {handshake_timeout: 60s}")
	g.gives("a.example", first)
	g.refused("new.example", alertUnrecognizedName, within(time.Minute)) // it waits until all names are known
	g.gives("listed.example", first)

	put(t, filepath.Join(folder, "a.example.pem"), second.certPEM()+second.keyPEM())
	g.changesTo("a.example", first, second)
	g.changesTo("listed.example", first, second)
	added := ca().issue([]string{"new.example"})
	put(t, filepath.Join(folder, "new.example.pem"), added.certPEM()+added.keyPEM())
	g.appears("new.example", added)
	remove(t, filepath.Join(folder, "new.example.pem"))
	g.within(changeSeen, "new.example is served no more", func() bool { return !g.serves("new.example") })

	const watched = 2 * time.Second
	before := g.processorTime()
	time.Sleep(watched)
	if used := g.processorTime() - before; used > watched/10 {
		t.Errorf("%v of processor time in %v without a change", used, watched)
	}
}

// fill makes the files of many names, all with the same content: a file can have 65,000 names on ext4.
func fill(t testing.TB, folder string, size int) {
	t.Helper()
	p := ca().issue([]string{"many.example"})
	source := ""
	for i := range size {
		path := filepath.Join(folder, fmt.Sprintf("n%d.many.example.pem", i))
		if i%20_000 == 0 {
			source = path
			put(t, source, p.certPEM()+p.keyPEM())
		} else if err := os.Link(source, path); err != nil {
			t.Fatal(err)
		}
	}
}
