package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("store is down")

// shelf is a store whose answers a test sets by name. What it has none for it does not know.
type shelf struct {
	mu      sync.Mutex
	answers map[string]func(store.Request) (*store.Bundle, error)
	all     func(store.Request) (*store.Bundle, error) // in place of answers
	asked   []store.Request
	delay   time.Duration
}

func (s *shelf) Fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	s.mu.Lock()
	s.asked = append(s.asked, request)
	answer, delay := s.answers[request.Name], s.delay
	if s.all != nil {
		answer = s.all
	}
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if answer == nil {
		return nil, fmt.Errorf("shelf: get %q: 404: %w", request.Name, store.ErrUnknown)
	}
	return answer(request)
}

func (s *shelf) set(name string, answer func(store.Request) (*store.Bundle, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers == nil {
		s.answers = make(map[string]func(store.Request) (*store.Bundle, error))
	}
	s.answers[name] = answer
}

func (s *shelf) setAll(answer func(store.Request) (*store.Bundle, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = answer
}

func (s *shelf) setDelay(delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = delay
}

// count is how often a name was asked for; any for "".
func (s *shelf) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, request := range s.asked {
		if name == "" || request.Name == name {
			count++
		}
	}
	return count
}

func (s *shelf) last() store.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[len(s.asked)-1]
}

func unknown(request store.Request) (*store.Bundle, error) {
	return nil, fmt.Errorf("shelf: get %q: 404: %w", request.Name, store.ErrUnknown)
}

func failing(err error) func(store.Request) (*store.Bundle, error) {
	return func(store.Request) (*store.Bundle, error) { return nil, err }
}

func gives(issued ...certtest.Issued) func(store.Request) (*store.Bundle, error) {
	return fresh(store.Freshness{}, issued...)
}

func fresh(freshness store.Freshness, issued ...certtest.Issued) func(store.Request) (*store.Bundle, error) {
	return func(store.Request) (*store.Bundle, error) {
		bundle := &store.Bundle{Store: "shelf", Freshness: freshness}
		for _, each := range issued {
			bundle.Pairs = append(bundle.Pairs, each.Pair)
		}
		return bundle, nil
	}
}

// lab is a cache in front of a shelf, its authority and its log.
type lab struct {
	*Cache
	t     *testing.T
	shelf *shelf
	ca    *certtest.CA
	log   *record
}

type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(line)
}

// lines is how many lines of the log have all of parts.
func (r *record) lines(parts ...string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := 0
next:
	for line := range strings.Lines(r.text.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		count++
	}
	return count
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// logged fails the test unless the log has so many lines with all of parts.
func (l *lab) logged(want int, parts ...string) {
	l.t.Helper()
	synctest.Wait() // a line is written after its outcome can be seen
	if got := l.log.lines(parts...); got != want {
		l.t.Fatalf("%d lines with %q, want %d, in:\n%s", got, parts, want, l.log)
	}
}

// run tests in a bubble whose clock stands still while anything runs.
func run(t *testing.T, edit func(*Options), test func(*testing.T, *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, shelf: &shelf{}, ca: certtest.NewCA(t), log: &record{}}
		options := Options{Store: l.shelf, AliasRoots: l.ca.Pool(), Log: zerolog.New(l.log)}
		if edit != nil {
			edit(&options)
		}
		l.Cache = New(options)
		defer l.Close()
		test(t, l)
	})
}

// stock has the shelf give a certificate for the first name, that has all of them.
func (l *lab) stock(names ...string) certtest.Issued {
	issued := l.ca.Issue(l.t, names...)
	l.shelf.set(names[0], gives(issued))
	return issued
}

func (l *lab) get(name string) (leaf []byte, source Source, err error) {
	got, err := l.Get(context.Background(), Query{Name: name, Client: netip.MustParseAddr("192.0.2.1")})
	if err != nil {
		return nil, got.Source, err
	}
	return got.Certificate.Certificate[0], got.Source, nil
}

// Flush, FlushPattern, FlushFingerprint and FlushAll are those of the cache, and fail the test if they fail.
func (l *lab) Flush(names ...string) (flushed, pinned []string) {
	l.t.Helper()
	return l.flushed(l.Cache.Flush(names...))
}

func (l *lab) FlushPattern(pattern sni.Pattern) (flushed, pinned []string) {
	l.t.Helper()
	return l.flushed(l.Cache.FlushPattern(pattern))
}

func (l *lab) FlushFingerprint(fingerprint [32]byte) (flushed, pinned []string) {
	l.t.Helper()
	return l.flushed(l.Cache.FlushFingerprint(fingerprint))
}

func (l *lab) FlushAll() (flushed, pinned []string) {
	l.t.Helper()
	return l.flushed(l.Cache.FlushAll())
}

func (l *lab) flushed(flushed, pinned []string, err error) ([]string, []string) {
	l.t.Helper()
	if err != nil {
		l.t.Error(err)
	}
	return flushed, pinned
}

// serves fails the test unless a certificate is served for name, from source.
func (l *lab) serves(name string, want certtest.Issued, source Source) {
	l.t.Helper()
	leaf, from, err := l.get(name)
	if err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
	if !bytes.Equal(leaf, want.Leaf.Raw) {
		got, _ := x509.ParseCertificate(leaf)
		l.t.Fatalf("%s: served the certificate of %v (serial %v), want that of %v (%v)", name, got.DNSNames, got.SerialNumber, want.Leaf.DNSNames, want.Leaf.SerialNumber)
	}
	if from != source {
		l.t.Fatalf("%s: served from %s, want %s", name, from, source)
	}
}

func (l *lab) refuses(name string, want error) {
	l.t.Helper()
	if _, _, err := l.get(name); !errors.Is(err, want) {
		l.t.Fatalf("%s: got error %v, want %v", name, err, want)
	}
}

// asked fails the test unless the store was asked for name so often; for anything with "".
func (l *lab) asked(name string, want int) {
	l.t.Helper()
	if got := l.shelf.count(name); got != want {
		l.t.Fatalf("the store was asked %d times for %q, want %d", got, name, want)
	}
}

// sleep lets time pass, and what it brings about happen.
func (l *lab) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func fingerprintOf(issued certtest.Issued) [32]byte { return sha256.Sum256(issued.Leaf.Raw) }
