// Package acme is the store that obtains its certificates from a certificate authority, by ACME (RFC 8555), and renews them.
// The protocol is acmez's; what is ordered, when and by whom, and where it is kept, is decided here.
//
// The rule it guards: a certificate that is there is served until its end, whatever becomes of the next one; a name is
// ordered by one process at a time, and never in a tight loop, not even by processes that are killed and started again; and
// no pair is ever seen that is not whole and was not checked.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/rs/zerolog"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/acme/challenge"
	"hellogate/store/acme/message"
)

// defaultWait is how long a Fetch waits for an order unless Options say otherwise.
const defaultWait = 10 * time.Second

// Options say what is ordered, where, and how. Directories, Storage and AcceptTerms are needed, and Names, OnDemand or Any.
type Options struct {
	// Name is what the store is called in errors and in its bundles; empty: "acme".
	Name string
	// Version is told to the authorities with the program's name (RFC 8555 section 6.1); empty: not known.
	Version string
	// Directories are the URLs of the authorities' directories, the one to begin with first.
	Directories []string
	// Roots are what the directories' own TLS is verified with; nil: the system's.
	Roots *x509.CertPool
	// Contact is the mail address of the account; empty: none.
	Contact string
	// AcceptTerms says that the authorities' terms of service are accepted.
	AcceptTerms bool
	// Names are managed: obtained when there is no certificate, and renewed for ever. Names that sni.Normalize accepted, or
	// "*." and one.
	Names []string
	// OnDemand are the names that are ordered when they are asked for.
	OnDemand []sni.Pattern
	// Any: every name is, since somebody else said yes to it before.
	Any bool
	// Storage is where everything is kept. It is the caller's, who closes it after the store.
	Storage Storage
	// KeyTypes are the kinds of keys of which each name gets a certificate: KeyTypeNames. None: p256.
	KeyTypes []string
	// Profile is the authority's certificate profile; empty: its default.
	Profile string
	// EAB binds a new account to one that the authority knows by other means; the zero value: no binding.
	EAB EAB
	// HTTP01: http-01 may be used besides tls-alpn-01: somebody serves HTTP01.
	HTTP01 bool
	// DNS01 is used besides them; nil: it can't be, and there are no wildcards.
	DNS01 *challenge.DNS
	// Message is told what happens, as mod_md's message command is; nil: nobody.
	Message *message.Command
	// Wait is how long a Fetch waits for an order; 0: 10 s.
	Wait time.Duration
	// Limits bounds what is ordered.
	Limits Limits
	// Event is called with what happens, and must not block; nil: nothing is.
	Event func(Event)
	// Log takes a line for each order that ends. The zero value: nothing is logged.
	Log zerolog.Logger

	transport http.RoundTripper // in place of the network; nil: that
}

// EAB is an external account binding (RFC 8555 section 7.3.4).
type EAB struct {
	KeyID string
	// MACKey is in base64url, as authorities hand it out.
	MACKey string
}

// Limits bounds what is ordered. Zero values take the default.
type Limits struct {
	// Rate is how many orders are begun a second, 1 by default; Burst how many there may be at once after a pause, 10.
	Rate, Burst int
	// AtOnce is how many are under way at most, 8 by default.
	AtOnce int
	// PerDomain is how many new names are ordered a week below one registered domain, 50 by default; below 0: no limit.
	PerDomain int
}

// Store is the store. It is a store.Watcher, and safe for concurrent use.
type Store struct {
	options     Options
	managed     map[string]bool
	authorities []*authority
	pending     *challenge.Pending
	solvers     map[string]acmez.Solver
	bucket      *bucket
	domains     *domains
	storage     pause // after which it is tried again to write to it

	life    context.Context // of everything in the background
	stop    context.CancelFunc
	running sync.WaitGroup
	start   sync.Once
	wake    chan struct{} // holds one when the schedule has changed
	seeing  chan struct{} // closed when changes in the storage are seen

	mu          sync.Mutex // guards what follows, and the entries; never held across I/O
	entries     map[string]*entry
	schedule    schedule
	queued      int // entries whose run has not begun
	busy        int // runs that have begun and not ended
	started     bool
	closed      bool
	subscribers map[*subscriber]bool
	ended       map[string]uint64 // orders by what came of them
}

