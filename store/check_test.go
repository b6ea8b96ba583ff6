package store_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

const name = "a.example"

func TestCheckAccepts(t *testing.T) {
	ca := certtest.NewCA(t)
	now := time.Now()
	for _, test := range []struct {
		name    string
		options certtest.Options
		keyType string
	}{
		{"p-256", certtest.Options{Names: []string{name}}, "ecdsa-p256"},
		{"p-384", certtest.Options{Names: []string{name}, Key: curve(t, elliptic.P384())}, "ecdsa-p384"},
		{"p-521", certtest.Options{Names: []string{name}, Key: curve(t, elliptic.P521())}, "ecdsa-p521"},
		{"ed25519", certtest.Options{Names: []string{name}, Key: edwards(t)}, "ed25519"},
		{"rsa-2048", certtest.Options{Names: []string{name}, RSA: 2048}, "rsa-2048"},
		{"self-signed", certtest.Options{Names: []string{name}, SelfSigned: true}, "ecdsa-p256"},
		{"wildcard", certtest.Options{Names: []string{"*.example"}}, "ecdsa-p256"},
		{"upper case", certtest.Options{Names: []string{"A.Example"}}, "ecdsa-p256"},
		{"second of two", certtest.Options{Names: []string{"b.example", name}}, "ecdsa-p256"},
		{"a clock that is behind", certtest.Options{Names: []string{name}, NotBefore: now.Add(4 * time.Minute)}, "ecdsa-p256"},
	} {
		t.Run(test.name, func(t *testing.T) {
			issued := ca.IssueWith(t, test.options)
			checked, err := store.Check(issued.Pair, name, now)
			if err != nil {
				t.Fatal(err)
			}
			if checked.Leaf.KeyType != test.keyType {
				t.Errorf("key type %s, want %s", checked.Leaf.KeyType, test.keyType)
			}
			if checked.Leaf.Fingerprint != sha256.Sum256(issued.Leaf.Raw) || !bytes.Equal(checked.Pair.Chain[0], issued.Leaf.Raw) {
				t.Error("not the leaf that was issued")
			}
			if err := issued.Leaf.VerifyHostname(name); err != nil {
				t.Errorf("accepted what crypto/x509 refuses: %v", err)
			}
			if !publicEqual(checked.Signer.Public(), issued.Leaf.PublicKey) {
				t.Error("the signer is not the leaf's key")
			}
			if _, err := x509.ParsePKCS8PrivateKey(checked.Pair.Key); err != nil {
				t.Errorf("key is not normalised: %v", err)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	ca := certtest.NewCA(t)
	now := time.Now()
	good := ca.Issue(t, name)
	issue := func(options certtest.Options) store.Pair { return ca.IssueWith(t, options).Pair }
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("n%d.example", i)
	}
	for _, test := range []struct {
		name string
		pair store.Pair
		want string
	}{
		{"nothing", store.Pair{}, "no certificate"},
		{"no key", store.Pair{Chain: good.Pair.Chain}, "no private key"},
		{"garbage certificate", store.Pair{Chain: [][]byte{{1, 2, 3}}, Key: good.Pair.Key}, "certificate 1 of 1: x509: "},
		{"garbage key", store.Pair{Chain: good.Pair.Chain, Key: []byte("secret")}, "private key of 6 bytes is no PKCS #8"},
		{
			"another's key",
			store.Pair{Chain: good.Pair.Chain, Key: ca.Issue(t, name).Pair.Key},
			"the private key belongs to none of its certificates (2)",
		},
		{
			"another's name", issue(certtest.Options{Names: []string{"b.example", "c.example"}}),
			`covers b.example, c.example, not "a.example"`,
		},
		{"many other names", issue(certtest.Options{Names: many}), `n4.example and 95 more, not "a.example"`},
		{"wildcard of two labels", issue(certtest.Options{Names: []string{"*.a.example"}}), `covers *.a.example, not "a.example"`},
		{"bare star", issue(certtest.Options{Names: []string{"*"}}), `covers no DNS name`},
		{
			"common name alone", issue(certtest.Options{Edit: func(c *x509.Certificate) { c.Subject.CommonName = "a.example\x1b" }}),
			`covers no DNS name, not "a.example" (its common name, "a.example\x1b", does not count)`,
		},
		{
			"expired", issue(certtest.Options{Names: []string{name}, NotBefore: now.AddDate(0, -1, 0), NotAfter: now.Add(-3*time.Hour - 5*time.Minute)}),
			"expired 3h5m ago (not after 20",
		},
		{
			"expired for long", issue(certtest.Options{Names: []string{name}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.Add(-73 * time.Hour)}),
			"expired 3 days ago",
		},
		{
			"not yet valid", issue(certtest.Options{Names: []string{name}, NotBefore: now.Add(6*time.Minute + time.Second)}),
			"not valid for another 6m",
		},
		{"rsa-1024", issue(certtest.Options{Names: []string{name}, Key: rsaKey(t, 1024)}), "rsa key of 1024 bits: 2048 to 4096 allowed"},
		{"p-224", issue(certtest.Options{Names: []string{name}, Key: curve(t, elliptic.P224())}), "ecdsa key on P-224"},
		{"long chain", store.Pair{Chain: repeat(good.Pair.Chain[0], 17), Key: good.Pair.Key}, "chain of 17 certificates: at most 16 allowed"},
		{"large", store.Pair{Chain: repeat(make([]byte, 5000), 14), Key: good.Pair.Key}, "bytes: at most 65536 allowed"},
		{"large key", store.Pair{Chain: good.Pair.Chain, Key: make([]byte, 6000)}, "private key of 6000 bytes: at most 5120 allowed"},
		{
			"unrelated certificate",
			store.Pair{Chain: append(good.Pair.Chain[:2:2], ca.Issue(t, "z.example").Leaf.Raw), Key: good.Pair.Key},
			`chain: "CN=z.example" signed nothing in it`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			checked, err := store.Check(test.pair, name, now)
			if err == nil {
				t.Fatalf("accepted: %+v", checked.Leaf)
			}
			if !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), `certificate for "a.example": `) {
				t.Errorf("error %q, want it to say %q", err, test.want)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("error %q lets something through", err)
			}
		})
	}
}

