package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// authority is a CA with an intermediate, as the public ones are.
type authority struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey // the intermediate's
	pool               *x509.CertPool
}

// ca signs all that clients here trust, stranger what they do not.
var (
	ca       = sync.OnceValue(newAuthority)
	stranger = sync.OnceValue(newAuthority)
)

func newAuthority() *authority {
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	rootKey, key := newKey(), newKey()
	root := sign(template("e2e root"), nil, rootKey.Public(), rootKey)
	intermediate := sign(template("e2e intermediate"), root, key.Public(), rootKey)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &authority{root: root, intermediate: intermediate, key: key, pool: pool}
}

// sign panics on errors: there are none but the test's own mistakes. Without a parent the certificate signs itself.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	if parent == nil {
		parent = template
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, parent, public, key))))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func newKey() *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func serial() *big.Int {
	return must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)))
}

// pair is a chain with its key, as a store answers with.
type pair struct {
	chain []*x509.Certificate
	key   crypto.Signer
}

// issue makes a pair for the names; each change alters the template before it is signed.
func (a *authority) issue(names []string, changes ...func(*x509.Certificate)) pair {
	return a.issueFor(newKey(), names, changes...)
}

func (a *authority) issueRSA(names ...string) pair {
	return a.issueFor(rsaKey(), names)
}

var rsaKey = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func (a *authority) issueFor(key crypto.Signer, names []string, changes ...func(*x509.Certificate)) pair {
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(12 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, change := range changes {
		change(template)
	}
	leaf := sign(template, a.intermediate, key.Public(), a.key)
	return pair{chain: []*x509.Certificate{leaf, a.intermediate}, key: key}
}

// valid sets from when and until when, counted from now.
func valid(from, until time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(until)
	}
}

func (p pair) leaf() *x509.Certificate { return p.chain[0] }

func (p pair) fingerprint() string {
	sum := sha256.Sum256(p.leaf().Raw)
	return hex.EncodeToString(sum[:])
}

func (p pair) certPEM() string {
	var text []byte
	for _, certificate := range p.chain {
		text = append(text, certificatePEM(certificate)...)
	}
	return string(text)
}

func (p pair) keyPEM() string {
	der := must(x509.MarshalPKCS8PrivateKey(p.key))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func certificatePEM(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

// write puts the pair into a folder as NAME.crt and NAME.key and gives the two paths.
func (p pair) write(t testing.TB, folder, name string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = filepath.Join(folder, name+".crt"), filepath.Join(folder, name+".key")
	writeFile(t, certFile, p.certPEM())
	writeFile(t, keyFile, p.keyPEM())
	return certFile, keyFile
}

// rootFile is the CA's root as a file, for programs that take it so.
func (a *authority) rootFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.pem")
	writeFile(t, path, string(certificatePEM(a.root)))
	return path
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