// New returns a store. It reads nothing, asks nobody and starts nothing: see Start. The caller closes it.
func New(options Options) (*Store, error) {
	options.setDefaults()
	if err := options.check(); err != nil {
		return nil, fmt.Errorf("store %s: %w", options.Name, err)
	}
	s := &Store{
		options: options,
		managed: make(map[string]bool),
		pending: challenge.New(challenge.Options{Storage: options.Storage, Log: options.Log}),
		bucket:  newBucket(options.Limits.Rate, options.Limits.Burst),
		domains: newDomains(options.Limits.PerDomain),
		wake:    make(chan struct{}, 1),
		seeing:  make(chan struct{}),

		entries:     make(map[string]*entry),
		subscribers: make(map[*subscriber]bool),
		ended:       map[string]uint64{resultOK: 0, resultFailed: 0, resultVetoed: 0, resultElsewhere: 0},
	}
	for _, url := range options.Directories {
		s.authorities = append(s.authorities, newAuthority(s, url))
	}
	for _, name := range options.Names {
		s.managed[name] = true
	}
	s.solvers = map[string]acmez.Solver{acme.ChallengeTypeTLSALPN01: s.pending.TLSALPN01()}
	if options.HTTP01 {
		s.solvers[acme.ChallengeTypeHTTP01] = s.pending.HTTP01()
	}
	if options.DNS01 != nil {
		s.solvers[acme.ChallengeTypeDNS01] = options.DNS01
	}
	s.life, s.stop = context.WithCancel(context.Background())
	return s, nil
}

func (o *Options) setDefaults() {
	if o.Name == "" {
		o.Name = "acme"
	}
	if len(o.KeyTypes) == 0 {
		o.KeyTypes = []string{"p256"}
	}
	if o.Version == "" {
		o.Version = "unknown"
	}
	if o.Wait <= 0 {
		o.Wait = defaultWait
	}
	for _, each := range []struct {
		value    *int
		standard int
	}{{&o.Limits.Rate, 1}, {&o.Limits.Burst, 10}, {&o.Limits.AtOnce, 8}, {&o.Limits.PerDomain, 50}} {
		if *each.value == 0 {
			*each.value = each.standard
		}
	}
	if o.Event == nil {
		o.Event = func(Event) {}
	}
}

func (o *Options) check() error {
	switch {
	case len(o.Directories) == 0:
		return errors.New("no directory of an authority")
	case o.Storage == nil:
		return errors.New("no storage")
	case !o.AcceptTerms:
		return errors.New("the authority's terms of service are not accepted")
	case len(o.Names) == 0 && len(o.OnDemand) == 0 && !o.Any:
		return errors.New("no name may be ordered")
	}
	for _, name := range o.Names {
		if !isOrderable(name) {
			return fmt.Errorf("no certificate can be ordered for %q", name)
		}
		if strings.HasPrefix(name, "*.") && o.DNS01 == nil {
			return fmt.Errorf("%s needs dns-01", name)
		}
	}
	for _, kind := range o.KeyTypes {
		if !slices.Contains(KeyTypeNames(), kind) {
			return fmt.Errorf("key type %q is none of %s", kind, strings.Join(KeyTypeNames(), ", "))
		}
	}
	return nil
}

// isOrderable says whether a certificate can be for name, which is safe as a part of a path then.
func isOrderable(name string) bool {
	base := strings.TrimPrefix(name, "*.")
	normal, err := sni.Normalize(base)
	return err == nil && normal == base
}

// Start begins to obtain and renew certificates, and to watch the storage. It returns at once, and does nothing the second
// time.
func (s *Store) Start() {
	s.start.Do(func() {
		s.mu.Lock()
		s.started = true
		closed := s.closed
		if !closed {
			s.running.Add(3)
		}
		s.mu.Unlock()
		if closed {
			return
		}
		go func() { defer s.running.Done(); s.scan() }()
		go func() { defer s.running.Done(); s.dispatch() }()
		go func() { defer s.running.Done(); s.watchStorage() }()
	})
}

// Close gives up what is under way, and waits for everything. An order that was given up begins anew at the next start.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
	for _, authority := range s.authorities {
		authority.close()
	}
}

// Name is what the store is called in errors and in its bundles.
func (s *Store) Name() string { return s.options.Name }

// Certificate is the answer to a client that offers exactly acme-tls/1 for name (RFC 8737), whichever process that shares
// the storage has the order. The error wraps challenge.ErrNone when there is no challenge.
func (s *Store) Certificate(ctx context.Context, name string) (*tls.Certificate, error) {
	return s.pending.Certificate(ctx, name)
}

// HTTP01 answers http-01 challenges, and redirects everything else to https.
func (s *Store) HTTP01() http.Handler { return s.pending.Handler() }

// Orders counts the orders that ended, by what came of them: ok, failed, vetoed by the message command, or elsewhere, which
// is that another process had obtained the certificate.
func (s *Store) Orders() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]uint64, len(s.ended))
	for result, count := range s.ended {
		counts[result] = count
	}
	return counts
}

// keyOf is what is ordered for a client that asks for name: that name, or a managed wildcard above it.
func (s *Store) keyOf(name string) (key string, managed, ok bool) {
	if s.managed[name] {
		return name, true, true
	}
	if _, parent, found := strings.Cut(name, "."); found && s.managed["*."+parent] && !strings.HasPrefix(name, "*.") {
		return "*." + parent, true, true
	}
	return name, false, s.onDemand(name)
}

func (s *Store) onDemand(name string) bool {
	if strings.HasPrefix(name, "*.") {
		return false
	}
	return s.options.Any || slices.ContainsFunc(s.options.OnDemand, func(p sni.Pattern) bool { return p.Match(name) })
}

var _ store.Watcher = (*Store)(nil)
