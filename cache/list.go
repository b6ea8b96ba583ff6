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
	Source      string // fetched
	AliasOf     string // the name that it was fetched for, when it is another
	FetchedAt   time.Time
	RefetchAt   time.Time // when the store is asked next; of an alias that was not used yet, when its owner's lifetime ends
	NotAfter    time.Time // when the first of its pairs expires
	LastError   string    // of the last attempt to fetch it again, empty when that went well
	Withdrawn   bool      // the store says that it does not know the name any more
}

// Show returns what is known of a name, if it has a certificate.
func (c *Cache) Show(name string) (Info, bool) {
	found, _ := c.index.find(name)
	if found == nil {
		return Info{}, false
	}
	return c.info(found)
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
		Name:        found.name,
		Names:       strings.Fields(first.names),
		Issuer:      first.issuer.Value(),
		Fingerprint: hex.EncodeToString(first.fingerprint[:]),
		KeyType:     first.keyType.Value(),
		Store:       held.store.Value(),
		Source:      "fetched",
		FetchedAt:   now.at(held.fetched),
		RefetchAt:   now.at(asked),
		NotAfter:    time.Unix(held.notAfter, 0),
		LastError:   troubled.err,
		Withdrawn:   troubled.withdrawn,
	}
	if held.owner != nil {
		info.AliasOf = held.owner.name
	}
	return info, true
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
