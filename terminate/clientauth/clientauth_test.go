package clientauth

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// What becomes of a client that is met for the first time, what its server says of it, and what alert it gets.
func TestVerdicts(t *testing.T) {
	root, other := newRoot("root"), newRoot("other")
	sub := root.sub("sub")
	lone := sub.issue("lone")
	lone.Certificate = lone.Certificate[:1]
	old := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	early := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }
	forServers := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	forAll := func(c *x509.Certificate) { c.ExtKeyUsage = nil }
	tests := []struct {
		name           string
		mode           Mode
		certificate    *tls.Certificate
		want           string // part of what the server says; empty: it is satisfied
		alert, alert12 string
	}{
		{"good", Require, root.issue("good"), "", "", ""},
		{"good by request", Request, root.issue("good"), "", "", ""},
		{"none by request", Request, nil, "", "", ""},
		{"none", Require, nil, "didn't provide a certificate", "certificate required", "handshake failure"},
		{"for any use", Require, root.issue("any", forAll), "", "", ""},
		{"through another", Require, sub.issue("below"), "", "", ""},
		{"through another that is not sent", Require, lone, "unknown authority", "unknown certificate authority", ""},
		{"of another authority", Require, other.issue("foreign"), "unknown authority", "unknown certificate authority", ""},
		{"of another authority by request", Request, other.issue("foreign"), "unknown authority", "unknown certificate authority", ""},
		{"its own", Require, (&authority{}).issue("own"), "unknown authority", "unknown certificate authority", ""},
		{"expired", Require, root.issue("old", old), "expired", "expired certificate", ""},
		{"expired by request", Request, root.issue("old", old), "expired", "expired certificate", ""},
		{"not yet good", Require, root.issue("early", early), "not yet valid", "expired certificate", ""},
		{"through an expired one", Require, root.sub("old", old).issue("below"), "expired", "expired certificate", ""},
		{"for servers", Require, root.issue("server", forServers), "key usage", "bad certificate", ""},
		{"for servers by request", Request, root.issue("server", forServers), "key usage", "bad certificate", ""},
	}
	policies := map[Mode]*Policy{}
	for _, mode := range []Mode{Request, Require} {
		policies[mode] = mustNew(t, Options{Mode: mode, CAFile: newPlace(t).write("ca", caText(root))})
	}
	eachVersion(t, func(t *testing.T, version uint16) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				c := newClient(version, test.certificate)
				got := c.connect(t, &server{policy: policies[test.mode]})
				wantRefused(t, got, test.want)
				want := test.alert
				if version == tls.VersionTLS12 && test.alert12 != "" {
					want = test.alert12
				}
				if got.alert != want {
					t.Errorf("alert %q, not %q", got.alert, want)
				}
				if len(c.asked) != 1 || string(c.asked[0]) != string(root.RawSubject) {
					t.Errorf("asked for %q", c.asked)
				}
			})
		}
	})
}

// wantRefused fails unless the server is satisfied, or says what is wanted of the client's certificate.
func wantRefused(t *testing.T, got outcome, want string) {
	t.Helper()
	switch {
	case want == "" && got.server != nil:
		t.Errorf("refused: %v", got.server)
	case want != "" && (got.server == nil || !strings.Contains(got.server.Error(), want)):
		t.Errorf("server says %v", got.server)
	case Refused(got.server) != (want != ""):
		t.Errorf("Refused is wrong about %v", got.server)
	}
}

// Only what is about a client's certificate is called that.
func TestRefused(t *testing.T) {
	for _, err := range []error{nil, errors.New("tls: no application protocol"), &tls.RecordHeaderError{Msg: "not TLS"}} {
		if Refused(err) {
			t.Errorf("%v", err)
		}
	}
}

