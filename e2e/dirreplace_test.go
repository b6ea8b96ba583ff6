package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// replacements are the ways in which files are replaced. prepare puts the first pair there and gives what puts the second.
var replacements = map[string]func(t *testing.T, folder string, first, second pair) (replace func()){
	"overwritten in place": func(t *testing.T, folder string, first, second pair) func() {
		first.write(t, folder, "a.example")
		return func() { second.write(t, folder, "a.example") }
	},
	"moved over": func(t *testing.T, folder string, first, second pair) func() {
		first.write(t, folder, "a.example")
		return func() {
			chain, key := second.write(t, folder, ".new")
			move(t, key, filepath.Join(folder, "a.example.key"))
			move(t, chain, filepath.Join(folder, "a.example.crt"))
		}
	},
	"a link to files, ln -sfn": func(t *testing.T, folder string, first, second pair) func() {
		lead := func(version string) {
			linkTo(t, "versions/"+version+".pem", filepath.Join(folder, "a.example.pem"))
		}
		put(t, filepath.Join(folder, "versions/1.pem"), first.certPEM()+first.keyPEM())
		put(t, filepath.Join(folder, "versions/2.pem"), second.certPEM()+second.keyPEM())
		lead("1")
		return func() { lead("2") }
	},
	"a link to a folder, ln -sfn": func(t *testing.T, folder string, first, second pair) func() {
		for version, p := range map[string]pair{"1": first, "2": second} {
			put(t, filepath.Join(folder, "versions", version, "fullchain.pem"), p.certPEM())
			put(t, filepath.Join(folder, "versions", version, "privkey.pem"), p.keyPEM())
		}
		linkTo(t, "versions/1", filepath.Join(folder, "a.example"))
		return func() { linkTo(t, "versions/2", filepath.Join(folder, "a.example")) }
	},
	"the file behind a link": func(t *testing.T, folder string, first, second pair) func() {
		put(t, filepath.Join(folder, "all/by/hand/one.pem"), first.certPEM()+first.keyPEM())
		linkTo(t, "all/by/hand/one.pem", filepath.Join(folder, "a.example.pem"))
		return func() {
			put(t, filepath.Join(folder, "all/by/hand/new.pem"), second.certPEM()+second.keyPEM())
			move(t, filepath.Join(folder, "all/by/hand/new.pem"), filepath.Join(folder, "all/by/hand/one.pem"))
		}
	},
	"Kubernetes' ..data": func(t *testing.T, folder string, first, second pair) func() {
		mount := func(at string, p pair) {
			put(t, filepath.Join(folder, at, "a.example.crt"), p.certPEM())
			put(t, filepath.Join(folder, at, "a.example.key"), p.keyPEM())
			linkTo(t, at, filepath.Join(folder, "..data_tmp"))
			move(t, filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data"))
		}
		mount("..2026_01_01", first)
		linkTo(t, "..data/a.example.crt", filepath.Join(folder, "a.example.crt"))
		linkTo(t, "..data/a.example.key", filepath.Join(folder, "a.example.key"))
		return func() {
			mount("..2026_02_02", second)
			if err := os.RemoveAll(filepath.Join(folder, "..2026_01_01")); err != nil {
				t.Fatal(err)
			}
		}
	},
}

// However its files are replaced, a name has its new certificate within a second, and its old one until then.
func TestDirReplacements(t *testing.T) {
	t.Parallel()
	for way, prepare := range replacements {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			first, second := ca().issue([]string{"a.example"}), ca().issue([]string{"a.example"})
			replace := prepare(t, folder, first, second)
			g := newDirectory(t, folder)
			g.gives("a.example", first)
			replace()
			g.changesTo("a.example", first, second)
		})
	}
}

// The folder as a whole is replaced, by one that is moved into its place or by a link that leads elsewhere: so are the
// certificates, those that a name was refused for included.
func TestDirReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	for way, linked := range map[string]bool{"moved into its place": false, "a link that leads elsewhere": true} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			folder, old, renewed := filepath.Join(parent, "certs"), filepath.Join(parent, "1"), filepath.Join(parent, "2")
			first, second, added := ca().issue([]string{"a.example"}), ca().issue([]string{"a.example"}), ca().issue([]string{"b.example"})
			put(t, filepath.Join(old, "a.example.pem"), first.certPEM()+first.keyPEM())
			put(t, filepath.Join(renewed, "a.example.pem"), second.certPEM()+second.keyPEM())
			put(t, filepath.Join(renewed, "b.example.pem"), added.certPEM()+added.keyPEM())
			if linked {
				linkTo(t, "1", folder)
			} else {
				move(t, old, folder)
			}
			g := newDirectory(t, folder, "cache: {negative_ttl: 1h}")
			g.gives("a.example", first)
			g.refused("b.example", alertUnrecognizedName)
			if linked {
				linkTo(t, "2", folder)
			} else {
				move(t, folder, old)
				move(t, renewed, folder)
			}
			g.changesTo("a.example", first, second)
			g.appears("b.example", added)
		})
	}
}

// While only a part of a new pair is written, however long that takes, the old one is served; when it is whole, the new one
// is. Nobody is told that the name is unknown.
func TestDirHalfWritten(t *testing.T) {
	t.Parallel()
	for what, half := range map[string]func(t *testing.T, folder string, p pair){
		"only the chain": func(t *testing.T, folder string, p pair) {
			put(t, filepath.Join(folder, "a.example.crt"), p.certPEM())
		},
		"only the key": func(t *testing.T, folder string, p pair) {
			put(t, filepath.Join(folder, "a.example.key"), p.keyPEM())
		},
		"half of the chain": func(t *testing.T, folder string, p pair) {
			put(t, filepath.Join(folder, "a.example.crt"), p.certPEM()[:400])
			put(t, filepath.Join(folder, "a.example.key"), p.keyPEM())
		},
		"a key that is empty": func(t *testing.T, folder string, p pair) {
			put(t, filepath.Join(folder, "a.example.crt"), p.certPEM())
			put(t, filepath.Join(folder, "a.example.key"), "")
		},
		"a key that is gone": func(t *testing.T, folder string, p pair) {
			put(t, filepath.Join(folder, "a.example.crt"), p.certPEM())
			remove(t, filepath.Join(folder, "a.example.key"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			first, second := ca().issue([]string{"a.example"}), ca().issue([]string{"a.example"})
			first.write(t, folder, "a.example")
			g := newDirectory(t, folder)
			g.gives("a.example", first)
			half(t, folder, second)
			for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
				g.gives("a.example", first)
			}
			g.await("refresh that failed", func(e entry) bool { return e.text("name") == "a.example" && e.text("level") == "warn" })
			second.write(t, folder, "a.example")
			g.changesTo("a.example", first, second)
		})
	}
}
