package challenge

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

var (
	_ acmez.Solver = solver{}
	_ acmez.Solver = (*DNS)(nil)
	_ acmez.Waiter = (*DNS)(nil)
)

// TestTLSALPN01: whichever process shares the storage answers, as RFC 8737 says, from Present to CleanUp and no longer.
func TestTLSALPN01(t *testing.T) {
	storage := newMemory()
	presents, other := pendingIn(storage), pendingIn(storage)
	ctx := t.Context()
	challenge := asks(alpn, "a.example", "token")
	for _, each := range []*Pending{presents, other} {
		if _, err := each.Certificate(ctx, "a.example"); !errors.Is(err, ErrNone) {
			t.Errorf("before: %v", err)
		}
	}
	must(t, presents.TLSALPN01().Present(ctx, challenge))
	if got := storage.keys(); !slices.Equal(got, []string{"challenges/tls-alpn-01/a.example"}) {
		t.Errorf("stored %q", got)
	}
	for _, each := range []*Pending{presents, other} {
		certificate, err := each.Certificate(ctx, "a.example")
		must(t, err)
		wantAnswer(t, certificate, challenge)
		again, err := each.Certificate(ctx, "a.example")
		if err != nil || again != certificate {
			t.Errorf("made anew: %v", err)
		}
		if _, err := each.Certificate(ctx, "b.example"); !errors.Is(err, ErrNone) {
			t.Errorf("another name: %v", err)
		}
	}
	challenge.Type = "" // as what the authority says last may have it
	must(t, presents.TLSALPN01().CleanUp(ctx, challenge))
	for _, each := range []*Pending{presents, other} {
		if _, err := each.Certificate(ctx, "a.example"); !errors.Is(err, ErrNone) {
			t.Errorf("after: %v", err)
		}
	}
	if got := storage.keys(); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

// wantAnswer checks what an authority would, in a handshake.
func wantAnswer(t *testing.T, certificate *tls.Certificate, challenge acme.Challenge) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: []string{acmez.ACMETLS1Protocol}})
	served := make(chan error, 1)
	go func() { served <- server.Handshake() }()
	client := tls.Client(here, &tls.Config{ServerName: challenge.Identifier.Value, InsecureSkipVerify: true, NextProtos: []string{acmez.ACMETLS1Protocol}})
	must(t, client.Handshake())
	must(t, <-served)
	leaf := client.ConnectionState().PeerCertificates[0]
	if !slices.Equal(leaf.DNSNames, []string{challenge.Identifier.Value}) || len(leaf.IPAddresses) > 0 {
		t.Errorf("names %q", leaf.DNSNames)
	}
	sum := sha256.Sum256([]byte(challenge.KeyAuthorization))
	want, err := asn1.Marshal(sum[:])
	must(t, err)
	for _, extension := range leaf.Extensions {
		if extension.Id.String() == "1.3.6.1.5.5.7.1.31" {
			if !extension.Critical || !slices.Equal(extension.Value, want) {
				t.Errorf("extension %+v", extension)
			}
			return
		}
	}
	t.Error("no acmeIdentifier extension")
}

// TestPresentAnew: the last challenge of a name counts, here and elsewhere, and the clean-up of the one before leaves it.
func TestPresentAnew(t *testing.T) {
	storage := newMemory()
	presents, other := pendingIn(storage), pendingIn(storage)
	first, second := asks(alpn, "a.example", "first"), asks(alpn, "a.example", "second")
	for _, challenge := range []acme.Challenge{first, second} {
		must(t, presents.TLSALPN01().Present(t.Context(), challenge))
		for _, each := range []*Pending{presents, other} {
			certificate, err := each.Certificate(t.Context(), "a.example")
			must(t, err)
			wantAnswer(t, certificate, challenge)
		}
	}
	must(t, presents.TLSALPN01().CleanUp(t.Context(), first))
	if len(presents.own) != 1 {
		t.Errorf("%d of its own", len(presents.own))
	}
	for _, each := range []*Pending{presents, other} {
		certificate, err := each.Certificate(t.Context(), "a.example")
		must(t, err)
		wantAnswer(t, certificate, second)
	}
}

