package cache

import (
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache/disk"
	"hellogate/store"
	"hellogate/store/certtest"
)

// runRules tests with a disk that outlives caches of different rules for aliases: open ends the one there is, if any, and
// begins another.
func runRules(t *testing.T, test func(l *lab, open func(AliasPolicy, *x509.CertPool))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{records: map[string]disk.Record{}}
		l := &lab{t: t, shelf: &shelf{}, ca: certtest.NewCA(t), log: &record{}}
		defer func() { l.Close() }()
		test(l, func(policy AliasPolicy, roots *x509.CertPool) {
			if l.Cache != nil {
				l.Close()
			}
			l.Cache = New(Options{
				Store: l.shelf, Disk: m, Aliases: policy, AliasRoots: roots,
				TTL: time.Minute, MinTTL: time.Minute, Log: zerolog.Nop(),
			})
		})
	})
}

// What all certificates were trusted with is no trust where they must be verified: not from the disk, and not when the
// store has said since that nothing changed.
func TestTrustIsOfTheRulesNow(t *testing.T) {
	runRules(t, func(l *lab, open func(AliasPolicy, *x509.CertPool)) {
		stranger := certtest.NewCA(l.t).Issue(l.t, "a.example", "victim.example")
		l.shelf.set("a.example", func(request store.Request) (*store.Bundle, error) {
			bundle := &store.Bundle{Store: "shelf", Validator: store.Validator{ETag: `"1"`}}
			if bundle.NotModified = !request.Validator.IsZero(); !bundle.NotModified {
				bundle.Pairs = []store.Pair{stranger.Pair}
			}
			return bundle, nil
		})
		l.shelf.set("victim.example", failing(errDown))
		open(AliasesAll, l.ca.Pool())
		l.serves("a.example", stranger, Miss)
		l.serves("victim.example", stranger, Hit)
		l.sleep(time.Second)
		for range 2 {
			open(AliasesVerified, l.ca.Pool())
			l.serves("a.example", stranger, Hit)
			l.refuses("victim.example", errDown)
			asked := l.shelf.count("a.example")
			l.sleep(2 * time.Minute)
			if l.shelf.count("a.example") == asked {
				l.t.Fatal("not asked for again")
			}
			l.refuses("victim.example", errDown)
		}
	})
}

// A certificate that no longer verifies makes no aliases, though it did when it was fetched.
func TestTrustIsOfTheRootsNow(t *testing.T) {
	runRules(t, func(l *lab, open func(AliasPolicy, *x509.CertPool)) {
		issued := l.ca.Issue(l.t, "a.example", "alias.example", "other.example")
		l.shelf.set("a.example", gives(issued))
		open(AliasesVerified, l.ca.Pool())
		l.serves("a.example", issued, Miss)
		l.shelf.setAll(failing(errDown))
		open(AliasesVerified, l.ca.Pool())
		l.serves("alias.example", issued, Hit)
		open(AliasesVerified, certtest.NewCA(l.t).Pool())
		l.refuses("other.example", errDown)
		l.serves("a.example", issued, Hit)
	})
}
