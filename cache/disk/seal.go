package disk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// errDamaged is a value that is not what was sealed under its name.
var errDamaged = errors.New("damaged")

// bucket is one of the maps in the file.
type bucket byte

const (
	metaBucket   bucket = iota
	recordBucket        // key: a record
	sharedBucket        // SHA-256: what records share
	tagBucket           // a tag and a key: nothing
	buckets
)

var bucketNames = [buckets][]byte{[]byte("meta"), []byte("records"), []byte("shared"), []byte("tags")}

const sumSize = 16

// sealer binds values to the place they are kept at: by AES-256-GCM with a random nonce, or by a checksum if there is no key.
type sealer struct{ aead cipher.AEAD }

// newSealer derives the key of one file: with a salt of its own for each, no nonce is ever used twice with a key.
func newSealer(secret, salt []byte) (sealer, error) {
	if secret == nil {
		return sealer{}, nil
	}
	key, err := hkdf.Key(sha256.New, secret, salt, "hellogate disk tier 1: seal", keySize)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the disk tier's key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the disk tier's key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the disk tier's key: %w", err)
	}
	return sealer{aead}, nil
}

// keyCheck tells whether a file is of this key, and nothing about the key.
func keyCheck(secret, salt []byte) ([]byte, error) {
	if secret == nil {
		return make([]byte, sumSize), nil
	}
	return hkdf.Key(sha256.New, secret, salt, "hellogate disk tier 1: key check", sumSize)
}

// place is what a value is bound to.
func place(in bucket, key []byte) []byte {
	bound := make([]byte, 0, 2+len(key))
	bound = append(bound, formatVersion, byte(in))
	return append(bound, key...)
}

// seal returns plain as it is kept in the file.
func (s sealer) seal(in bucket, key, plain []byte) []byte {
	if s.aead != nil {
		return s.aead.Seal(nil, nil, plain, place(in, key))
	}
	sealed := make([]byte, 0, sumSize+len(plain))
	return append(append(sealed, sum(in, key, plain)...), plain...)
}

// open returns a copy of what was sealed, or errDamaged.
func (s sealer) open(in bucket, key, sealed []byte) ([]byte, error) {
	if s.aead != nil {
		plain, err := s.aead.Open(nil, nil, sealed, place(in, key))
		if err != nil {
			return nil, errDamaged
		}
		return plain, nil
	}
	if len(sealed) < sumSize {
		return nil, errDamaged
	}
	plain := append([]byte{}, sealed[sumSize:]...)
	if subtle.ConstantTimeCompare(sum(in, key, plain), sealed[:sumSize]) == 0 {
		return nil, errDamaged
	}
	return plain, nil
}

// sum is the checksum of a value and of where it is kept.
func sum(in bucket, key, plain []byte) []byte {
	digest := sha256.New()
	digest.Write(binary.BigEndian.AppendUint32(nil, uint32(len(key))))
	digest.Write(place(in, key))
	digest.Write(plain)
	return digest.Sum(nil)[:sumSize]
}
