package cache

import (
	"encoding/hex"
	"time"
)

// The events that a Cache tells of names.
const (
	EventFetched   = "fetched"   // a name has a certificate for the first time, or again
	EventRenewed   = "renewed"   // a name has another certificate than before
	EventWithdrawn = "withdrawn" // the store denies a name that is served; with Dropped set it is served no more
	EventExpiring  = "expiring"  // a certificate is about to expire, and there is no newer one
	EventFailed    = "failed"    // a name could not be fetched
	EventFlushed   = "flushed"   // names were flushed
)

// Event is something that happened to a name.
type Event struct {
	Event       string
	Name        string
	Names       []string // that were flushed
	Store       string
	Fingerprint string
	KeyType     string
	NotAfter    time.Time
	Reason      string // why it failed, or was denied
	Dropped     bool
}

// tell has an event told once no lock is held.
func (c *Cache) tell(e Event) {
	if c.options.Event != nil {
		c.told = append(c.told, e)
	}
}

// eventOf is an event about what a name holds.
func eventOf(kind, key string, h *held, reason string) Event {
	first := h.pairs[0]
	return Event{
		Event:       kind,
		Name:        hostOf(key),
		Store:       h.store.Value(),
		Fingerprint: hex.EncodeToString(first.fingerprint[:]),
		KeyType:     first.keyType.Value(),
		NotAfter:    time.Unix(h.notAfter, 0).UTC(),
		Reason:      reason,
	}
}
