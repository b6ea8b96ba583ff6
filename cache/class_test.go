package cache

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

// helloWith is that of a client that takes TLS 1.3 and these signatures.
func helloWith(schemes ...tls.SignatureScheme) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName:        "a.example",
		SupportedVersions: []uint16{tls.VersionTLS13},
		SupportedCurves:   []tls.CurveID{tls.X25519},
		SignatureSchemes:  schemes,
		CipherSuites:      []uint16{tls.TLS_AES_128_GCM_SHA256},
	}
}

var (
	modern = helloWith(tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256)
	legacy = helloWith(tls.PSSWithSHA256)
)

// rsa issues a certificate with an RSA key.
func (l *lab) rsa(name string) certtest.Issued {
	return l.ca.IssueWith(l.t, certtest.Options{Names: []string{name}, RSA: 2048})
}

// choosy has the shelf answer by what the client can use, as a store of form caddy does.
func (l *lab) choosy(name string) (ecdsa, rsa certtest.Issued) {
	ecdsa, rsa = l.ca.Issue(l.t, name), l.rsa(name)
	l.shelf.set(name, func(request store.Request) (*store.Bundle, error) {
		chosen := ecdsa
		if request.WithoutECDSA {
			chosen = rsa
		}
		return &store.Bundle{Store: "shelf", Partial: true, Pairs: []store.Pair{chosen.Pair}}, nil
	})
	return ecdsa, rsa
}

// gets fails the test unless a client gets a certificate.
func (l *lab) gets(hello *tls.ClientHelloInfo, want certtest.Issued, source Source) {
	l.t.Helper()
	got, err := l.Get(context.Background(), Query{Name: "a.example", Hello: hello})
	if err != nil {
		l.t.Fatal(err)
	}
	if !bytes.Equal(got.Certificate.Certificate[0], want.Leaf.Raw) {
		l.t.Fatal("got the certificate for the other class of clients")
	}
	if got.Source != source {
		l.t.Fatalf("got it from %s, want %s", got.Source, source)
	}
}

// Where a store chooses for the client that asks, each class of clients has its own answer, whoever comes first.
func TestClassesOfClients(t *testing.T) {
	for _, first := range []string{"modern", "legacy"} {
		t.Run(first+" first", func(t *testing.T) {
			run(t, nil, func(t *testing.T, l *lab) {
				ecdsa, rsa := l.choosy("a.example")
				if first == "modern" {
					l.gets(modern, ecdsa, Miss)
					l.gets(legacy, rsa, Miss)
				} else {
					l.gets(legacy, rsa, Miss)
					l.gets(modern, ecdsa, Miss)
				}
				l.gets(modern, ecdsa, Hit)
				l.gets(legacy, rsa, Hit)
				l.asked("a.example", 2)
				if flushed, _ := l.Flush("a.example"); len(flushed) != 1 {
					t.Fatalf("flushed %q", flushed)
				}
				l.gets(legacy, rsa, Miss)
				l.gets(modern, ecdsa, Miss)
			})
		})
	}
}

// Two clients that can use nothing in common race on a cold name.
func TestClassesRace(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		ecdsa, rsa := l.choosy("a.example")
		l.shelf.setDelay(firstRetry)
		l.options.LookupTimeout = 2 * firstRetry
		var clients sync.WaitGroup
		for range 20 {
			clients.Go(func() { l.gets(modern, ecdsa, Miss) })
			clients.Go(func() { l.gets(legacy, rsa, Miss) })
		}
		clients.Wait()
		l.asked("a.example", 2)
	})
}

// What a store that gives all it has gives to one class is for the other too.
func TestWholeAnswerIsForAllClasses(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		ecdsa, rsa := l.ca.Issue(t, "a.example"), l.rsa("a.example")
		l.shelf.set("a.example", gives(ecdsa, rsa))
		l.gets(legacy, rsa, Miss)
		l.gets(modern, ecdsa, Hit)
		l.gets(legacy, rsa, Hit)
		l.asked("a.example", 1)
	})
}

