package clientauth

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// settled is longer than it takes to see a change of a file.
const settled = 3 * time.Second

// Every rule holds for a session that was made under another. Where sessions are bound to the policy the client shakes hands
// anew, and may show a better certificate; where they are not it is refused.
func TestResumption(t *testing.T) {
	tests := []struct {
		name           string
		change         func(w *world)
		want           string // part of what is said; empty: the client passes
		bound, unbound bool   // whether its session is taken up, where sessions are bound and where they are not
	}{
		{"nothing", func(*world) {}, "", true, true},
		{"the authority goes", func(w *world) { w.write("ca", caText(w.other)) }, "unknown authority", false, false},
		{"an authority comes", func(w *world) { w.write("ca", caText(w.root, w.other)) }, "", false, true},
		{"it is revoked", func(w *world) { w.write("crl", crlText(w.root.revokes(nil, w.first.Leaf))) }, "is revoked", false, true},
		{"another is revoked", func(w *world) { w.write("crl", crlText(w.root.revokes(nil, w.root.Certificate))) }, "", false, true},
		{"the list is renewed", func(w *world) { w.write("crl", crlText(w.root.revokes(nil))) }, "", true, true},
		{"the list goes", func(w *world) { w.write("crl", crlText(w.other.revokes(nil))) }, "no revocation list", false, true},
		{"the list is overdue", func(*world) { time.Sleep(150 * time.Minute) }, "was to be renewed", true, true},
		{"it expires", func(w *world) {
			time.Sleep(4 * time.Hour)
			w.write("crl", crlText(w.root.revokes(nil)))
		}, "expired", false, false},
		{"it is allowed no more", func(w *world) { w.with(func(o *Options) { o.Allow.CN = []string{"second"} }) }, "none of those that are allowed", false, true},
		{"more are allowed", func(w *world) { w.with(func(o *Options) { o.Allow.CN = []string{"first", "second"} }) }, "", false, true},
		{"none is required", func(w *world) { w.with(func(o *Options) { o.Mode = Request }) }, "", false, true},
	}
	for _, unbound := range []bool{false, true} {
		t.Run(map[bool]string{false: "bound", true: "unbound"}[unbound], func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version uint16) {
				for _, test := range tests {
					t.Run(test.name, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							w := &world{place: newPlace(t), root: newRoot("root"), other: newRoot("other")}
							w.first = w.root.issue("first", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(3 * time.Hour) })
							w.write("ca", caText(w.root))
							soon := func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(2 * time.Hour) }
							w.write("crl", crlText(w.root.revokes(soon)))
							w.server = &server{unbound: unbound}
							w.with(func(*Options) {})
							c := newClient(version, w.first)
							for i := range 3 {
								got := c.connect(t, w.server)
								wantRefused(t, got, "")
								if got.DidResume != (i > 0) || len(got.PeerCertificates) != 1 {
									t.Fatalf("connection %d: resumed %v, %d certificates", i, got.DidResume, len(got.PeerCertificates))
								}
							}
							test.change(w)
							time.Sleep(settled)
							got := c.connect(t, w.server)
							wantRefused(t, got, test.want)
							if want := unbound && test.unbound || !unbound && test.bound; got.DidResume != want {
								t.Errorf("session taken up %v", got.DidResume)
							}
						})
					})
				}
			})
		})
	}
}

// A session remembers all the ways in which its certificate was verified. One that leads to an authority that is gone is
// none any more, though another is still good enough for crypto/tls.
func TestResumptionByAnotherWay(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{place: newPlace(t), server: &server{unbound: true}, root: newRoot("root"), other: newRoot("other")}
			sub := w.root.sub("sub")
			der := w.other.sign(sub.key, []func(*x509.Certificate){func(c *x509.Certificate) {
				c.RawSubject, c.SubjectKeyId, c.ExtKeyUsage = sub.RawSubject, sub.SubjectKeyId, nil
				c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, sub.KeyUsage
			}})
			crossed, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			sub.sent = append(sub.sent, der)
			lists := [][]byte{w.root.revokes(nil), sub.revokes(nil)}
			w.write("ca", caText(w.root, w.other))
			w.write("crl", crlText(append(lists, w.other.revokes(nil))...))
			w.with(func(*Options) {})
			c := newClient(version, sub.issue("below"))
			for i := range 2 {
				got := c.connect(t, w.server)
				wantRefused(t, got, "")
				if got.DidResume != (i > 0) || len(got.VerifiedChains) != 2 {
					t.Fatalf("connection %d: resumed %v, verified in %d ways", i, got.DidResume, len(got.VerifiedChains))
				}
			}
			w.write("ca", caText(w.other))
			w.write("crl", crlText(append(lists, w.other.revokes(nil, crossed))...))
			time.Sleep(settled)
			got := c.connect(t, w.server)
			wantRefused(t, got, "is revoked")
			if !got.DidResume {
				t.Error("not resumed")
			}
		})
	})
}

