package cache

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unique"

	"hellogate/store"
)

// answer is what a store said, looked at before any lock is taken.
type answer struct {
	bundle  *store.Bundle // nil with err, unless err is about it
	err     error
	now     moment
	took    time.Duration // that the store needed
	pairs   [2]*pair      // those accepted, as in held
	signers [2]crypto.Signer
	trusted [2]bool         // those that may make aliases
	barred  map[string]bool // names that no alias is made of, as the disk has it
	refused []error         // why others were not
	remarks []string        // what is odd about the accepted ones
}

var errNothingHeld = errors.New("not modified, but nothing was held")

// judge checks what the store answered to a request.
func (c *Cache) judge(request store.Request, bundle *store.Bundle, err error) answer {
	got := answer{bundle: bundle, err: err, now: c.clock.now()}
	switch {
	case err != nil:
		got.bundle = nil
	case bundle.NotModified && request.Validator.IsZero():
		got.err = fmt.Errorf("store %s: %w", bundle.Store, errNothingHeld)
	case !bundle.NotModified:
		c.check(&got, request.Name)
		if got.trusted != [2]bool{} {
			got.barred = c.barred(request.Name, false, got.pairs[:]...)
		}
	}
	return got
}

// check accepts at most one pair for clients that can use ECDSA or Ed25519 and one for those that can only use RSA: of
// several, the one that is valid for longest.
func (c *Cache) check(got *answer, name string) {
	for _, offered := range got.bundle.Pairs {
		if err := c.accept(got, offered, name); err != nil {
			got.refused = append(got.refused, fmt.Errorf("store %s: %w", got.bundle.Store, err))
		}
	}
	if got.pairs[0] == nil {
		got.pairs[0], got.pairs[1] = got.pairs[1], nil
		got.signers[0], got.trusted[0] = got.signers[1], got.trusted[1]
	}
	if got.pairs[0] != nil {
		return
	}
	if got.refused == nil {
		got.refused = []error{fmt.Errorf("store %s: an answer for %q without a certificate", got.bundle.Store, name)}
	}
	got.err = got.refused[0]
	if more := len(got.refused) - 1; more > 0 {
		got.err = fmt.Errorf("%w (and %d more refused)", got.err, more)
	}
}

func (c *Cache) accept(got *answer, offered store.Pair, name string) error {
	checked, err := store.Check(offered, name, time.Unix(0, got.now.wall))
	if err != nil {
		return err
	}
	accepted, err := newPair(checked)
	if err != nil {
		return err
	}
	at := 0
	if accepted.key == keyRSA {
		at = 1
	}
	if better := got.pairs[at]; better != nil && better.notAfter >= accepted.notAfter {
		return nil
	}
	got.pairs[at], got.signers[at] = accepted, c.options.Signer(checked.Signer)
	got.trusted[at] = !accepted.isFor(name) && c.mayAlias(checked.Pair.Chain) == nil
	got.remarks = append(got.remarks, accepted.odd.remarks()...)
	return nil
}

// held is what the answer gives those who wait for it, cached or not. It is nil when there is none.
func (a answer) held() *held {
	if a.pairs[0] == nil {
		return nil
	}
	fresh := &held{
		pairs:    a.pairs,
		notAfter: firstToExpire(a.pairs).notAfter,
		fetched:  a.now.mono,
		stale:    a.now.mono,
		store:    unique.Make(a.bundle.Store),
		took:     microseconds(a.took),
	}
	if a.bundle.Partial {
		fresh.kind |= kindPartial
	}
	if a.trusted[0] {
		fresh.kind |= kindTrusted
	}
	if a.trusted[1] {
		fresh.kind |= kindTrustedSecond
	}
	if validator := a.bundle.Validator; !validator.IsZero() {
		fresh.validator = &store.Validator{
			ETag:         strings.Clone(validator.ETag),
			LastModified: strings.Clone(validator.LastModified),
		}
	}
	return fresh
}

// certificates returns what the answer brought for pairs, which are its own or identical to its own.
func (a answer) certificates(pairs [2]*pair) (made [2]*tls.Certificate) {
	for i, p := range pairs {
		if p != nil {
			made[i] = p.certificate(a.signers[i])
		}
	}
	return made
}

// unkept is the outcome for those who wait for an answer that is not cached.
func (a answer) unkept() outcome {
	fresh := a.held()
	if fresh == nil {
		return outcome{err: a.err}
	}
	return outcome{ready: newReady(nil, fresh, a.certificates(fresh.pairs))}
}

// microseconds is how a duration is kept: up to half an hour.
func microseconds(d time.Duration) int32 { return int32(min(d.Microseconds(), math.MaxInt32)) }

func firstToExpire(pairs [2]*pair) *pair {
	if pairs[1] != nil && pairs[1].notAfter < pairs[0].notAfter {
		return pairs[1]
	}
	return pairs[0]
}

// verify says why a chain does not verify to the roots that aliases need.
func (c *Cache) verify(der [][]byte) error {
	leaf, err := x509.ParseCertificate(der[0])
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{Intermediates: x509.NewCertPool()}
	for _, above := range der[1:] {
		if certificate, err := x509.ParseCertificate(above); err == nil {
			options.Intermediates.AddCert(certificate)
		}
	}
	if options.Roots = c.options.AliasRoots; options.Roots != nil {
		if _, err := leaf.Verify(options); err == nil {
			return nil
		}
		options.Roots = nil
	}
	_, err = leaf.Verify(options)
	return err
}
