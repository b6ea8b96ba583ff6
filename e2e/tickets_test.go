package e2e

import (
	"crypto/tls"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// resumes makes a connection with the session that is held, and tells whether it was taken.
func (g *gate) resumes(name string, held *wallet, options ...option) bool {
	g.t.Helper()
	c := g.dial(name, append(options, sessions(held))...)
	c.wantEcho(g.t, "hello")
	c.Close()
	return c.ConnectionState().DidResume
}

// A ticket from a route that is open is none on one that requires a client certificate, for the same name: without one the
// client is refused, and with one it makes a whole handshake.
func TestTicketsAreBoundToClientAuth(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		outside, inside := freeAddress(t), freeAddress(t)
		w := newWorld(t, fmt.Sprintf(`
listeners: [{name: outside, address: %q}, {name: inside, address: %q}]
routes:
  - {match: {listeners: [outside]}, backend: main}
  - {match: {listeners: [inside]}, backend: main, tls: {client_auth: {mode: require, ca_file: %q}}}
`, outside, inside, ca().rootFile(t)))
		with, alice, held := maxVersion(version), shows(ca().issue([]string{"alice"})), &wallet{}
		w.address = outside
		w.resumes("a.example", held, with)
		if !w.resumes("a.example", held, with) {
			t.Error("the ticket is of no use on its own route")
		}
		w.address = inside
		if ok, _, _ := w.admitted("a.example", with, sessions(held)); ok {
			t.Error("a ticket took the place of a client certificate")
		}
		w.address = outside
		w.resumes("a.example", held, with)
		w.address = inside
		if w.resumes("a.example", held, with, alice) {
			t.Error("the ticket of an open route was taken on one that requires a client certificate")
		}
		if !w.resumes("a.example", held, with, alice) {
			t.Error("the ticket of the route itself was not taken")
		}
	}
}

// A ticket is good under the rules for certificates that it was made under: elsewhere a client is asked anew, and shows the
// certificate that is good there.
func TestTicketsAreBoundToClientRules(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		open, asking, others := freeAddress(t), freeAddress(t), freeAddress(t)
		w := newWorld(t, clientsBy("request", ca(), t), fmt.Sprintf(`
listeners: [{name: open, address: %q}, {name: asking, address: %q}, {name: others, address: %q}]
routes:
  - {match: {listeners: [open]}, backend: main, tls: {client_auth: {mode: off}}}
  - {match: {listeners: [asking]}, backend: main}
  - {match: {listeners: [others]}, backend: main, tls: {client_auth: {allow: {cn: [bob]}}}}
`, open, asking, others))
		held := &wallet{}
		for _, step := range []struct{ address, shown, told string }{
			{open, "alice", ""}, {asking, "alice", "alice"}, {others, "bob", "bob"}, {open, "bob", ""},
		} {
			w.address = step.address
			c, err := handshake(w.address, "a.example", maxVersion(version), sessions(held), shows(ca().issue([]string{step.shown})))
			if err != nil || c.ConnectionState().DidResume {
				t.Fatalf("%s: %v, or the ticket of other rules was taken", step.shown, err)
			}
			c.wantEcho(t, "hello")
			c.Close()
			if got := w.backend.next(t).header.SSL.CommonName; got != step.told {
				t.Errorf("the backend was told of %q, want %q", got, step.told)
			}
		}
	}
}

// aKey is a line of a key file, unlike for another letter.
func aKey(letter string) string { return strings.Repeat(letter, 2*48) + "\n" }

// Machines that share a key file take each other's tickets; without one they do not.
func TestTicketsAcrossMachines(t *testing.T) {
	t.Parallel()
	file := filepath.Join(shortFolder(t), "tickets.key")
	writeFile(t, file, aKey("a"))
	first := newWorld(t)
	another := func(overrides ...string) *gate {
		return start(t, append([]string{usesStore(first.store), usesBackend(first.backend.address)}, overrides...)...)
	}
	shared := fmt.Sprintf("session_tickets: {key_file: %q}", file)
	one, two := another(shared), another(shared)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		held, with := &wallet{}, maxVersion(version)
		one.resumes("a.example", held, with)
		if !two.resumes("a.example", held, with) {
			t.Errorf("%s: a ticket of a machine with the same key file was not taken", tls.VersionName(version))
		}
		if two.resumes("b.example", held, with, anyCertificate) {
			t.Errorf("%s: a ticket for another name was taken", tls.VersionName(version))
		}
		held = &wallet{}
		one.resumes("a.example", held, with)
		if first.resumes("a.example", held, with) {
			t.Errorf("%s: a ticket of a machine with other keys was taken", tls.VersionName(version))
		}
	}
}

