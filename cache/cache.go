// Package cache finds the certificate for a name: in memory, else from the store.
//
// It guards these rules. A handshake for a name that is cached waits for nobody: a hit takes no lock and allocates
// nothing. A failure of the store is never taken for a no, and takes no name offline before its certificate expires. An
// expired certificate is never served. What is held is bounded in bytes, and what clients can make it remember of names
// that nobody knows never displaces a certificate. What was asked for before a flush is never cached after it.
package cache

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store"
)

// Options is what a Cache is made of. Zero values get the defaults in parentheses.
type Options struct {
	// Store is asked for what is not cached. It must bound each Fetch by a timeout of its own.
	Store store.Store
	// Size bounds what is held in memory, in bytes (512 MiB): certificates and keys as bytes, the parsed ones in use (a
	// sixteenth of it) and the remembered answers without a certificate (another).
	Size int64
	// TTL is the lifetime of every answer when it is above 0, whatever the store and the certificate say.
	TTL time.Duration
	// MinTTL is the shortest lifetime that a store's answer can have (5m).
	MinTTL time.Duration
	// RenewBefore is how long before its end a certificate is asked for again when nothing else says when. 0: 7 days, or a
	// third of the certificate's lifetime if that is less.
	RenewBefore time.Duration
	// NegativeTTL is how long a store's no is remembered (30s).
	NegativeTTL time.Duration
	// WithdrawAfter is how long a store must go on denying a name that is cached before it is dropped (10m).
	WithdrawAfter time.Duration
	// LookupTimeout bounds a Get, however many it has to queue behind (5s).
	LookupTimeout time.Duration
	// Fetches is how many requests to the store may be under way at once (64).
	Fetches int
	// Aliases says which certificates answer for their other names too.
	Aliases AliasPolicy
	// AliasRoots are roots that AliasesVerified accepts besides the system's; nil: none.
	AliasRoots *x509.CertPool
	// Signer, when set, wraps every private key that is served.
	Signer func(crypto.Signer) crypto.Signer
	// SignerBytes, when set, is what Signer's result for the key with this public key holds outside of Go's heap, in bytes.
	// It must always be the same. It counts against Size while the key is in use.
	SignerBytes func(crypto.PublicKey) int64
	// Log takes a line for each event.
	Log zerolog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.Size, 512<<20)
	setDefault(&o.MinTTL, 5*time.Minute)
	setDefault(&o.NegativeTTL, 30*time.Second)
	setDefault(&o.WithdrawAfter, 10*time.Minute)
	setDefault(&o.LookupTimeout, 5*time.Second)
	setDefault(&o.Fetches, 64)
	if o.Signer == nil {
		o.Signer = func(key crypto.Signer) crypto.Signer { return key }
	}
	if o.SignerBytes == nil {
		o.SignerBytes = func(crypto.PublicKey) int64 { return 0 }
	}
	return o
}

func setDefault[N int | int64 | time.Duration](option *N, value N) {
	if *option <= 0 {
		*option = value
	}
}

// Query is what is known of a client that needs a certificate.
type Query struct {
	// Name is what it asks for, as sni.Normalize accepted it.
	Name string
	// Client is its address, by which fetches are queued fairly.
	Client netip.Addr
	// Hello is its ClientHello. nil: it can use any certificate.
	Hello *tls.ClientHelloInfo
}

// Source says where a certificate came from.
type Source uint8

// The sources.
const (
	None   Source = iota // there is no certificate
	Hit                  // cached
	Stale                // cached, at the end of its lifetime and not yet fetched again
	Miss                 // fetched for this client, or for others that asked just before
	Pinned               // put there by hand
)

func (s Source) String() string { return [...]string{"none", "hit", "stale", "miss", "pinned"}[s] }

var errClosed = errors.New("certificate cache: closed")

// Cache holds certificates by name. It is safe for concurrent use.
type Cache struct {
	options Options
	clock   clock
	index   index[entry]
	hot     hotTier
	counts  counters
	life    context.Context // ends with Close
	end     context.CancelFunc
	wake    chan struct{} // the schedule changed
	workers sync.WaitGroup

	// mu guards what follows and every write to the index. It is never held while a store is asked, a key is parsed, a
	// chain is verified or a line is logged.
	mu       sync.Mutex
	closed   bool
	limit    int64 // bytes that entries and pairs may have
	bytes    int64 // that they have
	pairs    pairTable
	schedule schedule
	aliases  map[*entry][]*entry // by owner
	unknown  denials             // names that the store said no to
	failed   denials             // names that could not be fetched
	flights  map[string]*flight  // that may be joined, by name
	asking   map[*flight]bool    // those that the store is being asked for
	queue    queue               // those that wait for their turn
	guard    guard
	events   []event // to be logged at unlock
	totals   totals
	// refreshing is how many of those the store is being asked for are refreshes.
	refreshing    int
	refreshedLast bool // the store was last asked for a refresh
}