func TestCheckMendsTheOrder(t *testing.T) {
	ca := certtest.NewCA(t)
	issued := ca.Issue(t, name)
	leaf, intermediate, root := issued.Leaf.Raw, ca.Intermediate.Raw, ca.Root.Raw
	want := [][]byte{leaf, intermediate, root}
	for _, test := range []struct {
		name  string
		chain [][]byte
	}{
		{"in order", want},
		{"upside down", [][]byte{root, intermediate, leaf}},
		{"leaf last", [][]byte{intermediate, root, leaf}},
		{"root in the middle", [][]byte{leaf, root, intermediate}},
		{"twice the same", [][]byte{leaf, intermediate, intermediate, root, leaf}},
	} {
		t.Run(test.name, func(t *testing.T) {
			checked, err := store.Check(store.Pair{Chain: test.chain, Key: issued.Pair.Key}, name, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if len(checked.Pair.Chain) != len(want) {
				t.Fatalf("chain of %d certificates, want %d", len(checked.Pair.Chain), len(want))
			}
			for i := range want {
				if !bytes.Equal(checked.Pair.Chain[i], want[i]) {
					t.Errorf("certificate %d is not the one wanted", i)
				}
			}
		})
	}
}

// TestCheckKeyIdentifiers: an issuer is known by its name; where the key identifiers differ, its signature decides.
func TestCheckKeyIdentifiers(t *testing.T) {
	ca, namesake := certtest.NewCA(t), certtest.NewCA(t)
	issued := ca.Issue(t, name)
	pair := store.Pair{Chain: [][]byte{issued.Leaf.Raw, namesake.Intermediate.Raw}, Key: issued.Pair.Key}
	if _, err := store.Check(pair, name, time.Now()); err == nil || !strings.Contains(err.Error(), "Test Intermediate") {
		t.Errorf("accepted the intermediate of a namesake: %v", err)
	}
	pair.Chain = [][]byte{issued.Leaf.Raw, namesake.Intermediate.Raw, ca.Intermediate.Raw, namesake.Root.Raw}
	if _, err := store.Check(pair, name, time.Now()); err == nil {
		t.Error("accepted a chain with a namesake's certificates in it")
	}
}

func TestCheckDescribesTheLeaf(t *testing.T) {
	ca := certtest.NewCA(t)
	mustStaple := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}
	issued := ca.IssueWith(t, certtest.Options{
		Names:  []string{"A.example", "*.B.example", "a.example", "bad name", "*.*.c.example", "*", "..", "10.0.0.1"},
		Direct: true,
		Edit:   func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, mustStaple) },
	})
	checked, err := store.Check(issued.Pair, name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf := checked.Leaf
	if got := strings.Join(leaf.Names, " "); got != "a.example *.b.example" {
		t.Errorf("names %s", got)
	}
	if !leaf.MustStaple || !leaf.MissingIntermediate {
		t.Errorf("must staple %t, missing intermediate %t: both expected", leaf.MustStaple, leaf.MissingIntermediate)
	}
	if leaf.Issuer != "CN=Test Root,O=hellogate tests" {
		t.Errorf("issuer %q", leaf.Issuer)
	}
	if !leaf.NotAfter.Equal(issued.Leaf.NotAfter) || !leaf.NotBefore.Equal(issued.Leaf.NotBefore) {
		t.Errorf("valid from %s to %s", leaf.NotBefore, leaf.NotAfter)
	}
	whole, err := store.Check(ca.Issue(t, name).Pair, name, time.Now())
	if err != nil || whole.Leaf.MustStaple || whole.Leaf.MissingIntermediate {
		t.Errorf("a plain certificate: %+v, %v", whole.Leaf, err)
	}
}

