package store

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxBlocks bounds the PEM blocks of an answer: every pair's chain and key, and a parameter block for each key.
const maxBlocks = MaxPairs * (MaxChain + 2)

// DecodePEM decodes a bundle: certificates and private keys in any order, each key for the certificate with its public
// key and the certificates above that. EC PARAMETERS, as OpenSSL writes them before a key, are passed by, and so is
// text between blocks. An encrypted key, any other block, one that is cut short, and a certificate or a key that belongs
// to nothing are errors. A bundle with one key is not parsed any further; Check does that.
func DecodePEM(text []byte) ([]Pair, error) {
	certificates, keys, err := splitPEM(text)
	switch {
	case err != nil:
		return nil, err
	case len(certificates) == 0 && len(keys) == 0:
		return nil, fmt.Errorf("no PEM block in %d bytes", len(text))
	case len(certificates) == 0:
		return nil, fmt.Errorf("private keys (%d) without a certificate", len(keys))
	case len(keys) == 0:
		return nil, fmt.Errorf("certificates (%d) without a private key", len(certificates))
	case len(keys) > MaxPairs:
		return nil, fmt.Errorf("%d private keys: at most %d allowed", len(keys), MaxPairs)
	case len(keys) > 1:
		return matchPairs(certificates, keys)
	}
	pair := Pair{Chain: certificates, Key: keys[0]}
	if err := pair.checkSize(); err != nil {
		return nil, err
	}
	return []Pair{pair}, nil
}

// splitPEM returns the certificates and the keys of text in the order in which they stand.
func splitPEM(text []byte) (certificates, keys [][]byte, err error) {
	// pem.Decode passes over what it can't read: a block that is damaged or cut short would be left out in silence.
	begun := bytes.Count(text, []byte("-----BEGIN "))
	if begun > maxBlocks {
		return nil, nil, fmt.Errorf("%d PEM blocks: at most %d allowed", begun, maxBlocks)
	}
	blocks := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		switch {
		case block.Type == "CERTIFICATE":
			certificates = append(certificates, block.Bytes)
		case encrypted(block):
			return nil, nil, errors.New("the private key is encrypted")
		case block.Type == "PRIVATE KEY", block.Type == "RSA PRIVATE KEY", block.Type == "EC PRIVATE KEY":
			keys = append(keys, block.Bytes)
		case block.Type != "EC PARAMETERS":
			return nil, nil, fmt.Errorf("PEM block %d: unexpected type %s", blocks, quote(block.Type, 40))
		}
	}
	if blocks != begun {
		return nil, nil, fmt.Errorf("%d of %d PEM blocks are malformed or cut short", begun-blocks, begun)
	}
	return certificates, keys, nil
}

// encrypted knows both the PKCS #8 way and OpenSSL's older one, a header inside the block (RFC 1421).
func encrypted(block *pem.Block) bool {
	return block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
}

// matchPairs finds the certificate of each key, and above it the chain out of those that are nobody's leaf.
func matchPairs(certificates, keys [][]byte) ([]Pair, error) {
	if most := MaxPairs * MaxChain; len(certificates) > most {
		return nil, fmt.Errorf("%d certificates: at most %d allowed", len(certificates), most)
	}
	for i, certificate := range certificates {
		if len(certificate) > MaxPairBytes {
			return nil, fmt.Errorf("certificate %d of %d has %d bytes: at most %d allowed",
				i+1, len(certificates), len(certificate), MaxPairBytes)
		}
	}
	rest, err := parseChain(certificates)
	if err != nil {
		return nil, err
	}
	leaves := make([]*x509.Certificate, len(keys))
	for i, key := range keys {
		at, err := findLeaf(rest, key)
		if err != nil {
			return nil, fmt.Errorf("key %d of %d: %w", i+1, len(keys), err)
		}
		leaves[i] = rest[at]
		rest = slices.Delete(rest, at, at+1)
	}
	return buildPairs(leaves, keys, rest)
}

func findLeaf(certificates []*x509.Certificate, der []byte) (int, error) {
	if len(der) > maxKeyBytes {
		return 0, fmt.Errorf("private key of %d bytes: at most %d allowed", len(der), maxKeyBytes)
	}
	key, err := ParseKey(der)
	if err != nil {
		return 0, err
	}
	for i, certificate := range certificates {
		if samePublic(key.Public(), certificate.PublicKey) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("belongs to none of the %d certificates that have no key yet", len(certificates))
}

func buildPairs(leaves []*x509.Certificate, keys [][]byte, issuers []*x509.Certificate) ([]Pair, error) {
	pairs := make([]Pair, len(leaves))
	used := make(map[string]bool)
	links := links{left: maxSignatures}
	for i, leaf := range leaves {
		chain, _ := links.follow(leaf, slices.Clone(issuers))
		for _, certificate := range chain {
			used[string(certificate.Raw)] = true
			pairs[i].Chain = append(pairs[i].Chain, certificate.Raw)
		}
		pairs[i].Key = keys[i]
		if err := pairs[i].checkSize(); err != nil {
			return nil, fmt.Errorf("pair %d of %d: %w", i+1, len(leaves), err)
		}
	}
	for _, issuer := range issuers {
		if !used[string(issuer.Raw)] {
			return nil, fmt.Errorf("certificate %s belongs to no pair", quote(issuer.Subject.String(), 128))
		}
	}
	return pairs, nil
}
