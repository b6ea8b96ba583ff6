package terminate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"runtime"
	"slices"
	"sync"
	"weak"
)

// leaves has the parsed leaves of certificates that a PROXY header tells of. They are parsed once, and go with their
// certificate: most headers tell nothing of them, and nothing keeps them for that.
var leaves leafTable

type leafTable struct{ parsed sync.Map }

// of returns the leaf of a certificate; nil where it can't be parsed.
func (t *leafTable) of(certificate *tls.Certificate) *x509.Certificate {
	if certificate.Leaf != nil {
		return certificate.Leaf
	}
	key := weak.Make(certificate)
	if leaf, ok := t.parsed.Load(key); ok {
		return leaf.(*x509.Certificate)
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		return nil
	}
	if _, there := t.parsed.LoadOrStore(key, leaf); !there {
		runtime.AddCleanup(certificate, func(key weak.Pointer[tls.Certificate]) { t.parsed.Delete(key) }, key)
	}
	return leaf
}

// signedWith is the scheme by which a handshake was signed, which crypto/tls keeps to itself: the first that the client
// takes and the key can be used with. 0: it can't be told.
func signedWith(offered []tls.SignatureScheme, certificate *tls.Certificate, version uint16) tls.SignatureScheme {
	signer, ok := certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return 0
	}
	usable := schemesOf(signer.Public(), version)
	for _, scheme := range offered {
		if slices.Contains(usable, scheme) {
			return scheme
		}
	}
	return 0
}

// schemesOf are those that crypto/tls signs with, by key and version (RFC 8446, section 4.2.3). It tells an RSA key that is
// too small for the larger hashes, which none is that the cache takes.
func schemesOf(key crypto.PublicKey, version uint16) []tls.SignatureScheme {
	pss := []tls.SignatureScheme{tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512}
	switch key := key.(type) {
	case ed25519.PublicKey:
		return []tls.SignatureScheme{tls.Ed25519}
	case *rsa.PublicKey:
		if version < tls.VersionTLS13 {
			return append(pss, tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512, tls.PKCS1WithSHA1)
		}
		return pss
	case *ecdsa.PublicKey:
		if version < tls.VersionTLS13 {
			return []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512, tls.ECDSAWithSHA1}
		}
		switch key.Curve.Params().BitSize {
		case 256:
			return []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
		case 384:
			return []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}
		case 521:
			return []tls.SignatureScheme{tls.ECDSAWithP521AndSHA512}
		}
	}
	return nil
}
