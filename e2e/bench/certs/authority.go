package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"time"
)

// authority signs with an intermediate certificate, which goes with every leaf, as the public ones do.
type authority struct {
	certificate *x509.Certificate
	encoded     []byte
	key         *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root, intermediate := issuer("bench root"), issuer("bench intermediate")
	der, err := x509.CreateCertificate(rand.Reader, intermediate, root, key.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("intermediate certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("intermediate certificate: %w", err)
	}
	return &authority{certificate: certificate, encoded: encodeCertificate(der), key: key}, nil
}

func issuer(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(2 * lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

func (a *authority) newKey() (crypto.Signer, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// bundle makes a key and a certificate for name, and encodes them as a store answers with them.
func (a *authority) bundle(name string, newKey func() (crypto.Signer, error)) ([]byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf(name), a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", name, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"cert": string(encodeCertificate(der)) + string(a.encoded), "key": string(keyPEM)})
}