// No policy asks for nothing.
func TestOff(t *testing.T) {
	policy := mustNew(t, Options{Allow: Allow{CN: []string{"nobody"}}})
	if policy != nil || policy.Mode() != Off || policy.Trust() != nil || policy.Binding() != "off" {
		t.Errorf("%v, mode %v, binding %q", policy, policy.Mode(), policy.Binding())
	}
	c := newClient(tls.VersionTLS13, newRoot("root").issue("unasked"))
	got := c.connect(t, &server{policy: policy})
	wantRefused(t, got, "")
	if c.asked != nil || len(got.PeerCertificates) > 0 {
		t.Error("a certificate was asked for")
	}
}

// Whose certificates pass.
func TestAllow(t *testing.T) {
	root := newRoot("root")
	leaf := root.issue("Device 7", func(c *x509.Certificate) {
		c.DNSNames = []string{"a.Example.test", "b.c.example.test"}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.test", Path: "/web"}}
	}).Leaf
	nameless := root.issue("").Leaf
	wild := root.issue("", func(c *x509.Certificate) { c.DNSNames = []string{"*.example.test"} }).Leaf
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	tests := []struct {
		name  string
		allow Allow
		leaf  *x509.Certificate
		want  bool
	}{
		{"all", Allow{}, nameless, true},
		{"CN", Allow{CN: []string{"Device 6", "Device 7"}}, leaf, true},
		{"CN of another case", Allow{CN: []string{"device 7"}}, leaf, false},
		{"CN as a DNS name", Allow{CN: []string{"a.example.test"}}, leaf, false},
		{"CN of none", Allow{CN: []string{"Device 7"}}, nameless, false},
		{"DNS", Allow{DNS: []string{"A.example.test"}}, leaf, true},
		{"DNS of another", Allow{DNS: []string{"c.example.test", "example.test"}}, leaf, false},
		{"DNS one label more", Allow{DNS: []string{"*.example.test"}}, leaf, true},
		{"DNS two labels more", Allow{DNS: []string{"*.test"}}, leaf, false},
		{"DNS no label more", Allow{DNS: []string{"*.a.example.test"}}, leaf, false},
		{"DNS by a certificate for a wildcard", Allow{DNS: []string{"*.example.test"}}, wild, true},
		{"DNS of one name by a certificate for a wildcard", Allow{DNS: []string{"a.example.test"}}, wild, false},
		{"URI", Allow{URI: []string{"spiffe://example.test/web"}}, leaf, true},
		{"URI's beginning", Allow{URI: []string{"spiffe://example.test/", "spiffe://example.test/we"}}, leaf, false},
		{"key in hex", Allow{SPKI: []string{hex.EncodeToString(sum[:])}}, leaf, true},
		{"key in capital hex with colons", Allow{SPKI: []string{strings.ToUpper(colons(sum[:]))}}, leaf, true},
		{"key in base64", Allow{SPKI: []string{base64.StdEncoding.EncodeToString(sum[:])}}, leaf, true},
		{"key as pinned", Allow{SPKI: []string{"sha256/" + base64.StdEncoding.EncodeToString(sum[:])}}, leaf, true},
		{"key of another", Allow{SPKI: []string{hex.EncodeToString(sum[:])}}, nameless, false},
		{"any of several lists", Allow{CN: []string{"x"}, DNS: []string{"x.test"}, URI: []string{"spiffe://example.test/web"}}, leaf, true},
		{"none of several lists", Allow{CN: []string{"x"}, DNS: []string{"x.test"}, URI: []string{"spiffe://x"}}, leaf, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			made, err := newAllow(test.allow)
			if err != nil {
				t.Fatal(err)
			}
			if got := made.admits(test.leaf); got != test.want {
				t.Errorf("admitted %v", got)
			}
		})
	}
}

func colons(sum []byte) string {
	var parts []string
	for pair := range slices.Chunk(sum, 1) {
		parts = append(parts, hex.EncodeToString(pair))
	}
	return strings.Join(parts, ":")
}

