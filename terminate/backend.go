package terminate

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"hellogate/terminate/proxyproto"
	"hellogate/terminate/socket"
)

// BackendOptions is what a Backend is made of.
type BackendOptions struct {
	Name           string
	Servers        []string // host:port, at least one
	SendProxy      proxyproto.Version
	TLVs           []proxyproto.TLV
	ConnectTimeout time.Duration // for each server tried
	Retries        int           // how many further servers are tried
}

// Backend is a pool of servers, asked in turn.
type Backend struct {
	BackendOptions
	servers []*server
	turn    *atomic.Uint64
	permit  func(netip.Addr) bool // nil: all addresses
}

// server is one address of a backend, with what is known of it.
type server struct {
	address  string
	open     atomic.Int64 // connections
	failures atomic.Uint64
	failed   atomic.Pointer[string] // the last dial's error; nil: it succeeded, or there was none
}

// NewBackend returns a Backend.
func NewBackend(options BackendOptions) *Backend {
	b := &Backend{BackendOptions: options, turn: new(atomic.Uint64)}
	for _, address := range options.Servers {
		b.servers = append(b.servers, &server{address: address})
	}
	return b
}

// BackendStatus is a backend's state.
type BackendStatus struct {
	Name    string
	Servers []ServerStatus
}

// ServerStatus is a server's state.
type ServerStatus struct {
	Address     string
	State       string // up, or down when the last dial failed
	Weight      int
	Connections int64
	Failures    uint64 // dials that failed
	LastError   string // of the last dial; empty when it succeeded
}

// Status returns the backend's state.
func (b *Backend) Status() BackendStatus {
	status := BackendStatus{Name: b.Name}
	for _, s := range b.servers {
		state := ServerStatus{Address: s.address, State: "up", Weight: 1, Connections: s.open.Load(), Failures: s.failures.Load()}
		if failed := s.failed.Load(); failed != nil {
			state.State, state.LastError = "down", *failed
		}
		status.Servers = append(status.Servers, state)
	}
	return status
}

// dial connects to the next server in turn, or on failure to the one after it. The error says which were tried and why
// each failed. The caller closes the connection and then calls the server's release.
func (b *Backend) dial(ctx context.Context, by dialer) (socket.Conn, *server, error) {
	first := int((b.turn.Add(1) - 1) % uint64(len(b.servers)))
	var tried []string
	for i := range min(1+b.Retries, len(b.servers)) {
		s := b.servers[(first+i)%len(b.servers)]
		conn, err := s.dial(ctx, by, socket.Target{Address: s.address, Within: b.ConnectTimeout, Permit: b.permit})
		if err == nil {
			return conn, s, nil
		}
		tried = append(tried, err.Error())
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, fmt.Errorf("backend %s: %s", b.Name, strings.Join(tried, "; "))
}

// dialer connects for a client's strand.
type dialer func(ctx context.Context, to socket.Target) (socket.Conn, error)

func (s *server) dial(ctx context.Context, by dialer, to socket.Target) (socket.Conn, error) {
	conn, err := by(ctx, to)
	if err != nil {
		text := err.Error()
		s.failures.Add(1)
		s.failed.Store(&text)
		return nil, err
	}
	if s.failed.Load() != nil {
		s.failed.Store(nil)
	}
	s.open.Add(1)
	return conn, nil
}

func (s *server) release() { s.open.Add(-1) }