// world is a server, its policy's files, and those who sign.
type world struct {
	*place
	*server
	root, other *authority
	first       *tls.Certificate
}

// with gives the server a policy of the files, in place of the one it has, and watches them.
func (w *world) with(change func(*Options)) {
	o := Options{Mode: Require, CAFile: w.folder + "/ca", CRLFile: w.folder + "/crl"}
	change(&o)
	set := &Set{}
	policy, err := set.Policy(o)
	if err != nil {
		w.Fatal(err)
	}
	w.policy = policy
	watch(w.T, set)
}

// A change of the files is used at once as far as it refuses, and by a new tls.Config as far as it admits. What is of no
// use is said once, and changes nothing.
func TestReload(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		synctest.Test(t, func(t *testing.T) {
			p, root, other := newPlace(t), newRoot("root"), newRoot("other")
			o := Options{Mode: Require, CAFile: p.write("ca", caText(root)), CRLFile: p.write("crl", crlText(root.revokes(nil), other.revokes(nil)))}
			set := &Set{}
			policy, err := set.Policy(o)
			if err != nil {
				t.Fatal(err)
			}
			said := watch(t, set)
			current := &server{policy: policy}
			stale := &server{policy: policy, config: current.configure()}
			made := policy.Configure(&tls.Config{})
			ours, theirs := root.issue("ours"), other.issue("theirs")
			const good, unknown = "", "unknown authority"
			steps := []struct {
				name                string
				change              func()
				ours, theirs, stale string // what is said of each, and of theirs by the old config
				report              []string
			}{
				{"nothing", func() {}, good, unknown, unknown, nil},
				{"one more authority", func() { p.write("ca", caText(root, other)) }, good, good, unknown, []string{""}},
				{"rubbish", func() { p.write("ca", "rubbish") }, good, good, unknown, []string{"no PEM certificate"}},
				{"still rubbish", func() {}, good, good, unknown, nil},
				{"no file", func() { _ = os.Remove(p.folder + "/ca") }, good, good, unknown, []string{"no such file"}},
				{"still none", func() {}, good, good, unknown, nil},
				{"as before", func() { p.write("ca", caText(root, other)) }, good, good, unknown, []string{""}},
				{"no file again", func() { _ = os.Remove(p.folder + "/ca") }, good, good, unknown, []string{"no such file"}},
				{"as before again", func() { p.write("ca", caText(root, other)) }, good, good, unknown, []string{""}},
				{"revoked", func() { p.write("crl", crlText(root.revokes(nil, ours.Leaf), other.revokes(nil))) }, "is revoked", good, unknown, []string{""}},
				{"no longer", func() { p.write("crl", crlText(root.revokes(nil), other.revokes(nil))) }, good, good, unknown, []string{""}},
				{"the first authority goes", func() { p.write("ca", caText(other)) }, unknown, good, unknown, []string{""}},
			}
			for _, step := range steps {
				step.change()
				time.Sleep(settled)
				wantRefused(t, newClient(version, ours).connect(t, current), step.ours)
				wantRefused(t, newClient(version, theirs).connect(t, current), step.theirs)
				wantRefused(t, newClient(version, theirs).connect(t, stale), step.stale)
				// What is refused needs no new config.
				wantRefused(t, newClient(version, ours).connect(t, stale), step.ours)
				if got := said(); !slices.EqualFunc(got, step.report, func(a, b string) bool { return strings.Contains(a, b) && (a == "") == (b == "") }) {
					t.Errorf("%s: reported %q", step.name, got)
				}
				if t.Failed() {
					t.Fatalf("after %q", step.name)
				}
			}
			if policy.Trust() == made {
				t.Error("nobody can tell that a new config is due")
			}
		})
	})
}
