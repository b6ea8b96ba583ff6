//go:build linux && cgo && !s390x

package libcrypto

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"io"
	"math/big"
	"sync"
	"sync/atomic"

	"github.com/golang-fips/openssl/v2"
	"github.com/golang-fips/openssl/v2/bbig"
)

// signer signs through libcrypto, and with the key itself where that is no use.
//
// A fault while an RSA signature is computed from the key's primes would give the key away. OpenSSL checks each against
// the public key before it returns it, and computes it without the primes where they disagree (rsa_ossl_mod_exp in
// crypto/rsa/rsa_ossl.c). On s390x it leaves that out when the processor has an instruction for it, so that this package
// leaves s390x to Go. Here the first signature of a key is checked, for the key could have been handed over wrong.
type signer struct {
	key    *rsa.PrivateKey
	once   sync.Once                             // hands the key over, when it is needed
	given  atomic.Pointer[openssl.PrivateKeyRSA] // nil then: libcrypto is no use for it
	proven atomic.Bool                           // a signature by what was given was right
}

var (
	errRefused = errors.New("libcrypto: the key was refused")
	errWrong   = errors.New("libcrypto: wrong signature")
)

func wrap(key *rsa.PrivateKey) crypto.Signer { return &signer{key: key} }

func (s *signer) Public() crypto.PublicKey { return s.key.Public() }

func (s *signer) Sign(random io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	if !supported(digest, options) {
		return s.key.Sign(random, digest, options)
	}
	signature, err := s.sign(digest, options)
	if err != nil {
		failures.Add(1)
		return s.key.Sign(random, digest, options)
	}
	return signature, nil
}

// supported reports whether the signature is one of those that crypto/tls makes.
func supported(digest []byte, options crypto.SignerOpts) bool {
	pss, isPSS := options.(*rsa.PSSOptions)
	if isPSS && pss.SaltLength != rsa.PSSSaltLengthEqualsHash {
		return false
	}
	switch hash := options.HashFunc(); hash {
	case crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512:
		return len(digest) == hash.Size()
	case crypto.MD5SHA1: // up to TLS 1.1
		return !isPSS && len(digest) == hash.Size()
	}
	return false
}

func (s *signer) sign(digest []byte, options crypto.SignerOpts) ([]byte, error) {
	s.once.Do(s.handOver)
	given := s.given.Load()
	if given == nil {
		return nil, errRefused
	}
	signature, err := signWith(given, digest, options)
	if err != nil || s.proven.Load() {
		return signature, err
	}
	if verify(&s.key.PublicKey, digest, signature, options) != nil {
		s.given.Store(nil)
		return nil, errWrong
	}
	s.proven.Store(true)
	return signature, nil
}

func (s *signer) handOver() {
	k, crt := s.key, s.key.Precomputed
	given, err := openssl.NewPrivateKeyRSA(
		bbig.Enc(k.N), bbig.Enc(big.NewInt(int64(k.E))), bbig.Enc(k.D),
		bbig.Enc(k.Primes[0]), bbig.Enc(k.Primes[1]), bbig.Enc(crt.Dp), bbig.Enc(crt.Dq), bbig.Enc(crt.Qinv))
	if err == nil {
		s.given.Store(given)
	}
}

func signWith(key *openssl.PrivateKeyRSA, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	if _, isPSS := options.(*rsa.PSSOptions); isPSS {
		return openssl.SignRSAPSS(key, options.HashFunc(), digest, rsa.PSSSaltLengthEqualsHash)
	}
	return openssl.SignRSAPKCS1v15(key, options.HashFunc(), digest)
}

func verify(public *rsa.PublicKey, digest, signature []byte, options crypto.SignerOpts) error {
	if pss, isPSS := options.(*rsa.PSSOptions); isPSS {
		return rsa.VerifyPSS(public, pss.HashFunc(), digest, signature, pss)
	}
	return rsa.VerifyPKCS1v15(public, options.HashFunc(), digest, signature)
}
