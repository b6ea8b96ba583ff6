package dir

import (
	"os"
	"strings"
	"time"
)

// maxStaged bounds the certificates of which is remembered that they were warned of.
const maxStaged = 10_000

// seeStaged watches what mod_md obtains for base, which while the old certificate is served nobody asks for.
func (k *keeper) seeStaged(root *os.Root, base string) {
	k.follow(root, base, []string{"staging/" + base + "/pubcert.pem"}, false)
	k.dir.warnStaged(root, base)
}

// warnStaged warns, once, when mod_md obtained a certificate that it calls base and nobody has restarted httpd since,
// which is what puts it into place.
func (d *Dir) warnStaged(root *os.Root, base string) {
	staged := newest(root, "staging/"+base)
	if staged.IsZero() || !staged.After(newest(root, "domains/"+base)) {
		return
	}
	name := unspell(base)
	version := staged.String()
	d.mu.Lock()
	known := d.staged[name] == version
	if len(d.staged) >= maxStaged {
		clear(d.staged)
	}
	d.staged[name] = version
	d.mu.Unlock()
	if !known {
		d.log.Warn().Str("store", d.name).Str("name", name).Time("staged", staged).
			Str("note", "httpd puts it into domains/ when it is restarted").Msg("certificate staged and never activated")
	}
}

// newest is when the newest of mod_md's certificates in a folder was written; zero: there is none.
func newest(root *os.Root, at string) time.Time {
	var newest time.Time
	for _, file := range listFew(root, at) {
		if !strings.HasPrefix(file, "pubcert.") {
			continue
		}
		if info, err := root.Stat(at + "/" + file); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}
