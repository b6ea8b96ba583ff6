package store_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

// mostEffort is far above what a bundle within bounds takes, also with the race detector.
const mostEffort = 8 * time.Second

// TestHugeIssuer: a modulus of 25 KB and the largest exponent take seconds for one signature.
func TestHugeIssuer(t *testing.T) {
	leaf, key, issuer := hugeChain(t, 200_000, 1<<31-1)
	pair := store.Pair{Chain: [][]byte{leaf, issuer}, Key: key}
	other := certtest.NewCA(t).Issue(t, name)
	bundle := block("CERTIFICATE", leaf) + block("CERTIFICATE", issuer) + block("PRIVATE KEY", key) + string(other.Bundle())
	const want = "rsa key of 200000 bits: at most 8192 allowed"
	quick(t, func() {
		if _, err := store.Check(pair, name, time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check: got %v, want %q", err, want)
		}
		if _, err := store.DecodePEM([]byte(bundle)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("DecodePEM: got %v, want %q", err, want)
		}
	})
}

func TestHugeExponent(t *testing.T) {
	leaf, key, issuer := hugeChain(t, 2048, 1<<31)
	_, err := store.Check(store.Pair{Chain: [][]byte{leaf, issuer}, Key: key}, name, time.Now())
	if want := "rsa key with exponent 2147483648: at most 2147483647 allowed"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestLargestIssuer: what is still allowed is quick, as often as it is looked at.
func TestLargestIssuer(t *testing.T) {
	leaf, key, issuer := hugeChain(t, 8192, 1<<31-1)
	pair := store.Pair{Chain: append([][]byte{leaf}, repeat(issuer, 15)...), Key: key}
	quick(t, func() {
		if _, err := store.Check(pair, name, time.Now()); err == nil || !strings.Contains(err.Error(), "signed nothing in it") {
			t.Errorf("got %v", err)
		}
	})
}

// TestManyNamesakes: certificates that all have one name, but different key identifiers, each may be the other's issuer.
func TestManyNamesakes(t *testing.T) {
	key := curve(t, elliptic.P521())
	var bundle strings.Builder
	for i := range 120 {
		bundle.WriteString(block("CERTIFICATE", namesake(t, key, i)))
	}
	for i := range store.MaxPairs {
		leafKey := curve(t, elliptic.P256())
		leaf := namesake(t, leafKey, 1000+i)
		der, err := x509.MarshalPKCS8PrivateKey(leafKey)
		if err != nil {
			t.Fatal(err)
		}
		bundle.WriteString(block("CERTIFICATE", leaf) + block("PRIVATE KEY", der))
	}
	quick(t, func() {
		if _, err := store.DecodePEM([]byte(bundle.String())); err == nil || !strings.Contains(err.Error(), "belongs to no pair") {
			t.Errorf("got %v", err)
		}
	})
}

func TestHugeCertificate(t *testing.T) {
	ca := certtest.NewCA(t)
	bundle := string(ca.Issue(t, name).Bundle()) + string(ca.Issue(t, name).Bundle()) + block("CERTIFICATE", make([]byte, store.MaxPairBytes+1))
	_, err := store.DecodePEM([]byte(bundle))
	if want := "has 65537 bytes: at most 65536 allowed"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func quick(t *testing.T, do func()) {
	t.Helper()
	started := time.Now()
	do()
	if took := time.Since(started); took > mostEffort {
		t.Errorf("took %s", took)
	}
}

// hugeChain makes a leaf with a signature of as many bits as the key of its issuer has, which is too small for anybody to
// say at once that it is bad.
func hugeChain(t *testing.T, bits, exponent int) (leaf, key, issuer []byte) {
	t.Helper()
	modulus, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-1)))
	if err != nil {
		t.Fatal(err)
	}
	modulus.SetBit(modulus, bits-1, 1).SetBit(modulus, 0, 1)
	above := template("Huge", 1, true)
	issuer = create(t, above, template("Root", 2, true), &rsa.PublicKey{N: modulus, E: exponent}, curve(t, elliptic.P256()))
	signer := rsaKey(t, 2048)
	child := template("Leaf", 3, false)
	child.DNSNames = []string{name}
	above.SubjectKeyId = []byte{9} // not the issuer's, so that its signature is looked at
	signed := create(t, child, above, signer.Public(), signer)
	if key, err = x509.MarshalPKCS8PrivateKey(signer); err != nil {
		t.Fatal(err)
	}
	return resign(t, signed, append([]byte{0}, bytes.Repeat([]byte{0x5a}, (bits+7)/8-1)...)), key, issuer
}

// resign replaces the signature of a certificate.
func resign(t *testing.T, der, signature []byte) []byte {
	t.Helper()
	var certificate struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &certificate); err != nil {
		t.Fatal(err)
	}
	certificate.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	der, err := asn1.Marshal(certificate)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func namesake(t *testing.T, key crypto.Signer, serial int) []byte {
	t.Helper()
	self, parent := template("Same", serial, true), template("Same", serial, true)
	self.AuthorityKeyId = []byte(fmt.Sprint("authority ", serial))
	return create(t, self, parent, key.Public(), curve(t, elliptic.P521()))
}

func template(subject string, serial int, authority bool) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(int64(serial)),
		Subject:               pkix.Name{CommonName: subject},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  authority,
		SubjectKeyId:          []byte(fmt.Sprint("subject ", serial)),
	}
}

func create(t *testing.T, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
