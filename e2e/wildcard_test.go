package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// With cache.wildcards a certificate that was fetched for one name answers for every other one label below its wildcard, and
// no store is asked; without it, and two labels below, they are asked for as any other. A name's own certificate goes first.
func TestWildcards(t *testing.T) {
	t.Parallel()
	for _, wildcards := range []bool{true, false} {
		t.Run(fmt.Sprint(wildcards), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fmt.Sprintf("cache: {wildcards: %v, alias_ca_file: %q}", wildcards, ca().rootFile(t)))
			shared := ca().issue([]string{"*.x.example"})
			w.store.on("a.x.example", bundle(shared))
			w.visit("a.x.example")
			if got := w.gets("b.x.example", shared); got != wildcards {
				t.Errorf("b.x.example by the wildcard: %v", got)
			}
			asked := 1
			if wildcards {
				asked = 0
			}
			w.store.wantRequests(t, "b.x.example", asked)
			for _, name := range []string{"deep.c.x.example", "x.example"} {
				w.visit(name)
				w.store.wantRequests(t, name, 1)
			}
			w.ctl("prefetch", "own.x.example")
			if !w.gets("own.x.example", w.store.pairFor("own.x.example")) {
				t.Error("own.x.example does not get its own certificate")
			}
		})
	}
}

// A wildcard in a certificate that no trusted CA made answers for nobody else's name.
func TestUntrustedWildcard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {wildcards: true}")
	w.store.on("evil.x.example", bundle(stranger().issue([]string{"*.x.example"})))
	w.dial("evil.x.example", anyCertificate).Close()
	w.visit("victim.x.example")
	w.store.wantRequests(t, "victim.x.example", 1)
}

// A wildcard is kept on disk, and goes with a flush of any name that it answers for, from there too.
func TestWildcardFromDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {wildcards: true, san_aliases: all}", keepsOnDisk(t))
	shared := ca().issue([]string{"*.x.example"})
	w.store.on("a.x.example", bundle(shared))
	w.visit("a.x.example")
	w.store.stop()
	w.gate = w.again()
	if !w.gets("new.x.example", shared) {
		t.Error("new.x.example does not get the wildcard's certificate from the disk")
	}
	w.flush("b.x.example")
	w.flush("a.x.example")
	w.gate = w.again()
	for _, name := range []string{"a.x.example", "new.x.example"} {
		w.refused(name, alertInternalError)
	}
}

// anyStore is a store that holds a certificate for a name until it is taken out.
type anyStore struct {
	entry  string // of the configuration
	put    func(name string, p pair)
	remove func(name string)
	end    func() // it can't be reached any more
}

// everyStore makes one of each kind.
func everyStore() map[string]func(*testing.T) anyStore {
	stores := map[string]func(*testing.T) anyStore{
		"http": func(t *testing.T) anyStore {
			s := newStore(t)
			s.onAll(status(404))
			return anyStore{
				entry: fmt.Sprintf("{http: {url: %q}}", s.url()), end: s.stop,
				put:    func(name string, p pair) { s.on(name, bundle(p)) },
				remove: func(name string) { s.on(name, status(404)) },
			}
		},
		"dir": func(t *testing.T) anyStore {
			folder := filepath.Join(t.TempDir(), "certs")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			return anyStore{
				entry: fmt.Sprintf("{dir: {path: %q}}", folder),
				end:   func() { os.Rename(folder, folder+".gone"); os.Mkdir(folder, 0o700) },
				put:   func(name string, p pair) { p.write(t, folder, name) },
				remove: func(name string) {
					os.Remove(filepath.Join(folder, name+".crt"))
					os.Remove(filepath.Join(folder, name+".key"))
				},
			}
		},
	}
	for _, layout := range []string{"prime1", "prime2", "json"} {
		stores["redis "+layout] = func(t *testing.T) anyStore {
			r := newRedis(t)
			return anyStore{
				entry: r.entry(layout, ""), end: r.kill,
				put:    func(name string, p pair) { r.put(layout, name, p) },
				remove: func(name string) { r.remove(layout, name) },
			}
		}
	}
	return stores
}

