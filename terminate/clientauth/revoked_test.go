package clientauth

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"
)

// What revocation lists do to clients. The lists are those of the root "root" and of "sub" below it.
func TestRevoked(t *testing.T) {
	root := newRoot("root")
	sub, impostor := root.sub("sub"), newRoot("sub")
	noLists := root.sub("no lists", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	direct, below := root.issue("direct"), sub.issue("below")
	overdue := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	older := func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(-time.Hour) }
	lower := func(l *x509.RevocationList) { l.Number, l.ThisUpdate = big.NewInt(0), l.ThisUpdate.Truncate(time.Hour) }
	higher := func(l *x509.RevocationList) {
		l.Number, l.ThisUpdate = new(big.Int).Lsh(big.NewInt(1), 70), l.ThisUpdate.Truncate(time.Hour)
	}
	tests := []struct {
		name        string
		text        string
		certificate *tls.Certificate
		want        string // part of what is said; empty: it passes
	}{
		{"not listed", crlText(root.revokes(nil, below.Leaf)), direct, ""},
		{"listed", crlText(root.revokes(nil, direct.Leaf)), direct, "is revoked"},
		{"in DER", string(root.revokes(nil, direct.Leaf)), direct, "is revoked"},
		{"among PEM of other kinds", caText(root) + crlText(root.revokes(nil, direct.Leaf)) + caText(sub), direct, "is revoked"},
		{"a list overdue", crlText(root.revokes(overdue)), direct, "was to be renewed by"},
		{"overdue and listed", crlText(root.revokes(overdue, direct.Leaf)), direct, "was to be renewed by"},
		{"an overdue list, and one that is not", crlText(root.revokes(overdue), root.revokes(nil)), direct, ""},
		{"listed in the newer", crlText(root.revokes(older), root.revokes(nil, direct.Leaf)), direct, "is revoked"},
		{"listed in the newer, which comes first", crlText(root.revokes(nil, direct.Leaf), root.revokes(older)), direct, "is revoked"},
		{"listed in the older: it was on hold", crlText(root.revokes(nil), root.revokes(older, direct.Leaf)), direct, ""},
		{"listed in the one with the higher number", crlText(root.revokes(lower), root.revokes(higher, direct.Leaf)), direct, "is revoked"},
		{"listed in the one with the lower number", crlText(root.revokes(higher), root.revokes(lower, direct.Leaf)), direct, ""},
		{"below, both lists", crlText(root.revokes(nil), sub.revokes(nil)), below, ""},
		{"below, listed", crlText(root.revokes(nil), sub.revokes(nil, below.Leaf)), below, "is revoked"},
		{"below, listed by another issuer", crlText(root.revokes(nil, below.Leaf), sub.revokes(nil)), below, ""},
		{"the one between is listed", crlText(root.revokes(nil, sub.Certificate), sub.revokes(nil)), below, "is revoked"},
		{"below, no list of the issuer", crlText(root.revokes(nil)), below, `no revocation list of its issuer "CN=sub"`},
		{"below, no list of the root", crlText(sub.revokes(nil)), below, `no revocation list of its issuer "CN=root"`},
		{"below, a list by another of that name", crlText(root.revokes(nil), impostor.revokes(nil)), below, "no revocation list"},
		{"below, a list by one that may not", crlText(root.revokes(nil), forged(noLists)), noLists.issue("x"), "no revocation list"},
	}
	p := newPlace(t)
	ca := p.write("ca", caText(root))
	policies := make([]*Policy, len(tests))
	for i, test := range tests {
		policies[i] = mustNew(t, Options{Mode: Request, CAFile: ca, CRLFile: p.write("crl", test.text)})
	}
	eachVersion(t, func(t *testing.T, version uint16) {
		for i, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				s := &server{policy: policies[i]}
				wantRefused(t, newClient(version, nil).connect(t, s), "")
				for range 2 { // the second finds signatures checked
					got := newClient(version, test.certificate).connect(t, s)
					wantRefused(t, got, test.want)
					if test.want != "" && got.alert != "bad certificate" {
						t.Errorf("alert %q", got.alert)
					}
				}
			})
		}
	})
}

// forged is a list by an authority whose certificate doesn't let it make any.
func forged(a *authority) []byte {
	may := *a.Certificate
	may.KeyUsage |= x509.KeyUsageCRLSign
	return (&authority{Certificate: &may, key: a.key}).revokes(nil)
}

