package certs

import (
	"crypto/rsa"
	"testing"
)

// Every key is a good one, and another.
func TestPrimes(t *testing.T) {
	var p primes
	seen := map[string]bool{}
	for range 15 { // of 6 primes
		made, err := p.newKey()
		if err != nil {
			t.Fatal(err)
		}
		key := made.(*rsa.PrivateKey)
		if err := key.Validate(); err != nil || key.N.BitLen() != 2048 {
			t.Fatalf("%d bits, %v", key.N.BitLen(), err)
		}
		seen[key.N.String()] = true
	}
	if len(seen) != 15 || len(p.made) != 6 {
		t.Fatalf("%d different keys of %d primes", len(seen), len(p.made))
	}
}
