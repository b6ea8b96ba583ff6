package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"sync"
)

const (
	primeBits = 1024
	exponent  = 65537
)

// primes makes RSA keys of 2048 bits, each another, in a hundredth of the time that it takes to make them from primes of
// their own: 200 primes make 19,900 pairs. They are as large as any, and as slow, and of no other use: whoever has two of them may have a third. The zero
// value is ready.
type primes struct {
	mutex sync.Mutex
	made  []*big.Int
	next  int // the last was paired with those up to this one
}

func (p *primes) newKey() (crypto.Signer, error) {
	first, second, err := p.pair()
	if err != nil {
		return nil, err
	}
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(first, one), new(big.Int).Sub(second, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(first, second), E: exponent},
		D:         new(big.Int).ModInverse(big.NewInt(exponent), phi),
		Primes:    []*big.Int{first, second},
	}
	key.Precompute()
	return key, nil
}

// pair returns two that were not returned together before. It makes another when there are none.
func (p *primes) pair() (first, second *big.Int, err error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.next+2 >= len(p.made) {
		if err := p.makeOne(); err != nil {
			return nil, nil, fmt.Errorf("RSA keys: %w", err)
		}
		p.next = 0
	} else {
		p.next++
	}
	return p.made[p.next], p.made[len(p.made)-1], nil
}

// makeOne adds a prime, two at first, which is not 1 more than a multiple of the exponent.
func (p *primes) makeOne() error {
	for enough := max(2, len(p.made)+1); len(p.made) < enough; {
		prime, err := rand.Prime(rand.Reader, primeBits)
		if err != nil {
			return err
		}
		if new(big.Int).Mod(prime, big.NewInt(exponent)).Cmp(big.NewInt(1)) != 0 {
			p.made = append(p.made, prime)
		}
	}
	return nil
}
