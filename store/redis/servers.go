package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// errClosed is the error of a store that was closed.
var errClosed = errors.New("the store is closed")

// servers are the connections to Redis. They are made when they are needed and never by New, each once for all who wait
// for it; one that broke takes its server's idle ones with it, as they most likely broke too.
type servers struct {
	place     place
	master    string // the sentinels' name of it
	cluster   bool
	plaintext bool
	tls       *tls.Config
	username  string
	password  func() (string, error)
	timeout   time.Duration
	fetches   int

	mu      sync.Mutex
	closed  bool
	clients map[peer]*making[rueidis.Client]
	found   *making[*routes] // nil: to be looked up
	known   []string         // the masters that were found last, to look up the next ones at
	work    sync.WaitGroup
}

// peer is a server that is connected to.
type peer struct {
	address  string
	sentinel bool
}

// making is a value that one goroutine makes for all who wait for it.
type making[T any] struct {
	done  chan struct{}
	value T
	err   error
}

func (m *making[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-m.done:
		return m.value, m.err
	case <-ctx.Done():
		var none T
		return none, &unconnected{ctx.Err()}
	}
}

func (m *making[T]) isDone() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// spawn runs work in a goroutine that close waits for.
func (s *servers) spawn(work func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spawnLocked(work)
}

func (s *servers) spawnLocked(work func()) error {
	if s.closed {
		return errClosed
	}
	s.work.Go(work)
	return nil
}

func (s *servers) close() {
	s.mu.Lock()
	clients := s.clients
	s.clients, s.closed = nil, true
	s.mu.Unlock()
	for _, client := range clients {
		if <-client.done; client.err == nil {
			client.value.Close()
		}
	}
	s.work.Wait()
}

// client returns the connections to a server.
func (s *servers) client(ctx context.Context, peer peer) (rueidis.Client, error) {
	s.mu.Lock()
	client := s.clients[peer]
	if client == nil {
		client = &making[rueidis.Client]{done: make(chan struct{})}
		if err := s.spawnLocked(func() { s.connect(peer, client) }); err != nil {
			s.mu.Unlock()
			return nil, err
		}
		s.clients[peer] = client
	}
	s.mu.Unlock()
	return client.wait(ctx)
}

func (s *servers) connect(peer peer, client *making[rueidis.Client]) {
	defer close(client.done)
	client.value, client.err = open(s.options(peer))
	if answer, _ := refusal(client.err); peer.sentinel && answer.credentials {
		// Sentinels often have no password, though their master has one.
		options := s.options(peer)
		options.AuthCredentialsFn = nil
		client.value, client.err = open(options)
	}
	if client.err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[peer] == client {
		delete(s.clients, peer)
	}
}

// open makes the first connection. One over which no answer to the login came in time was not made.
func open(options rueidis.ClientOption) (rueidis.Client, error) {
	client, err := rueidis.NewClient(options)
	if err != nil && client != nil {
		client.Close()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = &unconnected{err}
	}
	return client, err
}

// drop closes the connections to a server, unless others took their place. Those in use are closed after it.
func (s *servers) drop(peer peer, client rueidis.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.clients[peer]; held != nil && held.isDone() && held.value == client {
		delete(s.clients, peer)
		s.work.Go(client.Close)
	}
}

// options ask the client library for a pool of connections with one command at a time on each: so one that is slow, or
// whose answer is large, is in nobody's way. It is to keep nothing and to repeat nothing.
func (s *servers) options(peer peer) rueidis.ClientOption {
	options := rueidis.ClientOption{
		InitAddress:           []string{peer.address},
		ForceSingleClient:     true,
		DisableCache:          true,
		DisableRetry:          true,
		DisableAutoPipelining: true,
		BlockingPoolSize:      s.fetches,
		BlockingPoolCleanup:   30 * time.Second,
		PipelineMultiplex:     -1,
		RingScaleEachConn:     8,
		ReadBufferEachConn:    16 << 10,
		WriteBufferEachConn:   16 << 10,
		// Each command has a deadline that is earlier.
		ConnWriteTimeout: 2 * s.timeout,
		ClientSetInfo:    rueidis.DisableClientSetInfo,
		// Less than 0 also keeps the library from sending PINGs of its own. Ours is the dialer.
		Dialer:            net.Dialer{Timeout: s.timeout, KeepAlive: -1},
		AuthCredentialsFn: s.credentials,
		DialCtxFn: func(ctx context.Context, address string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return s.dial(ctx, address)
		},
	}
	if !peer.sentinel {
		options.SelectDB = s.place.database
	}
	return options
}

func (s *servers) credentials(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
	password, err := s.password()
	if err != nil {
		return rueidis.AuthCredentials{}, &unprepared{err}
	}
	return rueidis.AuthCredentials{Username: s.username, Password: password}, nil
}

// dial returns a *guard, or an *unconnected.
func (s *servers) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := s.dialPlain(ctx, address)
	if err != nil {
		return nil, &unconnected{err}
	}
	if !s.place.tls {
		return newGuard(conn), nil
	}
	config := s.tls.Clone()
	config.ServerName, _, _ = net.SplitHostPort(address)
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, &unconnected{errors.Join(err, conn.Close())}
	}
	return newGuard(secure), nil
}

func (s *servers) dialPlain(ctx context.Context, address string) (net.Conn, error) {
	if !s.place.allowed(address, s.plaintext) {
		return nil, errPlaintext
	}
	dialer := &net.Dialer{KeepAlive: 15 * time.Second}
	if s.place.socket {
		return dialer.DialContext(ctx, "unix", address)
	}
	return dialer.DialContext(ctx, "tcp", address)
}
