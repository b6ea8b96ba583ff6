package cache

import (
	"encoding/hex"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Info is what is known of a name that has a certificate. Never its key.
type Info struct {
	Name        string
	Names       []string // that the certificate is for
	Issuer      string
	Fingerprint string // SHA-256 of the certificate, in hex
	KeyType     string // ecdsa-p256, rsa-2048, ed25519, ...; of two pairs, the one that most clients get
	Store       string // that it was fetched from
	Source      string // fetched, pinned, or disk: fetched by an earlier process and not asked for since
	AliasOf     string // the name that it was fetched for, when it is another
	FetchedAt   time.Time
	RefetchAt   time.Time // when the store is asked next, zero for never; of an alias that was not used yet, when its owner's lifetime ends
	NotAfter    time.Time // when the first of its pairs expires
	LastError   string    // of the last attempt to fetch it again, empty when that went well
	Withdrawn   bool      // the store says that it does not know the name any more
	Expiring    bool      // it is in the last tenth of its life, and no newer one was found
	Took        time.Duration
	// SecondKeyType is that of the pair for clients that can't use the first; empty: there is none.
	SecondKeyType string
	// WithoutECDSA: this is what clients get that can't use ECDSA; another Info is of what the others get.
	WithoutECDSA bool
	// Remarks say what is odd about the certificate.
	Remarks []string
	// Routing is where the store wants connections to go; nil: it does not say.
	Routing *Routing
}

// Show returns what is known of a name, if it has a certificate; of a name that a wildcard answers for, what is known of
// the wildcard.
func (c *Cache) Show(name string) (Info, bool) {
	c.loadKey(name)
	for _, key := range []string{name, keyOf(name, true)} {
		if found, _ := c.index.find(key); found != nil {
			return c.info(found)
		}
	}
	return c.showWildcard(name)
}

func (c *Cache) info(found *entry) (Info, bool) {
	c.mu.Lock()
	held := found.held.Load()
	asked, planned := c.schedule.when(found)
	c.unlock()
	now := c.clock.now()
	if held == nil || held.expired(now) {
		return Info{}, false
	}
	if !planned {
		asked = held.stale
	}
	first := held.pairs[0]
	troubled := held.troubled()
	info := Info{
		Name:        found.name(),
		Names:       strings.Fields(first.names()),
		Issuer:      first.issuer.Value(),
		Fingerprint: hex.EncodeToString(first.fingerprint[:]),
		KeyType:     first.keyType.Value(),
		Store:       held.store.Value(),
		Source:      held.source(),
		FetchedAt:   now.at(held.fetched),
		RefetchAt:   now.at(asked),
		NotAfter:    time.Unix(held.notAfter, 0),
		LastError:   troubled.err,
		Withdrawn:   troubled.withdrawn,
		Expiring:    troubled.warned != 0,
		Took:        time.Duration(held.took) * time.Microsecond,
		Remarks:     first.odd.remarks(),
		Routing:     held.routing,

		WithoutECDSA: isLegacy(found.key),
	}
	if held.owner != nil {
		info.AliasOf = held.owner.name()
	}
	if held.pinned() {
		info.RefetchAt = time.Time{}
	}
	if second := held.pairs[1]; second != nil {
		info.SecondKeyType = second.keyType.Value()
		info.Remarks = append(info.Remarks, second.odd.remarks()...)
	}
	return info, true
}

func (h *held) source() string {
	switch {
	case h.pinned():
		return "pinned"
	case h.kind&kindDisk != 0:
		return "disk"
	}
	return "fetched"
}

// All yields all names that have a certificate, in no order. No lock is held while it yields; names that come and go
// meanwhile may be missed.
func (c *Cache) All() iter.Seq[Info] { return c.from(0) }

func (c *Cache) from(shard int) iter.Seq[Info] {
	return func(yield func(Info) bool) {
		for found := range c.index.all(shard) {
			if info, ok := c.info(found); ok && !yield(info) {
				return
			}
		}
	}
}

// Sample returns up to count of the names that have a certificate, sorted.
func (c *Cache) Sample(count int) []Info {
	sample := make([]Info, 0, min(max(count, 0), 1024))
	for info := range c.from(rand.N(shards)) {
		if len(sample) >= count {
			break
		}
		sample = append(sample, info)
	}
	slices.SortFunc(sample, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return sample
}

// Unknown returns up to count of the names that a store's no is remembered of, sorted.
func (c *Cache) Unknown(count int) []string {
	c.mu.Lock()
	defer c.unlock()
	names := make([]string, 0, min(max(count, 0), len(c.unknown.byName)))
	for key := range c.unknown.byName {
		if len(names) >= count {
			break
		}
		names = append(names, hostOf(key))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
