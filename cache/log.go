package cache

import (
	"encoding/hex"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store"
)

// event is a line of the log that waits until no lock is held: writing it may take time.
type event struct {
	line    *zerolog.Event // nil: the level is off
	message string
}

func (c *Cache) say(line *zerolog.Event, message string) {
	if line != nil {
		c.events = append(c.events, event{line, message})
	}
}

// unlock lets go of mu and then writes what is to be logged, and tells what is to be told.
func (c *Cache) unlock() {
	said, told := c.events, c.told
	c.events, c.told = nil, nil
	c.mu.Unlock()
	for _, e := range said {
		e.line.Msg(e.message)
	}
	for _, e := range told {
		c.options.Event(e)
	}
}

// sayFetched logs an answer. renewed: it is what was held. fetched: something was, for that very name.
func (c *Cache) sayFetched(f *flight, next *held, got answer, renewed, fetched bool) {
	name := f.request.Name
	for _, refused := range got.refused {
		c.say(c.options.Log.Warn().Str("name", name).Str("store", got.bundle.Store).AnErr("reason", refused), "cache: one of several certificates refused")
	}
	if renewed {
		c.say(c.options.Log.Debug().Str("name", name).Str("store", got.bundle.Store), "cache: unchanged")
		return
	}
	for _, remark := range got.remarks {
		c.say(c.options.Log.Warn().Str("name", name).Str("store", got.bundle.Store).Str("reason", remark), "cache: odd certificate")
	}
	kind := EventFetched
	if fetched {
		kind = EventRenewed
	}
	c.tell(eventOf(kind, f.key, next, ""))
	first := next.pairs[0]
	c.say(c.options.Log.Info().Str("name", name).Str("store", got.bundle.Store).
		Str("fingerprint", hex.EncodeToString(first.fingerprint[:])).Str("key_type", first.keyType.Value()).
		Time("not_after", time.Unix(next.notAfter, 0).UTC()).Bool("refresh", f.entry != nil), "cache: fetched")
}

// sayFailed logs a failure: of what is held, or of what nobody is served.
func (c *Cache) sayFailed(f *flight, found *entry, got answer) {
	var failure *store.Failure
	level := zerolog.WarnLevel
	if !errors.As(got.err, &failure) || !failure.CutOff { // of which there may be very many, and nothing was tried
		c.tell(Event{Event: EventFailed, Name: f.request.Name, Reason: got.err.Error()})
	}
	switch {
	case errors.Is(got.err, errPermission) && !c.permissionSaid.due(got.now):
		level = zerolog.DebugLevel // it goes for every name
	case errors.Is(got.err, store.ErrToken):
		level = zerolog.ErrorLevel // it goes for every name, until somebody mends the configuration
	case errors.As(got.err, &failure) && failure.CutOff:
		level = zerolog.DebugLevel // the breaker said so once, for all
	}
	line := c.options.Log.WithLevel(level).Str("name", f.request.Name)
	if got.bundle != nil {
		line = line.Str("store", got.bundle.Store)
	}
	line = line.AnErr("reason", got.err)
	switch {
	case got.bundle != nil && found != nil:
		c.say(line, "cache: bad certificate refused, the old one is kept")
	case got.bundle != nil:
		c.say(line, "cache: bad certificate refused")
	case found != nil:
		c.say(line, "cache: refresh failed, the old certificate is kept")
	default:
		c.say(line, "cache: fetch failed")
	}
}

func (c *Cache) sayUnknown(f *flight, got answer) {
	c.say(c.options.Log.Debug().Str("name", f.request.Name).AnErr("reason", got.err), "cache: unknown name")
}

func (c *Cache) sayWithdrawn(found *entry, got answer) {
	c.tell(eventOf(EventWithdrawn, found.key, found.held.Load(), got.err.Error()))
	c.say(c.options.Log.Warn().Str("name", found.name()).Str("store", found.held.Load().store.Value()).
		AnErr("reason", got.err).Dur("drop_after_ms", c.options.WithdrawAfter), "cache: withdrawn, still served")
}

func (c *Cache) sayDropped(found *entry, got answer) {
	dropped := eventOf(EventWithdrawn, found.key, found.held.Load(), got.err.Error())
	dropped.Dropped = true
	c.tell(dropped)
	c.say(c.options.Log.Warn().Str("name", found.name()).Str("store", found.held.Load().store.Value()).
		AnErr("reason", got.err), "cache: withdrawn, dropped")
}

func (c *Cache) sayAliasDropped(found *entry, got answer) {
	c.say(c.options.Log.Info().Str("name", found.name()).Str("alias_of", found.held.Load().owner.name()).
		AnErr("reason", got.err), "cache: alias dropped")
}

func (c *Cache) sayExpired(found *entry) {
	c.say(c.options.Log.Warn().Str("name", found.name()).Str("store", found.held.Load().store.Value()).
		Str("reason", found.held.Load().troubled().err), "cache: certificate expired")
}

func (c *Cache) sayGuard() {
	if c.guard.stopped {
		c.say(c.options.Log.Error().Str("reason", "more than 5 % of the refreshes of the last 10 minutes were answered no"),
			"cache: does the store still have its data? no name is dropped")
		return
	}
	c.say(c.options.Log.Info(), "cache: the store knows its names again, withdrawn ones are dropped")
}

func (c *Cache) sayExpiring(key string, h *held, left time.Duration, reason string) {
	c.tell(eventOf(EventExpiring, key, h, reason))
	line := c.options.Log.Warn().Str("name", hostOf(key)).Str("store", h.store.Value()).Str("expires_in", roughly(left))
	if reason != "" { // there is none for what is pinned, nor for what the store goes on giving
		line = line.Str("reason", reason)
	}
	c.say(line, "cache: certificate about to expire, no newer one is known")
}

func (c *Cache) sayPinned(name string, h *held) {
	c.tell(eventOf(EventFetched, name, h, ""))
	first := h.pairs[0]
	c.say(c.options.Log.Info().Str("name", name).Str("fingerprint", hex.EncodeToString(first.fingerprint[:])).
		Time("not_after", time.Unix(h.notAfter, 0).UTC()), "cache: pinned by hand")
}

func (c *Cache) sayUnpinned(name string) {
	c.say(c.options.Log.Info().Str("name", name), "cache: pin removed")
}
