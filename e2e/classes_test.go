package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// kind is a client that can use certificates of some keys alone, as openssl plays it.
type kind struct {
	name      string
	arguments []string
}

var (
	modern = kind{"modern", []string{"-tls1_3"}}
	// These two have no signature scheme in common.
	onlyECDSA = kind{"ECDSA only", []string{"-tls1_3", "-sigalgs", "ECDSA+SHA256"}}
	onlyRSA   = kind{"RSA only", []string{"-tls1_3", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"}}
	// This one offers schemes for ECDSA, but its only cipher suite is one for RSA.
	oldRSA = kind{"RSA by cipher suite", []string{"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"}}
)

// leaf is the certificate that such a client gets, nil with none.
func (k kind) leaf(g *gate, openssl, name string) *x509.Certificate {
	arguments := []string{"s_client", "-connect", g.address, "-servername", name, "-CAfile", ca().rootFile(g.t), "-verify_return_error"}
	got := execute(g.t, "", openssl, append(arguments, k.arguments...)...)
	block, _ := pem.Decode([]byte(got.stdout[max(0, strings.Index(got.stdout, "-----BEGIN")):]))
	if got.code != 0 || block == nil {
		g.t.Logf("%s: exit %d\n%s", k.name, got.code, got.stderr)
		return nil
	}
	return must(x509.ParseCertificate(block.Bytes))
}

// gets tells whether such a client gets the certificate of want.
func (k kind) gets(g *gate, openssl, name string, want pair) bool {
	leaf := k.leaf(g, openssl, name)
	return leaf != nil && leaf.Equal(want.leaf())
}

// choosing answers with the first of the pairs that a client can use by the signature schemes that the store is told.
type choosing struct {
	ecdsa, rsa pair
	wait       time.Duration
}

func (c *choosing) serve(w http.ResponseWriter, r *http.Request) {
	chosen := c.rsa
	if slices.Contains(strings.Split(r.URL.Query().Get("signature_schemes"), ","), "403") && !withoutECDSASuite(r) {
		chosen = c.ecdsa
	}
	time.Sleep(c.wait)
	w.Header().Set("Content-Type", "application/x-pem-file")
	fmt.Fprint(w, chosen.certPEM(), chosen.keyPEM())
}

// withoutECDSASuite tells whether the cipher suites are those of TLS 1.2 and for RSA alone.
func withoutECDSASuite(r *http.Request) bool {
	suites := strings.Split(r.URL.Query().Get("cipher_suites"), ",")
	return !slices.ContainsFunc(suites, func(suite string) bool { return strings.HasPrefix(suite, "13") || suite == "c02b" })
}

// newChoosing has the store choose for a name, as Caddy's does.
func newChoosing(s *fakeStore, name string) *choosing {
	c := &choosing{ecdsa: ca().issue([]string{name}), rsa: ca().issueRSA(name)}
	s.on(name, c.serve)
	return c
}

func usesCaddy(s *fakeStore) string {
	return fmt.Sprintf("stores: [{http: {url: %q, form: caddy}}]", s.url())
}

// Clients without a signature scheme in common that ask for a cold name at once each get a certificate that they can use:
// none gets what was fetched for another. It is one fetch for each class, and so it is after a refresh and from the disk.
func TestClassesOfClients(t *testing.T) {
	t.Parallel()
	openssl := program(t, "openssl")
	store := newStore(t)
	choice := newChoosing(store, "a.example")
	choice.wait = 700 * time.Millisecond
	g := start(t, usesCaddy(store), usesBackend(newBackend(t, echo).address), keepsOnDisk(t))
	wantEach := func(g *gate, when string) {
		var clients sync.WaitGroup
		for range 2 {
			for client, want := range map[*kind]pair{&onlyRSA: choice.rsa, &onlyECDSA: choice.ecdsa, &oldRSA: choice.rsa, &modern: choice.ecdsa} {
				clients.Go(func() {
					if !client.gets(g, openssl, "a.example", want) {
						t.Errorf("%s: the client that is %s did not get its own certificate", when, client.name)
					}
				})
			}
		}
		clients.Wait()
	}
	wantEach(g, "cold")
	store.wantRequests(t, "a.example", 2)
	wantEach(g, "cached")
	store.wantRequests(t, "a.example", 2)
	store.stop()
	next := g.again()
	wantEach(next, "from the disk")
	if got := next.flush("a.example").Flushed; !slices.Equal(got, []string{"a.example"}) {
		t.Errorf("flushed %q", got)
	}
	next.refused("a.example", alertInternalError)
	if leaf := onlyRSA.leaf(next, openssl, "a.example"); leaf != nil {
		t.Error("the flush left the certificate for clients that can't use ECDSA")
	}
}

// Each class is refreshed with what the store has for it.
func TestClassesAreRefreshed(t *testing.T) {
	t.Parallel()
	openssl := program(t, "openssl")
	for _, form := range []string{"path", "caddy"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			g := start(t, fmt.Sprintf("stores: [{http: {url: %q, form: %s}}]", store.url(), form),
				usesBackend(newBackend(t, echo).address), "cache: {ttl: 1s, min_ttl: 1s}")
			for range 2 {
				ecdsa, rsa := ca().issue([]string{"a.example"}), ca().issueRSA("a.example")
				if form == "path" {
					store.on("a.example", bundle(rsa, ecdsa))
				} else {
					store.on("a.example", (&choosing{ecdsa: ecdsa, rsa: rsa}).serve)
				}
				g.eventually("the modern client gets the new ECDSA certificate", func() bool { return modern.gets(g, openssl, "a.example", ecdsa) })
				g.eventually("the old client gets the new RSA certificate", func() bool { return onlyRSA.gets(g, openssl, "a.example", rsa) })
			}
		})
	}
}

