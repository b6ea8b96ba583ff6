package store

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hellogate/sni"
)

// clockSkew is how far ahead of now a certificate's validity may begin: authorities date a certificate to the second it
// is made, and clocks differ.
const clockSkew = 5 * time.Minute

// maxKeyBytes bounds what is parsed as a private key, since the cost of an RSA key grows faster than its size. RSA-4096 has
// 2.4 KB; the rest is so that somewhat longer ones are refused by their number of bits.
const maxKeyBytes = 5 << 10

// Check accepts a pair that may be served for name at the time now: it parses, its key belongs to its leaf, the leaf
// covers name by its DNS names (the common name never counts) and is within its validity, the chain leads upwards from
// it, the key is RSA of 2048 to 4096 bits, ECDSA on P-256, P-384 or P-521, or Ed25519, and all of it is within bounds.
// A chain in the wrong order is put right. Signatures are not verified: that is for those who connect.
//
// The error says which name and what is wrong with the pair, with the numbers; never anything of the key.
func Check(pair Pair, name string, now time.Time) (Checked, error) {
	checked, err := check(pair, name, now)
	if err != nil {
		return Checked{}, fmt.Errorf("certificate for %q: %w", name, err)
	}
	return checked, nil
}

func check(pair Pair, name string, now time.Time) (Checked, error) {
	if err := pair.checkSize(); err != nil {
		return Checked{}, err
	}
	certificates, err := parseChain(pair.Chain)
	if err != nil {
		return Checked{}, err
	}
	signer, err := ParseKey(pair.Key)
	if err != nil {
		return Checked{}, err
	}
	kind, err := keyType(signer.Public())
	if err != nil {
		return Checked{}, err
	}
	if certificates, err = order(certificates, signer.Public()); err != nil {
		return Checked{}, err
	}
	leaf := describe(certificates, kind)
	if err := leaf.checkUse(certificates[0], name, now); err != nil {
		return Checked{}, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return Checked{}, fmt.Errorf("private key: %w", err)
	}
	chain := make([][]byte, len(certificates))
	for i, certificate := range certificates {
		chain[i] = certificate.Raw
	}
	return Checked{Pair: Pair{Chain: chain, Key: key}, Leaf: leaf, Signer: signer}, nil
}

func (p Pair) checkSize() error {
	if len(p.Chain) == 0 {
		return errors.New("no certificate")
	}
	if len(p.Chain) > MaxChain {
		return fmt.Errorf("chain of %d certificates: at most %d allowed", len(p.Chain), MaxChain)
	}
	if len(p.Key) == 0 {
		return errors.New("no private key")
	}
	if len(p.Key) > maxKeyBytes {
		return fmt.Errorf("private key of %d bytes: at most %d allowed", len(p.Key), maxKeyBytes)
	}
	size := len(p.Key)
	for _, certificate := range p.Chain {
		size += len(certificate)
	}
	if size > MaxPairBytes {
		return fmt.Errorf("chain and key of %d bytes: at most %d allowed", size, MaxPairBytes)
	}
	return nil
}

// ParseKey parses a private key in PKCS #8, PKCS #1 or SEC 1. The error holds nothing of it.
func ParseKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, fmt.Errorf("private key of type %T can't sign", key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, fmt.Errorf("private key of %d bytes is no PKCS #8, PKCS #1 or SEC 1, or not a valid one", len(der))
}

func keyType(public crypto.PublicKey) (string, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		bits := public.N.BitLen()
		if bits < 2048 || bits > 4096 {
			return "", fmt.Errorf("rsa key of %d bits: 2048 to 4096 allowed", bits)
		}
		return "rsa-" + strconv.Itoa(bits), nil
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return "ecdsa-p256", nil
		case elliptic.P384():
			return "ecdsa-p384", nil
		case elliptic.P521():
			return "ecdsa-p521", nil
		}
		return "", fmt.Errorf("ecdsa key on %s: P-256, P-384 or P-521 allowed", public.Params().Name)
	case ed25519.PublicKey:
		return "ed25519", nil
	}
	return "", fmt.Errorf("key of type %T: rsa, ecdsa or ed25519 allowed", public)
}

func describe(chain []*x509.Certificate, kind string) Leaf {
	leaf := chain[0]
	issuer := leaf.Issuer.String()
	return Leaf{
		Names:               dnsNames(leaf),
		Issuer:              strings.ToValidUTF8(issuer[:min(len(issuer), 256)], ""),
		Fingerprint:         sha256.Sum256(leaf.Raw),
		KeyType:             kind,
		NotBefore:           leaf.NotBefore,
		NotAfter:            leaf.NotAfter,
		MissingIntermediate: len(chain) == 1 && !bytes.Equal(leaf.RawIssuer, leaf.RawSubject),
		MustStaple:          mustStaple(leaf),
	}
}

func dnsNames(leaf *x509.Certificate) []string {
	names := make([]string, 0, len(leaf.DNSNames))
	seen := make(map[string]bool, len(leaf.DNSNames))
	for _, name := range leaf.DNSNames {
		base, wildcard := strings.CutPrefix(name, "*.")
		normal, err := sni.Normalize(base)
		if err != nil {
			continue
		}
		if wildcard {
			normal = "*." + normal
		}
		if !seen[normal] {
			seen[normal] = true
			names = append(names, normal)
		}
	}
	return names
}

var tlsFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

func mustStaple(leaf *x509.Certificate) bool {
	const statusRequest = 5
	for _, extension := range leaf.Extensions {
		var features []int
		if extension.Id.Equal(tlsFeature) {
			_, err := asn1.Unmarshal(extension.Value, &features)
			return err == nil && slices.Contains(features, statusRequest)
		}
	}
	return false
}

func (l Leaf) checkUse(certificate *x509.Certificate, name string, now time.Time) error {
	if early := l.NotBefore.Sub(now); early > clockSkew {
		return fmt.Errorf("not valid for another %s (not before %s)", rough(early), l.NotBefore.Format(time.RFC3339))
	}
	if late := now.Sub(l.NotAfter); late >= 0 {
		return fmt.Errorf("expired %s ago (not after %s)", rough(late), l.NotAfter.Format(time.RFC3339))
	}
	if covers(l.Names, name) {
		return nil
	}
	if len(l.Names) == 0 {
		return fmt.Errorf("covers no DNS name, not %q (its common name, %s, does not count)",
			name, quote(certificate.Subject.CommonName, 64))
	}
	return fmt.Errorf("covers %s, not %q", list(l.Names), name)
}

// covers reports whether one of names is name, or is a wildcard in its first label's place (RFC 6125, 6.4.3).
func covers(names []string, name string) bool {
	_, parent, _ := strings.Cut(name, ".")
	for _, candidate := range names {
		base, wildcard := strings.CutPrefix(candidate, "*.")
		if !wildcard && candidate == name || wildcard && base == parent {
			return true
		}
	}
	return false
}

func list(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// rough writes a duration as people say it.
func rough(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return strconv.Itoa(int(d/(24*time.Hour))) + " days"
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return max(d, time.Second).Truncate(time.Second).String()
}

// quote makes text from outside fit for a message: ASCII, quoted, no longer than most bytes.
func quote(text string, most int) string {
	if len(text) > most {
		return strconv.QuoteToASCII(text[:most]) + "..."
	}
	return strconv.QuoteToASCII(text)
}