// Whatever the store: another name in a certificate is served with it, by the next process too; a certificate of its own takes
// its place; a name that is taken out goes with its aliases, from the disk too, and what was not taken out stays.
func TestAliasesAndWithdrawalOfEveryStore(t *testing.T) {
	t.Parallel()
	for kind, open := range everyStore() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			shared, own := ca().issue([]string{"a.example", "b.example", "c.example", "unused.example"}), ca().issue([]string{"b.example"})
			store.put("a.example", shared)
			first := start(t, "stores: ["+store.entry+"]", usesBackend(newBackend(t, echo).address), keepsOnDisk(t),
				"cache: {ttl: 1s, min_ttl: 1s, withdraw_after: 1s, san_aliases: all}")
			first.eventually("a.example is in the cache", func() bool {
				first.visit("a.example")
				return first.status().Cache.Entries > 0
			})
			store.put("b.example", own)
			first.eventually("b.example has its own", func() bool { return first.gets("b.example", own) })
			g := first.again()
			if !g.gets("c.example", shared) {
				t.Error("c.example is not served with the certificate of a.example from the disk")
			}
			if !g.gets("a.example", shared) || !g.gets("b.example", own) {
				t.Error("a.example or b.example lost its certificate")
			}
			store.remove("a.example")
			g.eventually("a.example is refused", func() bool { return !g.serves("a.example") })
			g.refused("a.example", alertUnrecognizedName)
			g.refused("unused.example", alertUnrecognizedName)
			g.eventually("c.example is refused", func() bool { return !g.serves("c.example") })
			g.visit("b.example")
			store.end()
			last := g.again()
			for _, name := range []string{"a.example", "c.example", "unused.example"} {
				if last.serves(name) {
					t.Errorf("%s is served from the disk", name)
				}
			}
			last.visit("b.example")
		})
	}
}

// A name that the store does not know any more is withdrawn, served on for withdraw_after and then dropped at the next no. The
// next process knows since when, also where it began later than that.
func TestWithdrawnFromDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {ttl: 1s, min_ttl: 1s, withdraw_after: 4s}", keepsOnDisk(t))
	w.visit("a.example")
	w.store.on("a.example", status(404))
	w.eventually("it is withdrawn", func() bool { return len(w.withdrawn()) == 1 })
	since := time.Now()
	w.gate = w.again()
	w.eventually("the next process has it withdrawn", func() bool { return len(w.withdrawn()) == 1 })
	w.visit("a.example")
	w.stop()
	time.Sleep(time.Until(since.Add(4 * time.Second)))
	w.gate = w.again()
	w.visit("a.example") // which has the store asked
	w.within(2*time.Second, "it is refused, and not after another 4 s", func() bool { return !w.serves("a.example") })
	w.refused("a.example", alertUnrecognizedName)
}

// A name that is withdrawn goes for both classes of clients.
func TestWithdrawalOfBothClasses(t *testing.T) {
	t.Parallel()
	openssl := program(t, "openssl")
	store := newStore(t)
	choice := newChoosing(store, "a.example")
	g := start(t, usesCaddy(store), usesBackend(newBackend(t, echo).address), "cache: {ttl: 1s, min_ttl: 1s, withdraw_after: 1s}")
	if !onlyRSA.gets(g, openssl, "a.example", choice.rsa) || !modern.gets(g, openssl, "a.example", choice.ecdsa) {
		t.Fatal("a client did not get its own certificate")
	}
	store.on("a.example", status(404))
	g.eventually("the modern client is refused", func() bool { return !g.serves("a.example") })
	g.eventually("the client that can only use RSA is refused", func() bool { return onlyRSA.leaf(g, openssl, "a.example") == nil })
}