// A store that answers with both pairs is asked once, whoever comes first, and both classes are served from the disk.
func TestTwoPairsInOneAnswer(t *testing.T) {
	t.Parallel()
	openssl := program(t, "openssl")
	store := newStore(t)
	ecdsa, rsa := ca().issue([]string{"a.example"}), ca().issueRSA("a.example")
	store.on("a.example", after(300*time.Millisecond, bundle(rsa, ecdsa)))
	g := start(t, usesStore(store), usesBackend(newBackend(t, echo).address), keepsOnDisk(t))
	wantEach := func(g *gate) {
		for client, want := range map[*kind]pair{&onlyRSA: rsa, &oldRSA: rsa, &onlyECDSA: ecdsa, &modern: ecdsa} {
			if !client.gets(g, openssl, "a.example", want) {
				t.Errorf("the client that is %s did not get its own certificate", client.name)
			}
		}
	}
	wantEach(g)
	store.wantRequests(t, "a.example", 1)
	store.stop()
	wantEach(g.again())
}

// The class of the client that comes first decides nothing for those after it, nor does a no for it.
func TestClassesOneAfterTheOther(t *testing.T) {
	t.Parallel()
	openssl := program(t, "openssl")
	store := newStore(t)
	choice := newChoosing(store, "a.example")
	g := start(t, usesCaddy(store), usesBackend(newBackend(t, echo).address))
	if !onlyRSA.gets(g, openssl, "a.example", choice.rsa) {
		t.Error("the client that can only use RSA did not get it")
	}
	if !g.gets("a.example", choice.ecdsa) {
		t.Error("a modern client got what was fetched for one that can only use RSA")
	}
	store.on("b.example", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.RawQuery, "403") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		store.serveIssued(w, r)
	})
	if leaf := onlyRSA.leaf(g, openssl, "b.example"); leaf != nil {
		t.Error("a client that can only use RSA got a certificate for b.example")
	}
	g.visit("b.example", maxVersion(tls.VersionTLS13))
}
