package store

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
)

// Verifying costs the square of an RSA modulus, times the length of its exponent: 40 KB and 31 bits take 12 seconds. What
// is above any key in use is refused before anything is verified with it, by us or by who verifies the chain later.
const (
	maxIssuerBits     = 8192
	maxIssuerExponent = 1<<31 - 1
)

// maxSignatures bounds the signatures that are verified for one pair or bundle. Nearly all need none: see issued.
const maxSignatures = 32

func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	certificates := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", i+1, len(chain), err)
		}
		if err := checkEffort(certificate); err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", i+1, len(chain), err)
		}
		certificates[i] = certificate
	}
	return certificates, nil
}

// checkEffort refuses a certificate whose key could make whoever verifies with it work for long.
func checkEffort(certificate *x509.Certificate) error {
	public, ok := certificate.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	if bits := public.N.BitLen(); bits > maxIssuerBits {
		return fmt.Errorf("rsa key of %d bits: at most %d allowed", bits, maxIssuerBits)
	}
	if public.E > maxIssuerExponent {
		return fmt.Errorf("rsa key with exponent %d: at most %d allowed", public.E, maxIssuerExponent)
	}
	return nil
}

func samePublic(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// order returns the chain that begins with the leaf to which the key belongs. A chain that is in order is returned as it
// is. What has no place above the leaf is an error: a client would be sent it for nothing, and it is most likely that
// two customers' files were mixed up.
func order(certificates []*x509.Certificate, public crypto.PublicKey) ([]*x509.Certificate, error) {
	at := slices.IndexFunc(certificates, func(c *x509.Certificate) bool { return samePublic(public, c.PublicKey) })
	if at < 0 {
		return nil, fmt.Errorf("the private key belongs to none of its certificates (%d)", len(certificates))
	}
	links := links{left: maxSignatures}
	if at == 0 && links.inOrder(certificates) {
		return certificates, nil
	}
	rest := slices.Delete(slices.Clone(certificates), at, at+1)
	chain, rest := links.follow(certificates[at], rest)
	if len(rest) > 0 {
		return nil, fmt.Errorf("chain: %s signed nothing in it", quote(rest[0].Subject.String(), 128))
	}
	return chain, nil
}

// links finds out which certificate signed which, within a bound on the signatures that are verified.
type links struct{ left int }

func (l *links) inOrder(certificates []*x509.Certificate) bool {
	for i := range len(certificates) - 1 {
		if !l.issued(certificates[i+1], certificates[i]) {
			return false
		}
	}
	return true
}

// follow builds the chain above leaf out of rest, and returns what it had no use for. Copies of what is in the chain
// are dropped. It stops where the chain is too long to be accepted.
func (l *links) follow(leaf *x509.Certificate, rest []*x509.Certificate) (chain, unused []*x509.Certificate) {
	chain = []*x509.Certificate{leaf}
	for {
		last := chain[len(chain)-1]
		rest = slices.DeleteFunc(rest, last.Equal)
		at := slices.IndexFunc(rest, func(c *x509.Certificate) bool { return l.issued(c, last) })
		if at < 0 || len(chain) > MaxChain {
			return chain, rest
		}
		chain = append(chain, rest[at])
	}
}

// issued reports whether parent signed child, going by their names and key identifiers. These identifiers are a hint
// (RFC 5280, 4.2.1.1) that home-made authorities get wrong: only when they differ is the signature itself looked at,
// and taken for a bad one once maxSignatures were.
func (l *links) issued(parent, child *x509.Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return false
	}
	if len(child.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0 ||
		bytes.Equal(child.AuthorityKeyId, parent.SubjectKeyId) {
		return true
	}
	if l.left <= 0 || checkEffort(parent) != nil {
		return false
	}
	l.left--
	return child.CheckSignatureFrom(parent) == nil
}
