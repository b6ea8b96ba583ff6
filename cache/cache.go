// Package cache finds the certificate for a name: in memory, else on disk, else from the store.
//
// It guards these rules. A handshake for a name that is cached waits for nobody: a hit takes no lock and allocates
// nothing. A failure of the store is never taken for a no, and takes no name offline before its certificate expires. An
// expired certificate is never served. What is held is bounded in bytes, and what clients can make it remember of names
// that nobody knows never displaces a certificate, nor makes a store be asked more often than it should be. What was asked
// for before a flush, or before the store told of a change, is never cached after it, and what was flushed does not come
// back from the disk.
package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"hellogate/store"
)

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

// Answer is what a client gets.
type Answer struct {
	Certificate *tls.Certificate
	Source      Source
	Routing     *Routing // nil: the store says nothing of it
}

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
	wake    chan struct{}     // the schedule changed
	erased  [64]atomic.Uint64 // how often something was taken off the disk, by the hash of its key
	used    chan *entry       // that are to be asked for again, as they were used while somebody had mu
	legacy  atomic.Int64      // entries for clients that can't use ECDSA
	absent  absent            // from the disk; empty: it is not asked about
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
	budget   budget
	trusted  map[string]int64 // by store: since when, by the wall, what it answered before does not count as fresh
	replaced map[string]int64 // by store: since when, by the wall, it is another that has its name
	events   []event          // to be logged at unlock
	told     []Event          // to be told at unlock
	// permissionSaid and damageSaid are when it was last logged that permission could not be asked, or that what the disk
	// has can't be read.
	permissionSaid, damageSaid sometimes
	totals                     totals
	// refreshing is how many of those the store is being asked for are refreshes.
	refreshing    int
	refreshedLast bool // the store was last asked for a refresh
}

// New returns an empty Cache, which the caller closes.
func New(options Options) *Cache {
	options = options.withDefaults()
	c := &Cache{
		options: options,
		index:   newIndex(func(e *entry) string { return e.key }),
		hot:     hotTier{index: newIndex(func(r *ready) string { return r.key }), limit: options.Size / 16, signer: options.Signer, signerBytes: options.SignerBytes},
		wake:    make(chan struct{}, 1),
		used:    make(chan *entry, 1024),
		limit:   options.Size - options.Size/16 - 2*(options.Size/32),
		pairs:   newPairTable(),
		aliases: make(map[*entry][]*entry),
		unknown: newDenials(options.Size / 32),
		failed:  newDenials(options.Size / 32),
		flights: make(map[string]*flight),
		asking:  make(map[*flight]bool),
		queue:   newQueue(),
		budget:  newBudget(options.Lookups),
		trusted: make(map[string]int64), replaced: make(map[string]int64),
	}
	c.clock.start = time.Now()
	c.life, c.end = context.WithCancel(context.Background())
	c.workers.Go(c.keepFresh)
	if watcher, tells := options.Store.(store.Watcher); tells {
		c.workers.Go(func() { watcher.Watch(c.life, c.changed) })
	}
	if options.Disk != nil {
		if options.Wildcards {
			c.absent = newAbsent()
		}
		c.loadPinned()
		c.workers.Go(c.warmUp)
	}
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
// to wait that ran out, ErrLimited when too many unknown names were asked for.
func (c *Cache) Get(ctx context.Context, query Query) (Answer, error) {
	// For that name, as an alias or by a wildcard, unless the disk may have what was fetched for that very name.
	if got := c.cached(query, c.options.Disk == nil); got.Certificate != nil {
		return got, nil
	}
	if c.options.Disk != nil {
		c.load(query)
		if got := c.cached(query, true); got.Certificate != nil {
			return got, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.LookupTimeout)
	defer cancel()
	joined, err := c.enter(query)
	if err != nil {
		return Answer{}, err
	}
	return c.wait(ctx, joined, query)
}

// cached returns what is held for a client, without a certificate if there is none.
func (c *Cache) cached(query Query, wildcards bool) Answer {
	now := c.clock.now()
	hot, hash := c.find(query.Name, now)
	if hot == nil && c.legacy.Load() > 0 && query.legacy() {
		hot, hash = c.find(keyOf(query.Name, true), now)
	}
	if hot == nil && wildcards && c.options.Wildcards {
		hot, hash = c.findWildcard(query.Name, now)
	}
	if hot == nil {
		return Answer{}
	}
	certificate, suits := c.pick(hot, query.Hello)
	if !suits && hot.partial && query.legacy() {
		// Another was chosen, or is to be, for clients like this one.
		if hot, hash = c.find(keyOf(query.Name, true), now); hot == nil {
			return Answer{}
		}
		certificate, _ = c.pick(hot, query.Hello)
	}
	if certificate == nil {
		return Answer{}
	}
	if hot.use() {
		c.askAgain(hot.entry)
	}
	if hot.routing != nil && now.mono > hot.routing.until {
		c.askRouting(hot.entry)
	}
	return Answer{certificate, c.counts.hit(hash, hot.pinned, now.mono > hot.stale.Load()), hot.routing}
}

// find returns what is held under a key, ready; nil if nothing is that can be served.
func (c *Cache) find(key string, now moment) (*ready, uint64) {
	hot, hash := c.hot.index.find(key)
	if hot == nil {
		if hot = c.warm(key, now); hot == nil {
			return nil, hash
		}
	}
	if now.reached(hot.notAfter) {
		return nil, hash
	}
	return hot, hash
}

// warm makes what is cached under a key ready; nil if nothing is.
func (c *Cache) warm(key string, now moment) *ready {
	found, _ := c.index.find(key)
	if found == nil {
		return nil
	}
	held := found.held.Load()
	if held == nil || held.expired(now) {
		return nil
	}
	hot, err := c.hot.warm(found, held, false)
	if err != nil { // which the fetch that follows says
		return nil
	}
	return hot
}

// enter joins the fetch under way for a client or begins one, unless a no or a failure is remembered.
func (c *Cache) enter(query Query) (*flight, error) {
	legacy := query.legacy()
	key := keyOf(query.Name, legacy)
	c.mu.Lock()
	defer c.unlock()
	now := c.clock.now()
	if found := c.usable(query.Name, now); found != nil && !(legacy && found.held.Load().partial()) { // since we looked
		return landed(outcomeOf(found)), nil
	}
	if found := c.usable(key, now); found != nil {
		return landed(outcomeOf(found)), nil
	}
	if c.options.Wildcards { // of which one pair of two may just have expired
		if found := c.usable(wildcardOf(query.Name), now); found != nil && !(legacy && found.held.Load().partial()) {
			return landed(outcomeOf(found)), nil
		}
	}
	for _, remembered := range []*denials{&c.unknown, &c.failed} {
		if err := remembered.recall(key, now); err != nil {
			c.totals.remembered++
			return nil, err
		}
	}
	return c.join(query, key)
}

// usable returns the entry under a key if what it holds may be served; what has expired is removed.
func (c *Cache) usable(key string, now moment) *entry {
	found, _ := c.index.find(key)
	if found != nil && found.held.Load().expired(now) && c.trim(found, now) == nil {
		return nil
	}
	return found
}
