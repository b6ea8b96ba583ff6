package control

import (
	"context"
	"iter"
	"net/http"
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
	"hellogate/terminate/pool"
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
	Route(query sni.Query) (*terminate.Route, sni.Pattern, bool)
	Plan() *terminate.Plan
	// Walk yields those open connections that are wanted, the oldest first, and holds none of what it yields.
	Walk(wanted func(terminate.ConnectionInfo) bool) iter.Seq[terminate.ConnectionInfo]
	// Kill resets those open connections that are wanted, and returns what they were.
	Kill(wanted func(terminate.ConnectionInfo) bool) []terminate.ConnectionInfo
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
	Status() pool.Status
	// SetAdmin and SetWeight are about the server with a configured address. An error that wraps pool.ErrUnknownServer says
	// that there is none.
	SetAdmin(address string, to pool.Admin) error
	SetWeight(address string, weight int) error
}

// Options are the parts that a Server shows and drives.
type Options struct {
	Version      string
	Started      time.Time
	Certificates Certificates
	Traffic      Traffic
	Stores       func() []Store                // in the order in which they are asked; nil: there are none
	Watching     func() map[string]chain.Sight // of the stores that can tell of changes, by name; nil: none can
	ACME         func() []ACME                 // those of the stores that order by themselves; nil: there are none
	Permission   Permission                    // nil: nobody is asked
	Backends     func() []Pool                 // in the order of their names; nil: there are none
	Ready        func() bool                   // whether connections are accepted; nil: they are
	Draining     func() bool                   // nil: never
	LogDropped   func() uint64                 // nil: none
	Shutdown     func()                        // begins an orderly end; returns at once
	// Reload reads the configuration again; nil: there is no such request. Of an error that is config.Problems each is answered.
	Reload func() (ReloadResult, error)
	// Upgrade has a new process take over, and returns when it has or can't; nil: there is no such request. ctx is done when
	// whoever asked for it is gone. Its errors may wrap handover.ErrBusy or handover.ErrDone.
	Upgrade func(ctx context.Context) (pid int, err error)
	// Change begins a change of what an upgrade hands over, and end ends it. The error says why nothing may be changed now.
	// Nil: something always may.
	Change   func() (end func(), err error)
	Profiles bool              // serve those of the process under /debug/pprof/
	Events   http.Handler      // GET /events; nil: there are none
	Hooks    Hooks             // nil: no command is called
	Disk     func() DiskStatus // nil: there is no disk tier, and what is pinned does not survive a restart
	NoDisk   string            // why there is no disk tier although one is configured; empty: none is
	Log      zerolog.Logger

	RSASignatures       string        // what makes them
	RSASignaturesFailed func() uint64 // that it failed at and Go made; nil: none
}

// Server answers the control API.
type Server struct {
	options  Options
	troubles troubles
	orders   orderLooks
	totals   totals

	ending context.Context // done when Serve begins to end
	end    context.CancelFunc
}

// NewServer makes a Server; Serve runs it.
func NewServer(options Options) *Server {
	server := &Server{options: options}
	server.ending, server.end = context.WithCancel(context.Background())
	return server
}