// Who is not allowed is refused, with words.
func TestNotAllowed(t *testing.T) {
	root := newRoot("root")
	policy := mustNew(t, Options{
		Mode: Request, CAFile: newPlace(t).write("ca", caText(root)), Allow: Allow{DNS: []string{"a.test"}},
	})
	eachVersion(t, func(t *testing.T, version uint16) {
		s := &server{policy: policy}
		wantRefused(t, newClient(version, nil).connect(t, s), "")
		named := root.issue("x", func(c *x509.Certificate) { c.DNSNames = []string{"a.test"} })
		wantRefused(t, newClient(version, named).connect(t, s), "")
		got := newClient(version, root.issue("long\u202e"+strings.Repeat("-", 1000))).connect(t, s)
		wantRefused(t, got, `client certificate "long\u202e-`)
		if text := got.server.Error(); len(text) > 200 || !strings.Contains(text, "none of those that are allowed") {
			t.Errorf("%d bytes: %s", len(text), text)
		}
		if got.alert != "bad certificate" {
			t.Errorf("alert %q", got.alert)
		}
	})
}

// What can't work is an error of New.
func TestNewRefuses(t *testing.T) {
	root, p := newRoot("root"), newPlace(t)
	var many []*authority
	for range 16 {
		many = append(many, newRoot(strings.Repeat("n", 4096)))
	}
	ca, good := p.write("ca", caText(root)), crlText(root.revokes(nil))
	tests := []struct {
		name    string
		options Options
		want    string
	}{
		{"no such mode", Options{Mode: 7, CAFile: ca}, "no such mode"},
		{"no CA file", Options{Mode: Request}, "no CA file"},
		{"a CA file that is not there", Options{Mode: Require, CAFile: p.folder + "/none"}, "no such file"},
		{"a folder", Options{Mode: Require, CAFile: p.folder}, "not a regular file"},
		{"an empty CA file", Options{Mode: Require, CAFile: p.write("empty", "")}, "holds no PEM certificate"},
		{"lists for a CA file", Options{Mode: Require, CAFile: p.write("lists", good)}, "holds no PEM certificate"},
		{"half a CA file", Options{Mode: Require, CAFile: p.write("half", caText(root)+caText(root)[:200])}, "1 of its 2 PEM blocks"},
		{"a broken certificate", Options{Mode: Require, CAFile: p.write("broken", caText(root)+inPEM("CERTIFICATE", root.Raw[:90]))}, "certificate 2"},
		{"too many names", Options{Mode: Require, CAFile: p.write("many", caText(many...))}, "more than clients can be told"},
		{"too large", Options{Mode: Require, CAFile: p.write("large", strings.Repeat("\n", maxCAFile+1))}, "larger than"},
		{"no list", Options{Mode: Require, CAFile: ca, CRLFile: p.write("nolist", caText(root))}, "holds no revocation list"},
		{"an empty CRL file", Options{Mode: Require, CAFile: ca, CRLFile: p.write("nothing", "")}, "holds no revocation list"},
		{"rubbish", Options{Mode: Require, CAFile: ca, CRLFile: p.write("rubbish", "rubbish")}, "revocation list 1"},
		{"half a list", Options{Mode: Require, CAFile: ca, CRLFile: p.write("halflist", good+good[:100])}, "1 of its 2 PEM blocks"},
		{"two lists in DER", Options{Mode: Require, CAFile: ca, CRLFile: p.write("two", strings.Repeat(string(root.revokes(nil)), 2))}, "several lists must be PEM"},
		{"an empty CN", Options{Mode: Require, CAFile: ca, Allow: Allow{CN: []string{""}}}, "CN"},
		{"a DNS name that is none", Options{Mode: Require, CAFile: ca, Allow: Allow{DNS: []string{"*.*.test"}}}, `DNS name "*.*.test"`},
		{"a lone star", Options{Mode: Require, CAFile: ca, Allow: Allow{DNS: []string{"*"}}}, "DNS name"},
		{"a URI without a scheme", Options{Mode: Require, CAFile: ca, Allow: Allow{URI: []string{"example.test/web"}}}, "no scheme"},
		{"a short hash", Options{Mode: Require, CAFile: ca, Allow: Allow{SPKI: []string{"abcd"}}}, "not 32 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := New(test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// An authority that a file has often is told to clients once.
func TestAuthorityManyTimes(t *testing.T) {
	root := newRoot(strings.Repeat("n", 4096))
	policy := mustNew(t, Options{Mode: Require, CAFile: newPlace(t).write("ca", strings.Repeat(caText(root), 20))})
	c := newClient(tls.VersionTLS12, root.issue("x"))
	wantRefused(t, c.connect(t, &server{policy: policy}), "")
	if len(c.asked) != 1 {
		t.Errorf("%d times", len(c.asked))
	}
}

// Which policies share sessions.
func TestBinding(t *testing.T) {
	root, other, p := newRoot("root"), newRoot("other"), newPlace(t)
	ca, revoked := p.write("ca", caText(root)), root.issue("revoked").Leaf
	base := Options{Mode: Require, CAFile: ca, Allow: Allow{CN: []string{"a", "b"}}}
	list := func(name string, ders ...[]byte) string { return p.write(name, crlText(ders...)) }
	tests := []struct {
		name   string
		change func(*Options)
		same   bool
	}{
		{"nothing", func(*Options) {}, true},
		{"another order", func(o *Options) { o.Allow.CN = []string{"b", "a"} }, true},
		{"the authority twice", func(o *Options) { o.CAFile = p.write("twice", caText(root, root)) }, true},
		{"a copy of the file", func(o *Options) { o.CAFile = p.write("copy", "# a copy\n"+caText(root)) }, true},
		{"another mode", func(o *Options) { o.Mode = Request }, false},
		{"one more", func(o *Options) { o.Allow.CN = []string{"a", "b", "c"} }, false},
		{"two in one", func(o *Options) { o.Allow.CN = []string{"a b"} }, false},
		{"another list", func(o *Options) { o.Allow = Allow{DNS: []string{"a", "b"}} }, false},
		{"none", func(o *Options) { o.Allow = Allow{} }, false},
		{"another authority", func(o *Options) { o.CAFile = p.write("other", caText(other)) }, false},
		{"one more authority", func(o *Options) { o.CAFile = p.write("both", caText(root, other)) }, false},
		{"a list", func(o *Options) { o.CRLFile = list("none", root.revokes(nil)) }, false},
	}
	binding := func(o Options) string { return mustNew(t, o).Binding() }
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := base
			test.change(&o)
			if same := binding(o) == binding(base); same != test.same {
				t.Errorf("the same %v", same)
			}
		})
	}
	t.Run("lists", func(t *testing.T) {
		of := func(name string, ders ...[]byte) string {
			o := base
			o.CRLFile = list(name, ders...)
			return binding(o)
		}
		first := of("first", root.revokes(nil, revoked))
		if again := of("again", root.revokes(nil, revoked)); again != first {
			t.Error("a list that revokes the same is another")
		}
		if more := of("more", root.revokes(nil, revoked, root.Certificate)); more == first {
			t.Error("a list that revokes more is the same")
		}
	})
}

// Equal policies are one, and equal files are read once.
func TestSetShares(t *testing.T) {
	root, p := newRoot("root"), newPlace(t)
	ca := p.write("ca", caText(root))
	set := &Set{}
	policy := func(o Options) *Policy {
		t.Helper()
		o.CAFile = ca
		made, err := set.Policy(o)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	first := policy(Options{Mode: Require, Allow: Allow{CN: []string{"a", "b"}}})
	if policy(Options{Mode: Require, Allow: Allow{CN: []string{"b", "a"}}}) != first {
		t.Error("equal ones are two")
	}
	p.write("ca", "rubbish")
	second := policy(Options{Mode: Request})
	if second == first || second.Trust() != first.Trust() {
		t.Error("the file was read twice")
	}
}
