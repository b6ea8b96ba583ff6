package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

const (
	// pingEvery and pingWithin find a server that hangs within 4 s.
	pingEvery  = time.Second
	pingWithin = 3 * time.Second
)

// tracker is a connection over which a server tells what is written to it.
type tracker struct {
	address string
	client  rueidis.Client
	conn    *guard
	// unbind ends the watch over the context that the connection was made with.
	unbind func() bool
}

var errOnce = errors.New("this connection is not made again")

// track connects to a server and asks it to tell of all keys that begin with prefixes. Those that changed are given to
// changed, nil for all of them. Done with ctx, the connection is closed.
func (s *servers) track(ctx context.Context, address string, prefixes []string, changed func([]rueidis.RedisMessage)) (*tracker, error) {
	t := &tracker{address: address}
	options := s.options(peer{address: address})
	// The library would connect again in silence, and what changed in between would be missed.
	options.DialCtxFn = func(library context.Context, address string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
		return t.dial(ctx, library, s, address)
	}
	options.DisableAutoPipelining = false
	options.AlwaysPipelining = true
	options.OnInvalidations = func(keys []rueidis.RedisMessage) {
		// It is called with nil also when the connection has ended.
		if !t.conn.hasEnded() {
			changed(keys)
		}
	}
	var err error
	if t.client, err = open(options); err != nil {
		t.close()
		return nil, err
	}
	words := []string{"CLIENT", "TRACKING", "ON", "BCAST"}
	for _, prefix := range prefixes {
		words = append(words, "PREFIX", prefix)
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := t.client.Do(limited, t.client.B().Arbitrary(words...).Build()).Error(); err != nil {
		t.close()
		return nil, fmt.Errorf("client tracking: %w", err)
	}
	return t, nil
}

func (t *tracker) dial(ctx, library context.Context, servers *servers, address string) (net.Conn, error) {
	if t.conn != nil {
		return nil, errOnce
	}
	limited, cancel := context.WithCancel(library)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	conn, err := servers.dial(limited, address)
	if err != nil {
		return nil, err
	}
	t.conn = conn.(*guard)
	t.unbind = context.AfterFunc(ctx, func() { _ = t.conn.Close() })
	return conn, nil
}

// keep returns when the connection has ended, and ends it when no answer comes to a PING.
func (t *tracker) keep(ctx context.Context) error {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.conn.ended:
			return fmt.Errorf("%s: the connection that tells of changes has ended", t.address)
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, pingWithin)
		err := t.client.Do(limited, t.client.B().Arbitrary("PING").Build()).Error()
		cancel()
		// An error that Redis answered is an answer.
		if _, answered := refusal(err); err != nil && !answered {
			return fmt.Errorf("%s: the connection that tells of changes: no answer within %s", t.address, pingWithin)
		}
	}
}

func (t *tracker) close() {
	if t.conn != nil {
		t.unbind()
		// First, and the library need not wait for a server that hangs.
		_ = t.conn.Close()
	}
	if t.client != nil {
		t.client.Close()
	}
}

// pending are the keys that changed and have not been told. It never makes the connection wait: what is too much becomes
// a change of all.
type pending struct {
	signal chan struct{}
	mu     sync.Mutex
	keys   map[string]struct{}
	all    bool
}

// maxPending bounds the keys.
const maxPending = 1 << 16

// maxKey is the length in bytes that no key of a name reaches.
const maxKey = 1 << 10

func newPending() *pending {
	return &pending{signal: make(chan struct{}, 1), keys: make(map[string]struct{})}
}

// add takes the keys of a push; nil: all of them.
func (p *pending) add(messages []rueidis.RedisMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = p.all || messages == nil
	for _, message := range messages {
		if key, err := message.ToString(); err == nil && len(key) <= maxKey && !p.all {
			p.keys[key] = struct{}{}
			p.all = len(p.keys) > maxPending
		}
	}
	if p.all {
		clear(p.keys)
	}
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *pending) take() (keys []string, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.keys {
		keys = append(keys, key)
	}
	all = p.all
	p.keys, p.all = make(map[string]struct{}), false
	return keys, all
}