// A no to one class is none to the other.
func TestNoIsOfOneClass(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		rsa := l.rsa("a.example")
		l.shelf.set("a.example", func(request store.Request) (*store.Bundle, error) {
			if !request.WithoutECDSA {
				return unknown(request)
			}
			return &store.Bundle{Store: "shelf", Partial: true, Pairs: []store.Pair{rsa.Pair}}, nil
		})
		if _, err := l.Get(context.Background(), Query{Name: "a.example", Hello: modern}); err == nil {
			t.Fatal("served")
		}
		l.gets(legacy, rsa, Miss)
	})
}

// Each class is refreshed for itself.
func TestClassesAreRefreshed(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		ecdsa, rsa := l.choosy("a.example")
		l.gets(modern, ecdsa, Miss)
		l.gets(legacy, rsa, Miss)
		ecdsa, rsa = l.choosy("a.example")
		l.sleep(week * 12)
		l.gets(modern, ecdsa, Hit)
		l.gets(legacy, rsa, Hit)
	})
}

// A name that only clients without ECDSA ask for is cached for them, and goes before a wildcard that covers it.
func TestNameOfOneClassAlone(t *testing.T) {
	for _, wildcards := range []bool{false, true} {
		t.Run(map[bool]string{false: "alone", true: "beside a wildcard"}[wildcards], func(t *testing.T) {
			run(t, func(o *Options) { o.Wildcards = wildcards }, func(t *testing.T, l *lab) {
				_, rsa := l.choosy("a.example")
				l.gets(legacy, rsa, Miss)
				if wildcards {
					wild := l.ca.Issue(t, "b.example", "*.example")
					l.shelf.set("b.example", gives(wild))
					l.serves("b.example", wild, Miss)
					l.serves("c.example", wild, Hit)
				}
				l.gets(legacy, rsa, Hit)
				l.asked("a.example", 1)
			})
		})
	}
}

// When a store that chose for one class gives all to a refresh for it, nothing is left of the choice: not on the disk
// either, from where it would be served when the name is gone.
func TestWidenedAnswerTakesTheChoiceOffTheDisk(t *testing.T) {
	runDisk(t, func(o *Options) { o.TTL, o.MinTTL = time.Minute, time.Minute }, func(t *testing.T, l *lab, m *memory, _ func()) {
		ecdsa, rsa := l.choosy("a.example")
		l.gets(legacy, rsa, Miss)
		l.shelf.set("a.example", gives(ecdsa, rsa))
		l.sleep(2 * time.Minute)
		l.gets(legacy, rsa, Hit)
		l.gets(modern, ecdsa, Hit)
		if keys := m.keys(); !slices.Equal(keys, []string{"a.example"}) {
			t.Errorf("on disk: %q", keys)
		}
		l.shelf.set("a.example", unknown)
		l.sleep(30 * time.Minute)
		for _, hello := range []*tls.ClientHelloInfo{modern, legacy} {
			if _, err := l.Get(t.Context(), Query{Name: "a.example", Hello: hello}); !errors.Is(err, store.ErrUnknown) {
				t.Errorf("a name that was dropped: %v", err)
			}
		}
	})
}

// An answer for all classes that a change overtook is not kept, and takes nothing away.
func TestWidenedAnswerThatAChangeOvertook(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		ecdsa, rsa := l.choosy("a.example")
		l.gets(legacy, rsa, Miss)
		l.shelf.set("a.example", gives(ecdsa, rsa))
		l.shelf.setDelay(time.Second)
		tell(names(t, "a.example"))
		l.sleep(time.Second / 2)
		l.asked("a.example", 2)
		l.shelf.setDelay(0)
		l.shelf.setAll(failing(errDown)) // what is asked for from now on
		tell(names(t, "a.example"))
		l.sleep(time.Minute)
		l.gets(legacy, rsa, Stale)
	})
}