func TestCheckNormalisesKeys(t *testing.T) {
	ca := certtest.NewCA(t)
	key := rsaKey(t, 2048)
	rsaPair := ca.IssueWith(t, certtest.Options{Names: []string{name}, Key: key})
	ecKey := curve(t, elliptic.P256()).(*ecdsa.PrivateKey)
	ecPair := ca.IssueWith(t, certtest.Options{Names: []string{name}, Key: ecKey})
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		issued certtest.Issued
		key    []byte
	}{
		{"pkcs #1", rsaPair, x509.MarshalPKCS1PrivateKey(key)},
		{"sec 1", ecPair, sec1},
		{"trailing bytes", ecPair, append(ecPair.Pair.Key[:len(ecPair.Pair.Key):len(ecPair.Pair.Key)], 0, 0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			checked, err := store.Check(store.Pair{Chain: test.issued.Pair.Chain, Key: test.key}, name, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(checked.Pair.Key, test.issued.Pair.Key) {
				t.Error("key is not the same as in PKCS #8")
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	ca := certtest.NewCA(b)
	for _, test := range []struct {
		name    string
		options certtest.Options
	}{
		{"P-256", certtest.Options{Names: []string{name}}},
		{"RSA-2048", certtest.Options{Names: []string{name}, RSA: 2048}},
	} {
		pair := ca.IssueWith(b, test.options).Pair
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := store.Check(pair, name, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func publicEqual(a, b crypto.PublicKey) bool {
	return a.(interface{ Equal(crypto.PublicKey) bool }).Equal(b)
}

func repeat(certificate []byte, times int) [][]byte {
	chain := make([][]byte, times)
	for i := range chain {
		chain[i] = certificate
	}
	return chain
}

func curve(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edwards(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