// TestCleanUpWhenCalledOff: the challenge goes all the same.
func TestCleanUpWhenCalledOff(t *testing.T) {
	storage := newMemory()
	p := pendingIn(storage)
	must(t, p.HTTP01().Present(t.Context(), asks(http01, "a.example", "token")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, p.HTTP01().CleanUp(ctx, asks(http01, "a.example", "token")))
	if got := storage.keys(); len(got) > 0 {
		t.Errorf("left %q", got)
	}
	must(t, p.HTTP01().CleanUp(ctx, asks(http01, "a.example", "token")))
}

// TestPresentRefuses what is no challenge: it would become a name in the storage. A storage that fails is told.
func TestPresentRefuses(t *testing.T) {
	storage := newMemory()
	p := pendingIn(storage)
	odd := map[string]func(c *acme.Challenge){
		"no token":                func(c *acme.Challenge) { c.Token, c.KeyAuthorization = "", "." },
		"a token with a path":     func(c *acme.Challenge) { c.Token, c.KeyAuthorization = "../x", "../x.y" },
		"a token that is long":    func(c *acme.Challenge) { c.Token = strings.Repeat("a", 129); c.KeyAuthorization = c.Token + ".y" },
		"another's authorization": func(c *acme.Challenge) { c.KeyAuthorization = "other.y" },
		"another identifier":      func(c *acme.Challenge) { c.Identifier = acme.Identifier{Type: "ip", Value: "a.example"} },
		"a name with a path":      func(c *acme.Challenge) { c.Identifier.Value = "../../etc" },
		"another type":            func(c *acme.Challenge) { c.Type = "dns-01" },
	}
	for name, change := range odd {
		for _, each := range []acmez.Solver{p.TLSALPN01(), p.HTTP01()} {
			challenge := asks(each.(solver).kind, "a.example", "token")
			change(&challenge)
			if err := each.Present(t.Context(), challenge); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
	full := errors.New("no space left on device")
	storage.failWith(full)
	if err := p.TLSALPN01().Present(t.Context(), asks(alpn, "a.example", "token")); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	storage.failWith(nil)
	if _, err := p.Certificate(t.Context(), "a.example"); !errors.Is(err, ErrNone) {
		t.Errorf("what could not be stored is answered: %v", err)
	}
}

// TestStoredIsChecked: what others wrote is not taken for what it is not.
func TestStoredIsChecked(t *testing.T) {
	good := entry{Type: alpn, Name: "a.example", Token: "token", KeyAuthorization: "token.x", At: time.Now()}
	odd := map[string]func(e *entry){
		"another name":        func(e *entry) { e.Name = "b.example" },
		"another type":        func(e *entry) { e.Type = http01 },
		"no token":            func(e *entry) { e.Token = "" },
		"another token":       func(e *entry) { e.KeyAuthorization = "other.x" },
		"a name that is none": func(e *entry) { e.Name = "A.EXAMPLE" },
	}
	for name, change := range odd {
		storage := newMemory()
		changed := good
		change(&changed)
		text, err := json.Marshal(changed)
		must(t, err)
		storage.set(good.key(), string(text))
		if _, err := pendingIn(storage).Certificate(t.Context(), "a.example"); err == nil || errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFlood: hellos for names without a challenge cost a bounded rate of looks, and keep no memory; who has a challenge is
// answered all the same, also one that another process presented during the flood.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newMemory()
		p, other := pendingIn(storage), pendingIn(storage)
		stop := make(chan struct{})
		var flood sync.WaitGroup
		for i := range 50 {
			flood.Go(func() {
				for j := 0; ; j++ {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := p.Certificate(t.Context(), fmt.Sprintf("n%d-%d.example", i, j)); !errors.Is(err, ErrNone) {
						t.Errorf("%v", err)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(10 * time.Second)
		loads, lists := storage.asked()
		if loads > 10*perSecond+burst || lists > 41 || lists < 2 {
			t.Errorf("%d loads and %d lists in 10 s", loads, lists)
		}
		for i := range 20 {
			name := fmt.Sprintf("real%d.example", i)
			must(t, other.TLSALPN01().Present(t.Context(), asks(alpn, name, fmt.Sprint("token", i))))
			began := time.Now()
			_, err := p.Certificate(t.Context(), name)
			if err != nil || time.Since(began) > 2*relist {
				t.Errorf("%s after %s: %v", name, time.Since(began), err)
			}
		}
		close(stop)
		flood.Wait()
		if len(p.held) > 20 || len(p.own) > 0 || len(p.looks.lists) > 1 {
			t.Errorf("kept: %d, %d, %d", len(p.held), len(p.own), len(p.looks.lists))
		}
	})
}

// TestFloodOfOneName with a challenge makes one certificate, and is bounded too.
func TestFloodOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newMemory()
		p, other := pendingIn(storage), pendingIn(storage)
		must(t, other.TLSALPN01().Present(t.Context(), asks(alpn, "a.example", "token")))
		first, err := p.Certificate(t.Context(), "a.example")
		must(t, err)
		for range 500 {
			got, err := p.Certificate(t.Context(), "a.example")
			if err != nil || got != first {
				t.Fatalf("%v", err)
			}
		}
	})
}

// TestFloodAndABrokenStorage: nobody waits for longer than one look, and one whose context is done leaves.
func TestFloodAndABrokenStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newMemory()
		p := pendingIn(storage)
		broken := errors.New("input/output error")
		storage.failWith(broken)
		p.looks.tokens = 0
		p.looks.filled = time.Now().Add(time.Hour)
		var group sync.WaitGroup
		began := time.Now()
		for i := range 20 {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
				defer cancel()
				if i%2 == 0 {
					ctx = t.Context()
				}
				_, err := p.Certificate(ctx, "a.example")
				if !errors.Is(err, broken) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
			})
		}
		group.Wait()
		if took := time.Since(began); took > 2*relist {
			t.Errorf("took %s", took)
		}
	})
}

