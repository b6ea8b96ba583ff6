package instance

import (
	"context"
	"net"

	"hellogate/cache"
	"hellogate/control/events"
	"hellogate/control/petersslers"
	"hellogate/store"
)

// openEvents makes what passes on what happens to names: to those who listen, and to the command.
func (i *Instance) openEvents() error {
	settings := i.config.Hooks
	if len(settings.Command) == 0 {
		i.events = events.NewHub()
		return nil
	}
	options := events.CommandOptions{Argv: settings.Command, Timeout: settings.Timeout, Log: i.options.Log}
	for _, event := range settings.Events {
		options.Events = append(options.Events, string(event))
	}
	command, err := events.NewCommand(options)
	if err != nil {
		return i.describe("hooks.command", err)
	}
	i.hooks = command
	i.closeLater(command.Close)
	i.events = events.NewHub(command.Publish)
	return nil
}

// tell passes on what the cache tells.
func (i *Instance) tell(e cache.Event) {
	i.events.Publish(events.Event{
		Event: e.Event, Name: e.Name, Names: e.Names, Store: e.Store, Fingerprint: e.Fingerprint,
		KeyType: e.KeyType, NotAfter: e.NotAfter, Reason: e.Reason, Dropped: e.Dropped,
	})
}

// openPeterSSLers opens the listener for peter_sslers' requests.
func (i *Instance) openPeterSSLers() error {
	settings := i.config.Control.PeterSSLers
	if settings.Address == "" {
		return nil
	}
	var password func() (string, error)
	if settings.PasswordFile != "" {
		password = store.PasswordFile(settings.PasswordFile)
		if _, err := password(); err != nil {
			return i.describe("control.peter_sslers.password_file", err)
		}
	}
	handed, _ := i.inherited("tcp", settings.Address)
	listener, _ := handed.(*net.TCPListener)
	var err error
	i.peter, err = petersslers.Listen(petersslers.Options{
		Address:      settings.Address,
		Listener:     listener,
		Username:     settings.Username,
		Password:     password,
		Certificates: flushes{i.cache, i.change},
		Version:      i.options.Version,
		Log:          i.options.Log,
	})
	if err != nil {
		return i.describe("control.peter_sslers", err)
	}
	i.closeLater(func() { i.peter.Close() })
	return nil
}

func (i *Instance) servePeterSSLers(ctx context.Context) {
	if i.peter == nil {
		return
	}
	if err := i.peter.Serve(ctx); err != nil {
		i.options.Log.Error().Err(err).Msg("peter_sslers listener failed")
	}
}

// flushes is a cache that is not flushed while it is being handed over.
type flushes struct {
	*cache.Cache
	change func() (end func(), err error)
}

// Flush is the cache's.
func (f flushes) Flush(names ...string) (flushed, pinned []string, err error) {
	end, err := f.change()
	if err != nil {
		return nil, nil, err
	}
	defer end()
	return f.Cache.Flush(names...)
}

// FlushAll is the cache's.
func (f flushes) FlushAll() (flushed, pinned []string, err error) {
	end, err := f.change()
	if err != nil {
		return nil, nil, err
	}
	defer end()
	return f.Cache.FlushAll()
}