// The key file is read again when it changes: its first key makes tickets, the others still open theirs, and what is no
// longer in it opens none.
func TestTicketsKeyFileChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(shortFolder(t), "tickets.key")
	writeFile(t, file, aKey("a"))
	w := newWorld(t, fmt.Sprintf("session_tickets: {key_file: %q}", file))
	old, newer := &wallet{}, &wallet{}
	w.resumes("a.example", old)
	replace := func(keys string, times int) {
		replaceFile(t, file, keys)
		w.eventually("the keys are read again", func() bool {
			return w.countLines("session ticket keys: read again") == times
		})
	}
	replace(aKey("b")+aKey("a"), 1)
	keep := *old
	if !w.resumes("a.example", &keep) {
		t.Error("a ticket of the key that is second now was not taken")
	}
	w.resumes("a.example", newer)
	replace(aKey("b"), 2)
	if w.resumes("a.example", old) {
		t.Error("a ticket of a key that is gone was taken")
	}
	if !w.resumes("a.example", newer) {
		t.Error("a ticket of the key that was first was not taken")
	}
	replaceFile(t, file, "rubbish\n")
	complaint := w.await("complaint about the key file", func(e entry) bool { return e.text("level") == "error" && e.text("file") == file })
	if strings.Contains(fmt.Sprint(complaint), "rubbish") {
		t.Errorf("what is in the file is in the log: %v", complaint)
	}
	if !w.resumes("a.example", newer) {
		t.Error("with a broken file, the keys before are not in use")
	}
}

// countLines is how many lines of the log have this message.
func (g *gate) countLines(message string) (n int) {
	entries, _ := g.log.all()
	for _, e := range entries {
		if e.text("message") == message {
			n++
		}
	}
	return n
}

// A key file that others can read is refused at the start.
func TestTicketsKeyFileMode(t *testing.T) {
	t.Parallel()
	file := filepath.Join(shortFolder(t), "tickets.key")
	writeFile(t, file, aKey("a"))
	if err := exec.Command("chmod", "644", file).Run(); err != nil {
		t.Fatal(err)
	}
	g := configured(t, usesStore(newStore(t)), usesBackend(freeAddress(t)), fmt.Sprintf("session_tickets: {key_file: %q}", file))
	got := command(t, "run", "--config", g.config)
	if got.code != 1 || !strings.Contains(got.stderr, "others can read it") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// A route without tickets gives none and takes none, the others do.
func TestTicketsOffForRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `routes:
  - {match: {names: [off.example]}, backend: main, session_tickets: {enabled: false}}
  - {backend: main}
`)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		held := &wallet{}
		if w.resumes("off.example", held, maxVersion(version)); held.given != 0 {
			t.Errorf("%s: %d tickets were given", tls.VersionName(version), held.given)
		}
		if w.resumes("a.example", held, maxVersion(version)); !w.resumes("a.example", held, maxVersion(version)) {
			t.Errorf("%s: no tickets on the other route", tls.VersionName(version))
		}
	}
}

// openssl s_client resumes with the ticket that it was given, in both versions.
func TestTicketsOpenSSL(t *testing.T) {
	t.Parallel()
	w, openssl := newWorld(t), program(t, "openssl")
	w.backend.does(func(p *peer) {
		time.Sleep(100 * time.Millisecond)
		p.Close()
	})
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		file := filepath.Join(shortFolder(t), "session")
		arguments := []string{"s_client", "-connect", w.address, "-servername", "a.example", "-CAfile", ca().rootFile(t), version, "-ign_eof"}
		if got := execute(t, "", openssl, append(arguments, "-sess_out", file)...); !strings.Contains(got.stdout, "New, TLSv1") {
			t.Errorf("%s:\n%s%s", version, got.stdout, got.stderr)
		}
		if got := execute(t, "", openssl, append(arguments, "-sess_in", file)...); !strings.Contains(got.stdout, "Reused, TLSv1") {
			t.Errorf("%s was not resumed:\n%s%s", version, got.stdout, got.stderr)
		}
	}
}
