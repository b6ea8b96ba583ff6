package libcrypto

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func p256Key() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func digestOf(hash crypto.Hash) []byte {
	if hash == crypto.MD5SHA1 {
		return append(digestOf(crypto.MD5), digestOf(crypto.SHA1)...)
	}
	digest := hash.New()
	digest.Write([]byte("signed"))
	return digest.Sum(nil)
}

func pss(hash crypto.Hash) *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
}

// What libcrypto is not for stays with Go, in every build.
func TestOtherKeysAreLeftAlone(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	unprepared := *rsaKey()
	unprepared.Precomputed = rsa.PrecomputedValues{}
	unprepared.Primes = append(unprepared.Primes[:2:2], unprepared.Primes[0])
	for name, key := range map[string]crypto.Signer{
		"P-256":              p256Key(),
		"Ed25519":            edwards,
		"three primes":       &unprepared,
		"not a Go RSA key":   opaque{rsaKey()},
		"not a Go P-256 key": opaque{p256Key()},
	} {
		got := Wrap(key)
		if fmt.Sprintf("%T %p", got, got) != fmt.Sprintf("%T %p", key, key) {
			t.Errorf("%s: wrapped as %T", name, got)
		}
		if bytes := Bytes(p256Key().Public()); bytes != 0 {
			t.Errorf("%s: %d bytes", name, bytes)
		}
	}
}

type opaque struct{ crypto.Signer }

// Whatever signs, signatures are good and Public is the key's.
func TestEverySchemeOfTLS(t *testing.T) {
	key := rsaKey()
	signer := Wrap(key)
	if !key.PublicKey.Equal(signer.Public()) {
		t.Error("another public key")
	}
	failed := Failures()
	for _, options := range []crypto.SignerOpts{
		pss(crypto.SHA256), pss(crypto.SHA384), pss(crypto.SHA512), pss(crypto.SHA1),
		crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA1, crypto.MD5SHA1,
	} {
		digest := digestOf(options.HashFunc())
		for range 3 {
			signature, err := signer.Sign(rand.Reader, digest, options)
			if err == nil {
				err = check(key, digest, signature, options)
			}
			if err != nil {
				t.Errorf("%T %v: %v", options, options.HashFunc(), err)
			}
		}
	}
	if got := Failures() - failed; got != 0 {
		t.Errorf("%d failures", got)
	}
}

func check(key *rsa.PrivateKey, digest, signature []byte, options crypto.SignerOpts) error {
	if pss, ok := options.(*rsa.PSSOptions); ok {
		return rsa.VerifyPSS(&key.PublicKey, pss.Hash, digest, signature, pss)
	}
	return rsa.VerifyPKCS1v15(&key.PublicKey, options.HashFunc(), digest, signature)
}

func TestSizesOfKeys(t *testing.T) {
	for _, bits := range []int{2048, 3072, 4096, 2056} {
		key := must(rsa.GenerateKey(rand.Reader, bits))
		digest := digestOf(crypto.SHA256)
		signature, err := Wrap(key).Sign(rand.Reader, digest, pss(crypto.SHA256))
		if err == nil {
			err = check(key, digest, signature, pss(crypto.SHA256))
		}
		if err != nil {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

// What is not of TLS ends as it does with the key itself: a signature or an error.
func TestWhatTLSDoesNotAskFor(t *testing.T) {
	key := rsaKey()
	signer := Wrap(key)
	failed := Failures()
	for _, c := range []struct {
		name    string
		digest  []byte
		options crypto.SignerOpts
	}{
		{"digest too short", make([]byte, 31), crypto.SHA256},
		{"digest too long", make([]byte, 33), pss(crypto.SHA256)},
		{"no digest", nil, crypto.SHA256},
		{"not hashed", []byte("message"), crypto.Hash(0)},
		{"not hashed, PSS", []byte("message"), pss(0)},
		{"SHA-224", digestOf(crypto.SHA224), crypto.SHA224},
		{"unknown hash", make([]byte, 32), crypto.Hash(99)},
		{"MD5 and SHA-1 with PSS", digestOf(crypto.MD5SHA1), pss(crypto.MD5SHA1)},
		{"salt as long as can be", digestOf(crypto.SHA256), &rsa.PSSOptions{Hash: crypto.SHA256}},
		{"salt of 20 bytes", digestOf(crypto.SHA256), &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 20}},
		{"salt of less than none", digestOf(crypto.SHA256), &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: -7}},
	} {
		got, err := attempt(signer, c.digest, c.options)
		_, want := attempt(key, c.digest, c.options)
		if fmt.Sprint(err) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", c.name, err, want)
		}
		if err == nil && check(key, c.digest, got, c.options) != nil {
			t.Errorf("%s: wrong signature", c.name)
		}
	}
	if got := Failures() - failed; got != 0 {
		t.Errorf("%d of them were tried with libcrypto", got)
	}
}

// attempt signs; a panic is an error.
func attempt(signer crypto.Signer, digest []byte, options crypto.SignerOpts) (signature []byte, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	return signer.Sign(rand.Reader, digest, options)
}

func TestKeyDoesNotShow(t *testing.T) {
	key := rsaKey()
	signer := Wrap(key)
	if signer == crypto.Signer(key) {
		t.Skip("not wrapped: ", Describe())
	}
	if _, err := signer.Sign(rand.Reader, digestOf(crypto.SHA256), crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	if _, err := x509.MarshalPKCS8PrivateKey(signer); err == nil {
		t.Error("it can be marshalled")
	}
	if text, err := json.Marshal(signer); err == nil && string(text) != "{}" {
		t.Errorf("JSON: %s", text)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		text := fmt.Sprintf(verb, signer)
		for _, secret := range []string{key.D.String(), fmt.Sprintf("%x", key.D), key.Primes[0].String(), fmt.Sprintf("%x", key.Primes[0])} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows the key", verb)
			}
		}
	}
	type decrypter interface {
		Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error)
	}
	if _, ok := signer.(decrypter); ok {
		t.Error("it decrypts")
	}
}

func TestConcurrentSignatures(t *testing.T) {
	key := rsaKey()
	signer := Wrap(key)
	digest := digestOf(crypto.SHA256)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				signature, err := signer.Sign(rand.Reader, digest, pss(crypto.SHA256))
				if err == nil {
					err = check(key, digest, signature, pss(crypto.SHA256))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}
