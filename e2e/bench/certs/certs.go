// Package certs makes the certificates of a benchmark: for one name, in files that every proxy can read, and for any
// number of names, over HTTP, as a certificate store. Nothing in it is meant for any other use: it hands out keys.
package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Name is the name that the certificates in files are for.
const Name = "bench.test"

// lifetime is how long every certificate is valid: long enough that none is due for renewal while it is measured.
const lifetime = 60 * 24 * time.Hour

// Files are where a pair stands, in all the forms that the proxies take it.
type Files struct {
	Certificate, Key string
	Both             string // key and certificate in one
	Folder           string // NAME.crt and NAME.key
}

// Write makes a pair for Name, with a P-256 key or an RSA key of 2048 bits, in a new folder below folder.
func Write(folder, kind string) (Files, error) {
	key, err := newKey(kind)
	if err != nil {
		return Files{}, err
	}
	template := leaf(Name)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Files{}, fmt.Errorf("certificate for %s: %w", Name, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Files{}, err
	}
	return writeFiles(filepath.Join(folder, kind), encodeCertificate(der), keyPEM)
}

func writeFiles(folder string, certificate, key []byte) (Files, error) {
	files := Files{
		Certificate: filepath.Join(folder, Name+".crt"), Key: filepath.Join(folder, Name+".key"),
		Both: filepath.Join(folder, "both.pem"), Folder: folder,
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return files, err
	}
	for path, content := range map[string][]byte{
		files.Certificate: certificate, files.Key: key, files.Both: bytes.Join([][]byte{key, certificate}, nil),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return files, err
		}
	}
	return files, nil
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("no key is of the kind %q", kind)
}

func leaf(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
}

func serial() *big.Int {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return new(big.Int).SetBytes(random[:])
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
