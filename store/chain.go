package store

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
)

func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	certificates := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", i+1, len(chain), err)
		}
		certificates[i] = certificate
	}
	return certificates, nil
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
	if at == 0 && inOrder(certificates) {
		return certificates, nil
	}
	rest := slices.Delete(slices.Clone(certificates), at, at+1)
	chain, rest := follow(certificates[at], rest)
	if len(rest) > 0 {
		return nil, fmt.Errorf("chain: %s signed nothing in it", quote(rest[0].Subject.String(), 128))
	}
	return chain, nil
}

func inOrder(certificates []*x509.Certificate) bool {
	for i := range len(certificates) - 1 {
		if !issued(certificates[i+1], certificates[i]) {
			return false
		}
	}
	return true
}

// follow builds the chain above leaf out of rest, and returns what it had no use for. Copies of what is in the chain
// are dropped.
func follow(leaf *x509.Certificate, rest []*x509.Certificate) (chain, unused []*x509.Certificate) {
	chain = []*x509.Certificate{leaf}
	for {
		last := chain[len(chain)-1]
		rest = slices.DeleteFunc(rest, last.Equal)
		at := slices.IndexFunc(rest, func(c *x509.Certificate) bool { return issued(c, last) })
		if at < 0 {
			return chain, rest
		}
		chain = append(chain, rest[at])
	}
}

// issued reports whether parent signed child, going by their names and key identifiers. These identifiers are a hint
// (RFC 5280, 4.2.1.1) that home-made authorities get wrong: only when they differ is the signature itself looked at.
func issued(parent, child *x509.Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return false
	}
	if len(child.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0 ||
		bytes.Equal(child.AuthorityKeyId, parent.SubjectKeyId) {
		return true
	}
	return child.CheckSignatureFrom(parent) == nil
}
