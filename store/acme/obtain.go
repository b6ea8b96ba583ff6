package acme

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"hellogate/store"
)

// obtain goes to the authority whose turn it is, and to the next if that can't be reached.
func (t *try) obtain(due []string) error {
	var failed error
	var soonest time.Time
	all := t.store.authorities
	for i := range all {
		authority := all[(t.job.Errors/failover+i)%len(all)]
		if until, why := authority.down.at(time.Now()); why != nil && !t.run.eager {
			t.step("paused", fmt.Sprintf("%s until %s: %v", authority.url, until.UTC().Format(time.RFC3339), why))
			if soonest.IsZero() || until.Before(soonest) {
				soonest = until
			}
			if failed == nil {
				failed = &limited{fmt.Sprintf("%s is left alone for now: %v", authority.url, why), time.Time{}}
			}
			continue
		}
		client, heard := authority.client()
		err := t.obtainFrom(client, heard, authority, due)
		if t.ctx.Err() != nil {
			return err
		}
		authority.judge(t.name(), err, heard)
		if err == nil || !heard.trouble() {
			return wait(err, heard.wants())
		}
		failed = wait(err, heard.wants())
		t.step("unreachable", err.Error())
	}
	var paused *limited
	if errors.As(failed, &paused) {
		paused.until = soonest.Add(rand.N(firstDelay))
	}
	return failed
}

// waiting is an error of an authority that said when it wants to be asked again.
type waiting struct {
	error
	until time.Time
}

func (w *waiting) Unwrap() error { return w.error }

func wait(err error, until time.Time) error {
	if err == nil || until.IsZero() {
		return err
	}
	return &waiting{err, until}
}

// obtainFrom gets what is due from an authority, one certificate after another. Each is in effect once it is saved.
func (t *try) obtainFrom(client *acme.Client, heard *recorder, authority *authority, due []string) error {
	t.step("authority", authority.url)
	for _, kind := range due {
		if t.has(kind) {
			continue // from an authority that failed afterwards
		}
		if err := t.obtainOne(t.ctx, authority, &order{try: t, name: t.name(), client: client, heard: heard, failed: map[string]bool{}}, kind); err != nil {
			return err
		}
	}
	return nil
}

// has says whether this try brought a certificate of a key type.
func (t *try) has(kind string) bool {
	there := t.job.of(kind)
	return there != nil && slices.ContainsFunc(t.got, func(leaf store.Leaf) bool {
		return hex.EncodeToString(leaf.Fingerprint[:]) == there.Fingerprint
	})
}

func (t *try) obtainOne(ctx context.Context, authority *authority, o *order, kind string) (err error) {
	for again := true; ; again = false {
		if o.account, err = authority.signIn(ctx, o.client); err != nil {
			return err
		}
		t.step("account", o.account.Location)
		made, err := o.run(ctx, kind, t.store.options.Profile, t.replaced(kind, authority))
		if isAccountGone(err) && again {
			t.step("account", "the authority does not know it any more: made anew")
			if err := authority.signOut(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		return t.keep(authority, kind, made)
	}
}

// replaced is the certificate that an order replaces (RFC 9773 section 5), which the same authority has issued.
func (t *try) replaced(kind string, authority *authority) *x509.Certificate {
	if there := t.job.of(kind); there != nil && there.CA == authority.url {
		return t.leaves[kind]
	}
	return nil
}

// keep saves a pair: one file, as a whole, so that a key is never without its certificate.
func (t *try) keep(authority *authority, kind string, made *obtained) error {
	if err := t.store.options.Storage.Save(t.ctx, pemKey(t.name(), kind), encodePair(made.checked.Pair)); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	leaf, err := x509.ParseCertificate(made.checked.Pair.Chain[0])
	if err != nil {
		return err
	}
	record := newIssued(kind, leaf)
	record.CA = authority.url
	if made.ari != nil {
		record.take(*made.ari, time.Now())
	}
	t.leaves[kind] = leaf
	t.got = append(t.got, made.checked.Leaf)
	t.change(func(state *job) { state.set(record) })
	t.step("saved", pemKey(t.name(), kind))
	return nil
}

// encodePair is the leaf, the certificates above it, and the key.
func encodePair(pair store.Pair) []byte {
	var text strings.Builder
	for _, der := range pair.Chain {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	text.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pair.Key}))
	return []byte(text.String())
}
