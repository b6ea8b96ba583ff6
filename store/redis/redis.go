// Package redis is the store that reads certificates from a Redis server, in the layouts that the peter_sslers tools write
// and as JSON, and tells when they change there.
//
// The rule it guards: a change is told, or that changes can't be seen; nothing is taken for fresh in between. And what
// comes from Redis is bounded in size and time, and no word of it reaches an error or a log.
package redis

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/rs/zerolog"

	"hellogate/store"
)

// The layouts: where the bundle of a name is.
const (
	// Prime1 is peter_sslers' first: a hash d1:NAME with the ids of the certificate (field c), its key (p) and its chain
	// (i), which are the strings c:ID, p:ID and i:ID.
	Prime1 = "prime1"
	// Prime2 is peter_sslers' second: a hash d2:NAME with the chain (field f) and its key (p).
	Prime2 = "prime2"
	// JSON is a string PREFIX NAME with what an HTTP store answers. PREFIX*.PARENT answers for the names under PARENT that
	// have none of their own.
	JSON = "json"
)

// Options configure the store. Layout is needed, and URL or Addresses.
type Options struct {
	// Name is what the store is called in errors; empty: its URL without the user.
	Name string
	// URL is redis://[user@]host:port/database, rediss:// likewise for TLS, or unix:///path/to/socket?db=0. It must not hold
	// a password. With Addresses it has no host, and may be empty for redis:///0.
	URL string
	// Addresses are host:port of sentinels or of nodes of a cluster; the URL's host will do for one.
	Addresses []string
	// SentinelMaster is the name that the sentinels know the master by; empty: Addresses are not of sentinels.
	SentinelMaster string
	// Cluster says that Addresses are of nodes of a cluster, some of them at least.
	Cluster bool
	// Layout is Prime1, Prime2 or JSON.
	Layout string
	// Prefix begins the keys of JSON and is nothing to the other layouts; empty: "hellogate:".
	Prefix string
	// Username is that of an ACL user; empty: the default user. It needs HMGET (Prime2), HMGET and GET (Prime1) or GET (JSON),
	// CLIENT TRACKING and PING to be watched, HSET and SET to be written to, and CLUSTER SLOTS in a cluster.
	Username string
	// Password, or the content of PasswordFile, which is read again when the file changes. At most one of them may be set.
	// Sentinels are sent it too, and asked without when they refuse it.
	Password, PasswordFile string
	// CAFile holds the roots in PEM that the server's certificate must verify to, instead of the system's.
	CAFile string
	// CertFile and KeyFile are our client certificate; they are read again when they change.
	CertFile, KeyFile string
	// InsecureSkipVerify accepts any certificate from the server.
	InsecureSkipVerify bool
	// Plaintext allows connections without TLS to more than loopback.
	Plaintext bool
	// Timeout bounds a whole fetch, the wait for a connection included; 0: 2 s.
	Timeout time.Duration
	// Fetches bounds the fetches at once; 0: 64.
	Fetches int
	// Log is told when changes can't be seen, and when they can again.
	Log zerolog.Logger
}

// Redis is a store.Store, a store.Watcher and a store.Writer.
type Redis struct {
	name    string
	layout  layout
	servers *servers
	timeout time.Duration
	free    chan struct{} // holds an element for each fetch under way
	log     zerolog.Logger
	unseen  atomic.Pointer[error] // why changes can't be seen; nil: they can, or nobody has looked yet
}

var (
	_ store.Watcher = (*Redis)(nil)
	_ store.Writer  = (*Redis)(nil)
)

// New checks options, reads the files that they name and returns the store. It makes no connection. Close it.
func New(options Options) (*Redis, error) {
	where, err := parsePlace(options)
	if err != nil {
		return nil, err
	}
	r := &Redis{name: options.Name, timeout: options.Timeout, log: options.Log}
	if r.name == "" {
		r.name = where.shown
	}
	if r.timeout <= 0 {
		r.timeout = 2 * time.Second
	}
	fetches := options.Fetches
	if fetches <= 0 {
		fetches = 64
	}
	r.free = make(chan struct{}, fetches)
	if r.layout, err = newLayout(options); err != nil {
		return nil, fmt.Errorf("store %s: %w", r.name, err)
	}
	r.servers = &servers{
		place: where, master: options.SentinelMaster, cluster: options.Cluster, plaintext: options.Plaintext,
		username: cmp.Or(where.user, options.Username), timeout: r.timeout, fetches: fetches,
		clients: make(map[peer]*making[rueidis.Client]),
	}
	if err := r.servers.secure(options); err != nil {
		return nil, fmt.Errorf("store %s: %w", r.name, err)
	}
	return r, nil
}

