package instance

import (
	"time"

	"hellogate/control/config"
	"hellogate/terminate/tickets"
)

// keySource is where session ticket keys come from.
type keySource struct {
	file   string
	rotate time.Duration
}

// ticketKeys are a route's session ticket keys, which routes with the same source share; nil: it has no tickets.
func (i *Instance) ticketKeys(p *plane, settings config.SessionTickets) (*tickets.Keys, error) {
	if settings.Enabled != config.SwitchOn {
		return nil, nil
	}
	source := keySource{file: settings.KeyFile, rotate: settings.Rotate}
	if source.file != "" {
		source.rotate = 0
	}
	if p.keys[source] == nil && p.before != nil {
		p.keys[source] = p.before.keys[source]
	}
	if p.keys[source] == nil {
		made, err := tickets.New(tickets.Options{
			File: source.file, Rotate: source.rotate, Inherited: i.inheritedKeys(p, source), Report: i.sayKeys(source.file),
		})
		if err != nil {
			return nil, err
		}
		p.keys[source] = made
	}
	return p.keys[source], nil
}

// inheritedKeys are the keys of the configuration before, where only how they are rotated changed.
func (i *Instance) inheritedKeys(p *plane, source keySource) []byte {
	if p.before == nil {
		return i.takenKeys(source)
	}
	for other, keys := range p.before.keys {
		if other.file == source.file {
			return keys.Export()
		}
	}
	return nil
}

func (i *Instance) sayKeys(file string) func(error) {
	return func(err error) {
		if err != nil {
			i.options.Log.Error().Str("file", file).Err(err).Msg("session ticket keys")
			return
		}
		i.options.Log.Info().Str("file", file).Msg("session ticket keys: read again")
	}
}

// runKeys begins to rotate new keys, and ends that of those that went.
func (i *Instance) runKeys(next *plane) {
	for keys, running := range i.rotating {
		if !next.has(keys) {
			running.stop()
			delete(i.rotating, keys)
		}
	}
	for _, keys := range next.keys {
		if _, runs := i.rotating[keys]; !runs {
			i.rotating[keys] = run(i.life, keys.Run)
		}
	}
}

func (p *plane) has(keys *tickets.Keys) bool {
	for _, own := range p.keys {
		if own == keys {
			return true
		}
	}
	return false
}
