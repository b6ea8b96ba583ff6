// Package instance puts a load balancer together from a configuration and runs it.
//
// The rule it guards: what is opened is closed, in reverse order, whatever failed on the way; and Run returns
// when every goroutine that it started has ended.
package instance

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache"
	"hellogate/cache/disk"
	"hellogate/cache/permission"
	"hellogate/control"
	"hellogate/control/config"
	"hellogate/control/events"
	"hellogate/control/petersslers"
	"hellogate/store/chain"
	"hellogate/terminate"
	"hellogate/terminate/libcrypto"
)

// Options are what is not in the configuration.
type Options struct {
	Version    string
	StoreToken string // for the only HTTP store; it beats a token file
	// RedisPassword is for the only Redis store; it beats a password file.
	RedisPassword string
	Log           zerolog.Logger // events and the access log
	LogDropped    func() uint64  // lines that the log lost; nil: not known
	Profiles      bool           // the control socket serves those of the process
}

// Instance is a load balancer whose listeners and control socket are open.
type Instance struct {
	config  *config.Config
	options Options
	started time.Time

	stores     []guarded
	chain      *chain.Chain
	permission *permission.Permission // nil: none is asked
	disk       *disk.Tier             // nil: there is none
	noDisk     string                 // why there is none that is configured
	events     *events.Hub
	hooks      *events.Command     // nil: none is called
	peter      *petersslers.Server // nil: there is none
	backends   map[string]*terminate.Backend
	cache      *cache.Cache
	traffic    *terminate.Server
	control    *control.Server
	socket     *control.Socket
	listeners  []terminate.Listener

	closers []func() // in the order of opening
	life    context.Context
	end     context.CancelFunc // of life: begins the end of Run
}

// New opens all that config names, the control socket last, and asks no store for anything yet. Connections are
// accepted from when Run is called. Whoever doesn't call Run has to call Close.
func New(config *config.Config, options Options) (*Instance, error) {
	i := &Instance{config: config, options: options, started: time.Now()}
	i.life, i.end = context.WithCancel(context.Background())
	for _, open := range []func() error{
		i.openStores, i.openPermission, i.openDisk, i.openEvents, i.openCache,
		i.makeBackends, i.openListeners, i.makeTraffic, i.openPeterSSLers, i.openControl,
	} {
		if err := open(); err != nil {
			i.Close()
			return nil, err
		}
	}
	return i, nil
}

// Close closes what New opened, in reverse. Run does that itself.
func (i *Instance) Close() {
	i.end()
	for len(i.closers) > 0 {
		last := len(i.closers) - 1
		i.closers[last]()
		i.closers = i.closers[:last]
	}
}

func (i *Instance) closeLater(close func()) { i.closers = append(i.closers, close) }

// Addresses are where it listens, in the order of the configuration.
func (i *Instance) Addresses() []net.Addr {
	addresses := make([]net.Addr, 0, len(i.listeners))
	for _, listener := range i.listeners {
		addresses = append(addresses, listener.Addr())
	}
	return addresses
}

// Shutdown begins the end of Run, as the end of its context does. It may be called more than once.
func (i *Instance) Shutdown() { i.end() }

// Run serves until ctx is done or Shutdown is called, lets open connections end for as long as the drain
// timeout, and closes everything. The control socket answers until the last connection has ended.
func (i *Instance) Run(ctx context.Context) {
	defer i.Close()
	defer context.AfterFunc(ctx, i.end)()
	finish := i.runControl()
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { tendMemory(i.life) })
	background.Go(func() { i.prefetch(i.life) })
	background.Go(func() { i.servePeterSSLers(i.life) })
	i.logStart()
	// What a drain had to cut is said in the log. It is no failure: ending is what was asked for.
	err := i.traffic.Serve(i.life)
	finish()
	i.logEnd(err)
}

// runControl answers the control API until the function that it returns is called, which waits for its end.
func (i *Instance) runControl() (finish func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Without its control socket it goes on serving clients.
		if err := i.control.Serve(ctx, i.socket); err != nil {
			i.options.Log.Error().Err(err).Msg("control socket failed")
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (i *Instance) openControl() error {
	settings := i.config.Control
	socket, err := control.Listen(control.SocketOptions{Path: settings.Socket, Mode: settings.Mode, Group: settings.Group})
	if err != nil {
		return err
	}
	i.closeLater(func() { socket.Close() })
	i.socket = socket
	options := control.Options{
		Version:      i.options.Version,
		Started:      i.started,
		Certificates: i.cache,
		Traffic:      i.traffic,
		Stores:       i.storeStatuses(),
		Watching:     i.chain.Sights,
		Backends:     i.pools(),
		Fallback: control.Fallback{
			OnUnknown: i.config.Fallback.Serves(config.OnUnknown),
			OnFailure: i.config.Fallback.Serves(config.OnFailure),
			Backend:   i.config.Fallback.Backend,
		},
		Draining:   func() bool { return i.life.Err() != nil },
		LogDropped: i.options.LogDropped,
		Shutdown:   i.Shutdown,
		Profiles:   i.options.Profiles,
		Events:     i.events,
		Disk:       i.diskStatus(),
		NoDisk:     i.noDisk,
		Log:        i.options.Log,

		RSASignatures:       libcrypto.Describe(),
		RSASignaturesFailed: libcrypto.Failures,
	}
	// An interface that holds a nil pointer would not be nil.
	if i.permission != nil {
		options.Permission = i.permission
	}
	if i.hooks != nil {
		options.Hooks = i.hooks
	}
	i.control = control.NewServer(options)
	return nil
}

func (i *Instance) logStart() {
	for _, warning := range i.config.Warnings {
		i.options.Log.Warn().Str("note", warning).Msg("configuration")
	}
	event := i.options.Log.Info().Str("version", i.options.Version)
	event.Strs("listeners", i.addressTexts()).Strs("stores", i.storeNames()).Strs("backends", i.config.BackendNames())
	if i.options.Profiles {
		event.Bool("pprof", true)
	}
	event.Str("rsa_signatures", libcrypto.Describe())
	event.Str("control", i.config.Control.Socket).Int("connections", i.traffic.Limits.Connections).Msg("started")
}

func (i *Instance) logEnd(err error) {
	event := i.options.Log.Info()
	if err != nil {
		event = i.options.Log.Warn().Err(err)
	}
	event.Stringer("uptime", time.Since(i.started).Round(time.Second)).Msg("stopped")
}

func (i *Instance) addressTexts() []string {
	var texts []string
	for _, address := range i.Addresses() {
		texts = append(texts, address.String())
	}
	return texts
}

// describe says which setting an error is about.
func (i *Instance) describe(path string, err error) error {
	return fmt.Errorf("%s: %w", i.config.NameOf(path), err)
}
