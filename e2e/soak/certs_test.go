package soak

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"time"
)

// authority issues certificates for any name: RSA for those that begin with rsa, ECDSA for the others. All of a kind have
// one key, which is not what is tested here.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	ecdsa, rsa  crypto.Signer
	keys        map[crypto.Signer]string // in PEM
	roots       *x509.CertPool
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func newAuthority() *authority {
	a := &authority{
		key:   must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		ecdsa: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		rsa:   must(rsa.GenerateKey(rand.Reader, 2048)),
		keys:  map[crypto.Signer]string{}, roots: x509.NewCertPool(),
	}
	for _, key := range []crypto.Signer{a.ecdsa, a.rsa} {
		a.keys[key] = pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)))
	}
	template := newTemplate("soak CA")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der := must(x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key))
	a.certificate = must(x509.ParseCertificate(der))
	a.roots.AddCert(a.certificate)
	return a
}

func newTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// bundle is a store's answer for a name: a new certificate each time.
func (a *authority) bundle(name string) []byte {
	key := a.ecdsa
	if strings.HasPrefix(name, "rsa") {
		key = a.rsa
	}
	template := newTemplate(name)
	template.DNSNames = []string{name}
	der := must(x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key))
	return must(json.Marshal(map[string]string{"cert": pemOf("CERTIFICATE", der), "key": a.keys[key]}))
}
