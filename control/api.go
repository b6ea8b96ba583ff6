package control

import (
	"context"
	"errors"
	"iter"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hellogate/breaker"
	"hellogate/cache"
	"hellogate/cache/permission"
	"hellogate/control/events"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/chain"
	"hellogate/terminate"
)

// Bounds on what the other end of the socket can make us hold or wait for.
const (
	ConnectionLimit = 64 // connections at once; more wait to be accepted
	headerBytes     = 16 << 10
	bodyBytes       = 4 << 20
	headerTimeout   = 2 * time.Second
	readTimeout     = 10 * time.Second
	writeTimeout    = 10 * time.Second // of one write, for what is streamed
	idleTimeout     = 15 * time.Second
	closeTimeout    = 2 * time.Second
)

// Certificates is what is asked of the cache.
type Certificates interface {
	Show(name string) (cache.Info, bool)
	All() iter.Seq[cache.Info]
	Sample(count int) []cache.Info
	Stats() cache.Stats
	Flush(names ...string) (flushed, pinned []string, err error)
	FlushAll() (flushed, pinned []string, err error)
	FlushPattern(pattern sni.Pattern) (flushed, pinned []string, err error)
	FlushFingerprint(fingerprint [32]byte) (flushed, pinned []string, err error)
	Pin(name string, pairs []store.Pair) error
	Unpin(name string) (removed bool, err error)
	Prefetch(ctx context.Context, name string) (result, reason string)
	Explain(name string) []cache.Step
}

// Traffic is what is asked of the data path.
type Traffic interface {
	Stats() terminate.Stats
	Route(name string, protocols []string) (*terminate.Route, sni.Pattern, bool)
}

// Store is a store behind its breaker.
type Store interface {
	Status() breaker.Status
	// Takes reports whether it is asked for a name.
	Takes(name string) bool
}

// Permission is the endpoint that is asked before any store, behind its breaker.
type Permission interface {
	Status() breaker.Status
	Stats() permission.Stats
}

// Hooks is the command that is called for events.
type Hooks interface{ Stats() events.CommandStats }

// Pool is a backend.
type Pool interface {
	Status() terminate.BackendStatus
}

// Options are the parts that a Server shows and drives.
type Options struct {
	Version      string
	Started      time.Time
	Certificates Certificates
	Traffic      Traffic
	Stores       []Store                       // in the order in which they are asked
	Watching     func() map[string]chain.Sight // of the stores that can tell of changes, by name; nil: none can
	Permission   Permission                    // nil: nobody is asked
	Backends     []Pool
	Fallback     Fallback
	Draining     func() bool       // nil: never
	LogDropped   func() uint64     // nil: none
	Shutdown     func()            // begins an orderly end; returns at once
	Profiles     bool              // serve those of the process under /debug/pprof/
	Events       http.Handler      // GET /events; nil: there are none
	Hooks        Hooks             // nil: no command is called
	Disk         func() DiskStatus // nil: there is no disk tier, and what is pinned does not survive a restart
	NoDisk       string            // why there is no disk tier although one is configured; empty: none is
	Log          zerolog.Logger

	RSASignatures       string        // what makes them
	RSASignaturesFailed func() uint64 // that it failed at and Go made; nil: none
}

// Server answers the control API.
type Server struct {
	options  Options
	routes   *http.ServeMux
	troubles troubles
	handlers sync.WaitGroup

	ending context.Context // done when Serve begins to end
	end    context.CancelFunc
}

// NewServer makes a Server; Serve runs it.
func NewServer(options Options) *Server {
	server := &Server{options: options}
	server.ending, server.end = context.WithCancel(context.Background())
	server.routes = server.mux()
	return server
}

// Serve answers on listener until ctx is done. It closes listener, gives requests under way two seconds,
// and returns when every one has ended.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	defer s.end()
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler:           s,
		MaxHeaderBytes:    headerBytes,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      3 * writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          log.New(s.options.Log.With().Str("part", "control").Logger(), "", 0),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withPeer,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(limit(listener, ConnectionLimit)) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		s.end()
		err = s.shutdown(server)
		<-served
	}
	cancel()
	server.Close()
	s.handlers.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

func (s *Server) shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