// New returns an empty Cache, which the caller closes.
func New(options Options) *Cache {
	options = options.withDefaults()
	c := &Cache{
		options: options,
		index:   newIndex[entry](),
		hot:     hotTier{index: newIndex[ready](), limit: options.Size / 16, signer: options.Signer, signerBytes: options.SignerBytes},
		wake:    make(chan struct{}, 1),
		limit:   options.Size - options.Size/16 - 2*(options.Size/32),
		pairs:   newPairTable(),
		aliases: make(map[*entry][]*entry),
		unknown: newDenials(options.Size / 32),
		failed:  newDenials(options.Size / 32),
		flights: make(map[string]*flight),
		asking:  make(map[*flight]bool),
		queue:   newQueue(),
	}
	c.clock.start = time.Now()
	c.life, c.end = context.WithCancel(context.Background())
	c.workers.Go(c.keepFresh)
	return c
}

// Close ends every fetch and waits until all that the Cache started has ended. What waits in Get gets an error.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	for _, waiting := range c.queue.drain() {
		c.land(waiting, outcome{err: errClosed})
	}
	c.unlock()
	c.end()
	c.workers.Wait()
}

// Get returns the certificate for the name that a client asks for. An error that wraps store.ErrUnknown is a no; any
// other is a failure: a *store.Failure in its chain when the store failed, context.DeadlineExceeded when it was the time
// to wait that ran out.
func (c *Cache) Get(ctx context.Context, query Query) (*tls.Certificate, Source, error) {
	if certificate, source := c.cached(query); certificate != nil { // for that name, or as an alias
		return certificate, source, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.LookupTimeout)
	defer cancel()
	joined, err := c.enter(query)
	if err != nil {
		return nil, None, err
	}
	return c.wait(ctx, joined, query)
}

// cached returns the certificate that is held for a name, nil if there is none.
func (c *Cache) cached(query Query) (*tls.Certificate, Source) {
	hot, hash := c.hot.index.find(query.Name)
	if hot == nil {
		if hot = c.warm(query.Name); hot == nil {
			return nil, None
		}
	}
	now := c.clock.now()
	if now.reached(hot.notAfter) {
		return nil, None
	}
	certificate := hot.pick(query.Hello)
	if certificate == nil {
		if certificate, _ = c.pick(hot, query.Hello); certificate == nil {
			return nil, None
		}
	}
	hot.use()
	if hot.alias {
		c.aliasUsed(hot.entry)
	}
	return certificate, c.counts.hit(hash, now.mono > hot.stale.Load())
}

// warm makes what is cached for a name ready; nil if nothing is.
func (c *Cache) warm(name string) *ready {
	found, _ := c.index.find(name)
	if found == nil {
		return nil
	}
	held := found.held.Load()
	if held == nil || held.expired(c.clock.now()) {
		return nil
	}
	hot, err := c.hot.warm(found, held, false)
	if err != nil { // which the fetch that follows says
		return nil
	}
	return hot
}

// enter joins the fetch under way for a name or begins one, unless a no or a failure is remembered.
func (c *Cache) enter(query Query) (*flight, error) {
	c.mu.Lock()
	defer c.unlock()
	now := c.clock.now()
	if found := c.usable(query.Name, now); found != nil { // since we looked
		return landed(outcomeOf(found)), nil
	}
	if err := c.unknown.recall(query.Name, now); err != nil {
		c.totals.remembered++
		return nil, err
	}
	if err := c.failed.recall(query.Name, now); err != nil {
		c.totals.remembered++
		return nil, err
	}
	return c.join(query)
}

// usable returns the entry for a name if what it holds may be served; what has expired is removed.
func (c *Cache) usable(name string, now moment) *entry {
	found, _ := c.index.find(name)
	if found != nil && found.held.Load().expired(now) && c.trim(found, now) == nil {
		return nil
	}
	return found
}
