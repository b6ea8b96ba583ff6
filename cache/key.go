package cache

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
)

// packedKey says how a private key is packed: an ECDSA one as its scalar, a quarter of its PKCS #8; an Ed25519 one as its
// seed; an RSA one as PKCS #1.
type packedKey uint8

const (
	keyP256 packedKey = iota
	keyP384
	keyP521
	keyEd25519
	keyRSA
)

var curves = [...]elliptic.Curve{keyP256: elliptic.P256(), keyP384: elliptic.P384(), keyP521: elliptic.P521()}

func packKey(signer crypto.Signer) (packedKey, []byte, error) {
	switch key := signer.(type) {
	case *rsa.PrivateKey:
		return keyRSA, x509.MarshalPKCS1PrivateKey(key), nil
	case ed25519.PrivateKey:
		return keyEd25519, key.Seed(), nil
	case *ecdsa.PrivateKey:
		for kind, curve := range curves {
			if key.Curve == curve {
				packed, err := key.Bytes()
				return packedKey(kind), packed, err
			}
		}
	}
	return 0, nil, fmt.Errorf("key of type %T can't be kept", signer)
}

// parse returns the key, from what packKey made of it.
func (k packedKey) parse(packed []byte) (crypto.Signer, error) {
	switch k {
	case keyRSA:
		return x509.ParsePKCS1PrivateKey(packed)
	case keyEd25519:
		return ed25519.NewKeyFromSeed(packed), nil
	}
	return ecdsa.ParseRawPrivateKey(curves[k], packed)
}

// hotCost is what a pair in the hot tier takes besides its bytes, once its key has signed. The figures are measured.
func (k packedKey) hotCost(packed int) int64 {
	const around = 240 // tls.Certificate, what wraps the key, the list of what is sent
	switch k {
	case keyRSA:
		return around + 15*int64(packed)/4
	case keyEd25519:
		return around + 400
	}
	return around + 480 + 4*int64(packed)
}
