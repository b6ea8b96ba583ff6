package instance

import (
	"github.com/rs/zerolog"

	"hellogate/terminate"
)

// openTraffic opens the listeners, on which nobody is accepted yet, and all that their connections need.
func (i *Instance) openTraffic() error {
	first, err := i.newPlane(i.config, nil)
	if err != nil {
		return err
	}
	i.closeLater(func() {
		for _, listener := range i.plane.Load().plan.Listeners {
			_ = listener.Socket.Close() // in vain once it was served
		}
	})
	i.traffic = terminate.New(terminate.Options{Certificates: &i.names, Challenges: proofs{&i.plane}, Log: i.options.Log, Access: i.accessLog()}, first.plan)
	i.closeLater(i.stopTraffic)
	i.takeServers(first)
	return i.use(first)
}

// stopTraffic ends what runs beside the connections.
func (i *Instance) stopTraffic() {
	i.changing.Lock()
	defer i.changing.Unlock()
	i.plane.Load().stop()
	i.stopPrefetch()
	for _, running := range i.checking {
		running.stop()
	}
	for _, running := range i.rotating {
		running.stop()
	}
	for _, running := range i.proving {
		running.stop()
	}
	for _, p := range i.plane.Load().pools {
		p.Close()
	}
}

// accessLog has its lines whatever the level of the log: access: false is how they are turned off.
func (i *Instance) accessLog() *zerolog.Logger {
	if !i.config.Log.Access {
		return nil
	}
	access := i.options.Log.Sample(nil).Level(zerolog.InfoLevel)
	return &access
}