// Lists that can't be used are errors, of which none would be noticed otherwise until it is too late.
func TestListRefused(t *testing.T) {
	root, impostor := newRoot("root"), newRoot("root", func(c *x509.Certificate) { c.SubjectKeyId = []byte("impostor") })
	anonymous := newRoot("root")
	anonymous.SubjectKeyId = root.SubjectKeyId // as a list that pretends to be root's would say
	revoked := root.issue("x").Leaf
	with := func(ids ...int) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{extension(ids...)} }
	}
	entry := func(l *x509.RevocationList) {
		l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{extension(2, 5, 29, 29)}
	}
	damaged := root.revokes(nil, revoked)
	damaged[len(damaged)-3] ^= 1
	tests := []struct{ name, text, want string }{
		{"by another with the name and key identifier", crlText(anonymous.revokes(nil)), "signature by"},
		{"damaged", crlText(damaged), "signature by"},
		{"a delta", crlText(root.revokes(with(2, 5, 29, 27))), "2.5.29.27 is not supported"},
		{"a part", crlText(root.revokes(nil), root.revokes(with(2, 5, 29, 28))), "revocation list 2: critical extension 2.5.29.28"},
		{"for others", crlText(root.revokes(entry, revoked)), "2.5.29.29 is not supported"},
		{"by another key of that name", crlText(impostor.revokes(nil)), ""}, // of an authority between, perhaps
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parseRevocations([]byte(test.text), []*x509.Certificate{root.Certificate})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Two keys of one name, as while an authority changes its key, have a list each.
func TestTwoKeysOfAName(t *testing.T) {
	withID := func(id string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.SubjectKeyId = []byte(id) }
	}
	older := func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(-time.Hour) }
	for name, ids := range map[string][2]string{"with an identifier each": {"before", "after"}, "with one identifier": {"one", "one"}} {
		t.Run(name, func(t *testing.T) {
			before, after := newRoot("root", withID(ids[0])), newRoot("root", withID(ids[1]))
			first, second := before.issue("first"), after.issue("second")
			p := newPlace(t)
			policy := mustNew(t, Options{
				Mode: Require, CAFile: p.write("ca", caText(before, after)),
				CRLFile: p.write("crl", crlText(before.revokes(nil, first.Leaf, second.Leaf), after.revokes(older))),
			})
			eachVersion(t, func(t *testing.T, version uint16) {
				s := &server{policy: policy}
				for range 2 {
					wantRefused(t, newClient(version, first).connect(t, s), "is revoked")
					wantRefused(t, newClient(version, second).connect(t, s), "")
				}
			})
		})
	}
}

// A list that does not say when it is to be renewed is good until it is replaced.
func TestListWithoutEnd(t *testing.T) {
	root := newRoot("root")
	leaf := root.issue("x").Leaf
	found, err := parseRevocations(root.revokes(nil), []*x509.Certificate{root.Certificate})
	if err != nil {
		t.Fatal(err)
	}
	found.lists[string(root.RawSubject)][0].NextUpdate = time.Time{} // as no list that crypto/x509 makes
	chains := [][]*x509.Certificate{{leaf, root.Certificate}}
	if err := found.check(chains, time.Now().Add(1000*time.Hour)); err != nil {
		t.Error(err)
	}
}

func FuzzParseRevocations(f *testing.F) {
	root := newRoot("root")
	list := root.revokes(nil, root.Certificate)
	f.Add(list)
	f.Add([]byte(crlText(list, list)))
	f.Add([]byte(crlText(list) + "-----BEGIN X509 CRL-----"))
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := parseRevocations(text, []*x509.Certificate{root.Certificate})
		if (err == nil) != (found != nil) {
			t.Fatalf("%v, %v", found, err)
		}
		if found != nil {
			_ = found.summary()
			_ = found.checkChain([]*x509.Certificate{root.Certificate, root.Certificate}, time.Now())
		}
	})
}

func FuzzParseAuthorities(f *testing.F) {
	root := newRoot("root")
	f.Add([]byte(caText(root)))
	f.Add([]byte(caText(root, root) + "-----BEGIN CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := parseAuthorities(text)
		if (err == nil) != (len(found) > 0) {
			t.Fatalf("%d, %v", len(found), err)
		}
	})
}