// TestFloodAndOneThatLeaves: one who was to read the list and leaves before spoils it for nobody.
func TestFloodAndOneThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newMemory()
		p := pendingIn(storage)
		p.looks.tokens = 0
		p.looks.filled = time.Now().Add(time.Hour)
		if _, err := p.Certificate(t.Context(), "a.example"); !errors.Is(err, ErrNone) {
			t.Fatal(err)
		}
		must(t, pendingIn(storage).TLSALPN01().Present(t.Context(), asks(alpn, "a.example", "token")))
		var group sync.WaitGroup
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if _, err := p.Certificate(ctx, "b.example"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who left: %v", err)
			}
		})
		synctest.Wait()
		if _, err := p.Certificate(t.Context(), "a.example"); err != nil {
			t.Errorf("who stayed: %v", err)
		}
		group.Wait()
	})
}

func TestSweep(t *testing.T) {
	storage := newMemory()
	p := pendingIn(storage)
	must(t, p.TLSALPN01().Present(t.Context(), asks(alpn, "new.example", "new")))
	old := entry{Type: http01, Name: "old.example", Token: "old", KeyAuthorization: "old.x", At: time.Now().Add(-25 * time.Hour)}
	must(t, save(t.Context(), storage, old))
	storage.set("challenges/http-01/broken", "{")
	storage.set("challenges/other/kept", "{")
	must(t, p.Sweep(t.Context(), 24*time.Hour))
	if got := storage.keys(); !slices.Equal(got, []string{"challenges/other/kept", "challenges/tls-alpn-01/new.example"}) {
		t.Errorf("left %q", got)
	}
	must(t, p.Sweep(t.Context(), 0))
	if got := storage.keys(); !slices.Equal(got, []string{"challenges/other/kept"}) {
		t.Errorf("left %q", got)
	}
}

// unreadable is a storage that lists what it can't load.
type unreadable struct{ *memory }

var errIO = errors.New("input/output error")

func (unreadable) Load(context.Context, string) ([]byte, error) { return nil, errIO }

// TestSweepOfWhatCanNotBeRead leaves it: it may be somebody's.
func TestSweepOfWhatCanNotBeRead(t *testing.T) {
	storage := newMemory()
	storage.set("challenges/http-01/kept", "?")
	if err := pendingIn(unreadable{storage}).Sweep(t.Context(), 0); !errors.Is(err, errIO) {
		t.Errorf("%v", err)
	}
	if got := storage.keys(); len(got) != 1 {
		t.Errorf("left %q", got)
	}
}

func FuzzDecode(fuzz *testing.F) {
	for _, text := range []string{
		`{"type":"http-01","name":"a.example","token":"t","key_authorization":"t.x"}`,
		`{"type":"tls-alpn-01","name":"a.example","token":"t","key_authorization":"t.x"}`, "null", "{", `{"type":1}`,
	} {
		fuzz.Add("challenges/http-01/t", []byte(text))
		fuzz.Add("challenges/tls-alpn-01/a.example", []byte(text))
	}
	fuzz.Fuzz(func(t *testing.T, key string, content []byte) {
		e, err := decode(key, content)
		if err != nil {
			return
		}
		if e.key() != key || !isToken(e.Token) || !strings.HasPrefix(e.KeyAuthorization, e.Token+".") {
			t.Errorf("%+v from %q", e, key)
		}
	})
}
