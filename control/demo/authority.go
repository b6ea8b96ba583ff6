package demo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	authorityLife   = 7 * 24 * time.Hour
	certificateLife = 24 * time.Hour
	backdated       = time.Hour // for clocks that are slow
)

// authority is a certificate authority that lives as long as the demo: a root, which clients trust, and an
// intermediate, which signs. Their keys are never written anywhere.
type authority struct {
	directory    string // gets NAME.crt and NAME.key
	root         *x509.Certificate
	intermediate *x509.Certificate
	key          *ecdsa.PrivateKey // of the intermediate

	mu     sync.Mutex // one certificate is made at a time
	issued map[string]struct{}
}

// issuedLimit bounds the files that a demo leaves on the disk while it runs.
const issuedLimit = 10_000

func newAuthority(directory string) (*authority, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := authorityTemplate("hellogate demo root", 1)
	root, err := signed(template, template, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	intermediate, err := signed(authorityTemplate("hellogate demo CA", 2), root, key.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	return &authority{directory: directory, root: root, intermediate: intermediate, key: key, issued: map[string]struct{}{}}, nil
}

func authorityTemplate(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-backdated),
		NotAfter:              time.Now().Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func signed(template, parent *x509.Certificate, public crypto.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// rootPEM is the root, for clients to trust.
func (a *authority) rootPEM() []byte { return block("CERTIFICATE", a.root.Raw) }

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// issue writes the pair for name into the directory, if it has not done so before.
func (a *authority) issue(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, done := a.issued[name]; done || len(a.issued) >= issuedLimit {
		return nil
	}
	chain, key, err := a.sign(name)
	if err != nil {
		return err
	}
	// The certificate server takes a name for known when it sees the certificate.
	if err := a.write(name+".key", key); err != nil {
		return err
	}
	if err := a.write(name+".crt", chain); err != nil {
		return err
	}
	a.issued[name] = struct{}{}
	return nil
}

func (a *authority) sign(name string) (chain, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := signed(&x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.issued)) + 1),
		DNSNames:     []string{name}, // no common name: it may have 64 characters at most
		NotBefore:    time.Now().Add(-backdated),
		NotAfter:     time.Now().Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.intermediate, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return append(block("CERTIFICATE", leaf.Raw), block("CERTIFICATE", a.intermediate.Raw)...), block("PRIVATE KEY", der), nil
}

// write makes a file that appears whole.
func (a *authority) write(name string, text []byte) error {
	path := filepath.Join(a.directory, name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
