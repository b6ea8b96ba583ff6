// Package certtest makes certificates for tests. Nothing but tests may import it: its authorities are thrown away with
// the test that made them, and it ends the test where it can't go on.
package certtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"hellogate/store"
)

// CA is a root and an intermediate that it signed.
type CA struct {
	Root, Intermediate *x509.Certificate
	rootKey, key       crypto.Signer
}

// NewCA makes an authority. Its certificates are valid from a day ago for ten years.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{rootKey: newP256(t), key: newP256(t)}
	root := authority("Test Root")
	ca.Root = sign(t, root, root, ca.rootKey.Public(), ca.rootKey)
	ca.Intermediate = sign(t, authority("Test Intermediate"), ca.Root, ca.key.Public(), ca.rootKey)
	return ca
}

// Pool holds the root alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Root)
	return pool
}

// PEM is the root as PEM, for a CA file.
func (ca *CA) PEM() []byte { return encode("CERTIFICATE", ca.Root.Raw) }

// Options say what to issue. The zero value but for Names is a P-256 certificate from the intermediate, valid from an
// hour ago for ninety days.
type Options struct {
	Names []string
	// RSA is the size in bits of an RSA key to use instead; such keys are made once in a process and shared.
	RSA int
	// Key is used when it is set, which saves making one.
	Key crypto.Signer
	// NotBefore and NotAfter are used when they are set.
	NotBefore, NotAfter time.Time
	// Direct: the root signs, and the chain is the leaf alone.
	Direct bool
	// SelfSigned: the leaf signs itself.
	SelfSigned bool
	// Edit may change the template of the leaf before it is signed.
	Edit func(*x509.Certificate)
}

// Issued is a certificate and its key in the forms that tests need. Its key is PKCS #8.
type Issued struct {
	Chain, Key []byte // PEM
	Pair       store.Pair
	Leaf       *x509.Certificate
	Signer     crypto.Signer
}

// Issue makes a P-256 certificate for names.
func (ca *CA) Issue(t testing.TB, names ...string) Issued {
	t.Helper()
	return ca.IssueWith(t, Options{Names: names})
}

// IssueWith makes a certificate as options say.
func (ca *CA) IssueWith(t testing.TB, options Options) Issued {
	t.Helper()
	key := options.signer(t)
	template := options.template()
	issued := Issued{Signer: key}
	switch {
	case options.SelfSigned:
		issued.Leaf = sign(t, template, template, key.Public(), key)
	case options.Direct:
		issued.Leaf = sign(t, template, ca.Root, key.Public(), ca.rootKey)
	default:
		issued.Leaf = sign(t, template, ca.Intermediate, key.Public(), ca.key)
	}
	issued.Pair.Chain = [][]byte{issued.Leaf.Raw}
	if !options.SelfSigned && !options.Direct {
		issued.Pair.Chain = append(issued.Pair.Chain, ca.Intermediate.Raw)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	issued.Pair.Key = der
	issued.Key = encode("PRIVATE KEY", der)
	for _, certificate := range issued.Pair.Chain {
		issued.Chain = append(issued.Chain, encode("CERTIFICATE", certificate)...)
	}
	return issued
}

// Bundle is the chain and the key as one PEM text.
func (i Issued) Bundle() []byte { return bytes.Join([][]byte{i.Chain, i.Key}, nil) }

// JSON is the answer of a store: {"cert", "key"}.
func (i Issued) JSON() []byte {
	body, err := json.Marshal(map[string]string{"cert": string(i.Chain), "key": string(i.Key)})
	if err != nil {
		panic(err)
	}
	return body
}

// TLS is the pair for a tls.Config.
func (i Issued) TLS() tls.Certificate {
	return tls.Certificate{Certificate: i.Pair.Chain, PrivateKey: i.Signer, Leaf: i.Leaf}
}

// Write puts the pair into folder as name.crt and name.key (mode 0600) and returns their paths.
func (i Issued) Write(t testing.TB, folder, name string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = filepath.Join(folder, name+".crt"), filepath.Join(folder, name+".key")
	for file, text := range map[string][]byte{certFile: i.Chain, keyFile: i.Key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func (o Options) signer(t testing.TB) crypto.Signer {
	t.Helper()
	if o.Key != nil {
		return o.Key
	}
	if o.RSA != 0 {
		return sharedRSA(t, o.RSA)
	}
	return newP256(t)
}

func (o Options) template() *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: serial(),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(0, 0, 90),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     o.Names,
	}
	if len(o.Names) > 0 {
		template.Subject.CommonName = o.Names[0]
	}
	if !o.NotBefore.IsZero() {
		template.NotBefore = o.NotBefore
	}
	if !o.NotAfter.IsZero() {
		template.NotAfter = o.NotAfter
	}
	if o.Edit != nil {
		o.Edit(template)
	}
	return template
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name, Organization: []string{"hellogate tests"}},
		NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func newP256(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var rsaKeys struct {
	sync.Mutex
	bySize map[int]*rsa.PrivateKey
}

func sharedRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	if key := rsaKeys.bySize[bits]; key != nil {
		return key
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	if rsaKeys.bySize == nil {
		rsaKeys.bySize = map[int]*rsa.PrivateKey{}
	}
	rsaKeys.bySize[bits] = key
	return key
}

func serial() *big.Int {
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err)
	}
	return number.Add(number, big.NewInt(1))
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
