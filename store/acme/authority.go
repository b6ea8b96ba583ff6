package acme

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"github.com/rs/zerolog"
)

const (
	requestTime = 30 * time.Second
	dialTime    = 5 * time.Second
	answerTime  = 15 * time.Second
	// idleTime is how long a connection to an authority is kept for the next request.
	idleTime = 30 * time.Second

	// longestPause is after when an authority that could not be reached is tried again at the latest: with one request.
	longestPause = 10 * time.Minute
	// rateLimits in a row, of different names, are those of the account.
	rateLimits = 3
)

// authority is a CA, by the URL of its directory.
type authority struct {
	store *Store
	url   string
	key   string // of its account in the storage
	base  http.RoundTripper
	down  pause

	registering chan struct{} // holds a token while somebody works at the account

	mu      sync.Mutex
	account *acme.Account
	limited map[string]bool // names whose orders were rate-limited since one was not
}

func newAuthority(s *Store, directory string) *authority {
	base := s.options.transport
	if base == nil {
		base = &http.Transport{
			TLSClientConfig:       &tls.Config{RootCAs: s.options.Roots, MinVersion: tls.VersionTLS12},
			DialContext:           (&net.Dialer{Timeout: dialTime}).DialContext,
			TLSHandshakeTimeout:   dialTime,
			ResponseHeaderTimeout: answerTime,
			IdleConnTimeout:       idleTime,
			MaxIdleConnsPerHost:   s.options.Limits.AtOnce,
			ForceAttemptHTTP2:     true,
		}
	}
	return &authority{
		store: s, url: directory, key: accountKey(directory), base: base,
		registering: make(chan struct{}, 1),
		limited:     make(map[string]bool),
	}
}

// accountKey is HOST-HASH: readable, and different for each directory.
func accountKey(directory string) string {
	sum := sha256.Sum256([]byte(directory))
	host := "authority"
	if parsed, err := url.Parse(directory); err == nil && parsed.Hostname() != "" {
		host = strings.Map(func(r rune) rune {
			if r == ':' || r == '%' {
				return '-'
			}
			return r
		}, strings.ToLower(parsed.Hostname()))
	}
	return strings.TrimLeft(host, ".") + "-" + hex.EncodeToString(sum[:4])
}

// authorityOf is the one with a directory; nil: none.
func (s *Store) authorityOf(directory string) *authority {
	for _, each := range s.authorities {
		if each.url == directory {
			return each
		}
	}
	return nil
}

func (a *authority) close() {
	if closer, ok := a.base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// client is a client for one try, with what it hears. It knows nothing from before: acmez keeps a directory for ever that
// lacks what is needed.
func (a *authority) client() (*acme.Client, *recorder) {
	heard := &recorder{}
	asks := &http.Client{
		Transport:     transport{a.base, heard},
		Timeout:       requestTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client := &acme.Client{Directory: a.url, HTTPClient: asks, UserAgent: "hellogate/" + a.store.options.Version}
	// It warns of each request that it repeats; what comes of them all is an error of the try.
	if log := a.store.options.Log; log.GetLevel() <= zerolog.DebugLevel {
		client.Logger = slog.New(zerolog.NewSlogHandler(log.With().Str("store", a.store.options.Name).Logger()))
	}
	return client, heard
}

// judge takes in how a try with the authority has ended.
func (a *authority) judge(name string, err error, heard *recorder) {
	now := time.Now()
	switch {
	case err == nil:
		a.down.clear()
		a.noteLimited("")
	case heard.trouble():
		a.down.fail(now, err, heard.wants())
	case isProblem(err, acme.ProblemTypeRateLimited):
		if a.noteLimited(name) >= rateLimits {
			a.down.fail(now, err, heard.wants())
		}
	}
}

// noteLimited counts the names that were rate-limited; "" forgets them.
func (a *authority) noteLimited(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name == "" || len(a.limited) >= 2*rateLimits {
		clear(a.limited)
	}
	if name != "" {
		a.limited[name] = true
	}
	return len(a.limited)
}

// pause is a time in which something is not tried, since it failed.
type pause struct {
	mu     sync.Mutex
	errors int
	until  time.Time
	err    error
}

// fail begins a pause, that goes on until at least the given moment.
func (p *pause) fail(now time.Time, err error, atLeast time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.until) {
		return // it failed for several who had begun before
	}
	p.errors++
	p.err = err
	p.until = later(now.Add(delay(p.errors, longestPause)), atLeast)
}

func (p *pause) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors, p.until, p.err = 0, time.Time{}, nil
}

// at is until when it goes on, and why; nil: there is none.
func (p *pause) at(now time.Time) (time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.until) {
		return time.Time{}, nil
	}
	return p.until, p.err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
