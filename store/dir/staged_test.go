package dir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hellogate/store/certtest"
)

// TestStaged has mod_md obtain certificates, and httpd not be restarted, as Apache 2.4.71 writes them. None of their names
// is asked for: those of old certificates are served on without.
func TestStaged(t *testing.T) {
	t.Parallel()
	ca := certtest.NewCA(t)
	old, staged := ca.Issue(t, name, "www.a.example", "*.b.example"), ca.Issue(t, name, "*.b.example")
	stage := func(t *testing.T, folder, base string, when time.Duration) {
		at := filepath.Join(folder, "staging", base)
		put(t, filepath.Join(at, "md.json"), "{}")
		put(t, filepath.Join(at, "privkey.pem"), "-----BEGIN ENCRYPTED PRIVATE KEY-----")
		put(t, filepath.Join(at, "pubcert.pem"), string(staged.Chain))
		written := time.Now().Add(when).Truncate(time.Hour)
		if err := os.Chtimes(filepath.Join(at, "pubcert.pem"), written, written); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(at, "job.json"), "{}")
	}
	for _, test := range []struct {
		name, base, warned string
		before             []time.Duration // staged before the store is opened
		after              []time.Duration
		want               int
	}{
		{"there at the start", "a.example", "a.example", []time.Duration{time.Hour}, nil, 1},
		{"older than what is served", "a.example", "a.example", []time.Duration{-time.Hour}, nil, 0},
		{"obtained later", "a.example", "a.example", nil, []time.Duration{time.Hour}, 1},
		{"and again", "a.example", "a.example", []time.Duration{time.Hour}, []time.Duration{2 * time.Hour}, 2},
		{"the same", "a.example", "a.example", []time.Duration{time.Hour}, []time.Duration{time.Hour}, 1},
		{"wildcard", "*.b.example", "*.b.example", nil, []time.Duration{time.Hour}, 1},
		{"in a folder that was not there", "a.example", "a.example", nil, []time.Duration{time.Hour}, 1},
		{"the first of its name", "c.example", "c.example", nil, []time.Duration{time.Hour}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			for _, base := range []string{"a.example", "*.b.example"} {
				pairOf(old, "domains/"+base+"/pubcert.pem", "domains/"+base+"/privkey.pem").write(t, folder)
			}
			if !strings.Contains(test.name, "folder") {
				if err := os.Mkdir(filepath.Join(folder, "staging"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for _, when := range test.before {
				stage(t, folder, test.base, when)
			}
			dir, log := openLogged(t, folder)
			changes := watch(t, dir)
			for _, when := range test.after {
				stage(t, folder, test.base, when)
				// It is warned of before it is told.
				told(t, changes, strings.Replace(test.base, "*", "x", 1), func() error { return nil })
			}
			if got := log.count(`"name":"` + test.warned + `"`); got != test.want {
				t.Errorf("warned %d times, want %d", got, test.want)
			}
		})
	}
}
