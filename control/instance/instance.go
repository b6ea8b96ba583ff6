// Package instance puts a load balancer together from a configuration and runs it.
//
// The rule it guards: what is opened is closed, in reverse order, whatever failed on the way; and Run returns
// when every goroutine that it started has ended.
package instance

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache"
	"hellogate/cache/permission"
	"hellogate/control"
	"hellogate/control/config"
	"hellogate/control/events"
	"hellogate/control/handover"
	"hellogate/control/petersslers"
	"hellogate/control/systemd"
	"hellogate/store/chain"
	"hellogate/terminate"
	"hellogate/terminate/libcrypto"
	"hellogate/terminate/tickets"
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
	// Load reads the configuration again; nil: there is no file to read.
	Load func() (*config.Config, error)
	// Relevel has the log take lines from this level on; nil: that can't be changed.
	Relevel func(level string) error
	// Program is what an upgrade starts; the zero value: there are none.
	Program handover.Program
	// Inherited is what the process before handed over, Sockets what a service manager did; nil: nothing.
	Inherited *handover.Inherited
	Sockets   *handover.Sockets
	// Notifier tells a service manager; nil: there is none.
	Notifier *systemd.Notifier
}

// Instance is a load balancer whose listeners and control socket are open.
type Instance struct {
	config  *config.Config
	options Options
	started time.Time

	stores      *stores // those that the chain asks
	chain       *chain.Chain
	retire      func(unused <-chan struct{}, gone []*guarded) // closes stores in time
	retired     sync.WaitGroup                                // until that is done
	permission  *permission.Permission                        // nil: none is asked
	disk        *tier                                         // nil: there is none
	noDisk      string                                        // why there is none that is configured
	events      *events.Hub
	hooks       *events.Command     // nil: none is called
	peter       *petersslers.Server // nil: there is none
	plane       atomic.Pointer[plane]
	checking    map[string]checker // by the backend's name
	rotating    map[*tickets.Keys]runner
	prefetching []runner
	proving     map[string]runner // on the listeners for HTTP-01, by address
	cache       *cache.Cache
	names       names // the cache, as connections ask it
	traffic     *terminate.Server
	control     *control.Server
	socket      *control.Socket
	reads       *control.Socket // for reading alone; nil: there is none
	admin       net.Listener    // for monitoring; nil: there is none

	upgrader   *handover.Upgrader
	upgrading  sync.Mutex   // held during an upgrade, and from the end of Run on
	changes    sync.RWMutex // read-locked while what is handed over changes, locked while it is being handed over
	serving    atomic.Bool  // connections are accepted, or were
	handedOver atomic.Bool  // another process has taken over
	stopped    atomic.Bool  // somebody wants it to end

	changing sync.Mutex // held while what is in use changes

	closers      []func() // in the order of opening
	certificates int      // how many of them are about where certificates come from
	life         context.Context
	end          context.CancelFunc // of life: begins the end of Run
	watched      context.Context
	stopWatch    context.CancelFunc // of watched: the service manager is not told any more that all is well
}

// New opens all that config names, the control socket last, and asks no store for anything yet. What another process hands
// over it asks for when the stores are open, and takes what config names of that. Connections are accepted from when Run is
// called. Whoever doesn't call Run has to call Close.
func New(config *config.Config, options Options) (*Instance, error) {
	i := &Instance{
		config: config, options: options, started: time.Now(),
		checking: map[string]checker{}, rotating: map[*tickets.Keys]runner{}, proving: map[string]runner{},
	}
	i.life, i.end = context.WithCancel(context.Background())
	i.watched, i.stopWatch = context.WithCancel(context.Background())
	i.makeUpgrader()
	for _, open := range []func() error{
		// What is handed over, the other process lets go of: the less fails after that, the better.
		i.openStores, i.openPermission, i.openEvents, i.options.Inherited.Receive, i.openDisk, i.openCache,
		i.openTraffic, i.openPeterSSLers, i.openAdmin, i.openReads, i.openControl,
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
	i.stopWatch()
	i.closeDownTo(0)
}

// closeDownTo closes what was opened behind the first so many.
func (i *Instance) closeDownTo(first int) {
	for len(i.closers) > first {
		last := len(i.closers) - 1
		i.closers[last]()
		i.closers = i.closers[:last]
	}
}

func (i *Instance) closeLater(close func()) { i.closers = append(i.closers, close) }

// Addresses are where it listens, in the order of the configuration.
func (i *Instance) Addresses() []net.Addr {
	listeners := i.plane.Load().plan.Listeners
	addresses := make([]net.Addr, 0, len(listeners))
	for _, listener := range listeners {
		addresses = append(addresses, listener.Socket.Addr())
	}
	return addresses
}

// openControl opens the control socket.
func (i *Instance) openControl() (err error) {
	settings := i.config.Control
	options := control.SocketOptions{Path: settings.Socket, Mode: settings.Mode, Group: settings.Group}
	if i.socket, err = i.openSocket(options, controlLock); err != nil {
		return err
	}
	i.control = control.NewServer(i.controlOptions())
	return nil
}

func (i *Instance) controlOptions() control.Options {
	options := control.Options{
		Version:      i.options.Version,
		Started:      i.started,
		Certificates: i.cache,
		Traffic:      i.traffic,
		Stores:       i.storeStatuses,
		Watching:     i.chain.Sights,
		ACME:         i.orderStores,
		Backends:     i.poolsByName,
		Ready:        i.serving.Load,
		Reload:       i.Reload,
		Upgrade:      i.Upgrade,
		Change:       i.change,
		Draining:     i.draining,
		LogDropped:   i.options.LogDropped,
		Shutdown:     i.Shutdown,
		Profiles:     i.options.Profiles,
		Events:       i.events,
		Disk:         i.diskStatus(),
		NoDisk:       i.noDisk,
		Log:          i.options.Log,

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
	return options
}

func (i *Instance) logStart() {
	for _, warning := range i.config.Warnings {
		i.options.Log.Warn().Str("note", warning).Msg("configuration")
	}
	event := i.options.Log.Info().Str("version", i.options.Version).Int("pid", os.Getpid()).Bool("took_over", i.options.Inherited != nil)
	event.Strs("listeners", i.addressTexts()).Strs("stores", i.plane.Load().stores.names()).Strs("backends", i.config.BackendNames())
	if i.options.Profiles {
		event.Bool("pprof", true)
	}
	event.Str("rsa_signatures", libcrypto.Describe())
	event.Str("control", i.config.Control.Socket).Int("connections", i.traffic.Plan().Limits.Connections).Msg("started")
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
func (i *Instance) describe(path string, err error) error { return describe(i.config, path, err) }

func describe(config *config.Config, path string, err error) error {
	return fmt.Errorf("%s: %w", config.NameOf(path), err)
}