// secure reads the files that options name.
func (s *servers) secure(options Options) (err error) {
	if s.password, err = options.password(); err != nil || !s.place.tls {
		return err
	}
	s.tls, err = store.ClientTLS(options.CAFile, options.CertFile, options.KeyFile, options.InsecureSkipVerify)
	return err
}

func (o Options) password() (func() (string, error), error) {
	if o.PasswordFile == "" {
		return func() (string, error) { return o.Password, nil }, nil
	}
	get := store.PasswordFile(o.PasswordFile)
	_, err := get()
	return get, err
}

// Name is what the store is called in errors and in its bundles.
func (r *Redis) Name() string { return r.name }

// Close closes the connections and waits for what uses them, at most for the store's timeout. Watch is to be ended before.
func (r *Redis) Close() { r.servers.close() }

// Fetch reads what Redis has for request.Name. The bundle has no freshness: Watch tells when it changes; its validator is
// made of the values read. A value that is broken or too large, or missing while others point to it, is a failure of that
// name alone. A fetch that ran into the store's own timeout wraps context.DeadlineExceeded too.
func (r *Redis) Fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	bundle, err := r.fetch(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("store %s: get %q: %w", r.name, request.Name, err)
	}
	bundle.Store = r.name
	return bundle, nil
}

func (r *Redis) fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	if err := store.CheckName(request.Name); err != nil {
		return nil, &store.Failure{Err: err, Exempt: true}
	}
	var found *content
	err := r.within(ctx, func(ctx context.Context) (err error) {
		found, err = r.layout.fetch(ctx, r.servers, request.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	validator := store.Validator{ETag: found.tag()}
	if request.From == r.name && request.Validator == validator {
		return &store.Bundle{NotModified: true, Validator: validator}, nil
	}
	answer, err := found.decode()
	if err != nil {
		return nil, &store.Failure{Err: err, Exempt: true}
	}
	return &store.Bundle{Pairs: answer.Pairs, Routing: answer.Routing, Validator: validator}, nil
}

// within runs work when there is room for it, with the store's timeout. Its error is a *store.Failure or wraps
// store.ErrUnknown.
func (r *Redis) within(ctx context.Context, work func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	select {
	case r.free <- struct{}{}:
		defer func() { <-r.free }()
	case <-limited.Done():
		return r.late(ctx, "no connection was free", false)
	}
	err := work(limited)
	if err == nil || errors.Is(err, store.ErrUnknown) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		var noConnection *unconnected
		if errors.As(err, &noConnection) {
			return r.late(ctx, "no connection", ctx.Err() == nil)
		}
		return r.late(ctx, "no answer", false)
	}
	return failure(err)
}

// late is the failure of what ran out of time, or was ended by its caller.
func (r *Redis) late(ctx context.Context, what string, unreachable bool) error {
	if ctx.Err() != nil {
		return &store.Failure{Err: fmt.Errorf("%s: %w", what, ctx.Err())}
	}
	err := fmt.Errorf("%s within %s: %w", what, r.timeout, context.DeadlineExceeded)
	return &store.Failure{Err: err, Unreachable: unreachable}
}

// Put stores pairs under name, as a whole or not at all. Prime1 and Prime2 hold one pair a name and refuse more.
func (r *Redis) Put(ctx context.Context, name string, pairs []store.Pair) error {
	if err := r.put(ctx, name, pairs); err != nil {
		return fmt.Errorf("store %s: put %q: %w", r.name, name, err)
	}
	return nil
}

func (r *Redis) put(ctx context.Context, name string, pairs []store.Pair) error {
	if err := store.CheckName(name); err != nil {
		return &store.Failure{Err: err, Exempt: true}
	}
	texts, err := encode(pairs)
	if err != nil {
		return &store.Failure{Err: err, Exempt: true}
	}
	return r.within(ctx, func(ctx context.Context) error { return r.layout.put(ctx, r.servers, name, texts) })
}

// content is what Redis has for a name.
type content struct {
	parts  []string
	decode func() (store.Answer, error)
}

// tag names the content as an entity tag does. The length of each part is in it, so that no two contents run together.
func (c *content) tag() string {
	sum := sha256.New()
	for _, part := range c.parts {
		_ = binary.Write(sum, binary.BigEndian, int64(len(part)))
		sum.Write([]byte(part))
	}
	return `"` + hex.EncodeToString(sum.Sum(nil)) + `"`
}
