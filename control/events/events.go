// Package events tells whoever listens what happens to certificates: streams of JSON lines, and a command.
//
// The rule it guards: nobody who listens can delay what happens. Publishing never waits; who is too slow loses events, and
// is told how many.
package events

import (
	"slices"
	"time"
)

// The kinds of events.
const (
	// Fetched: a name that had no certificate has one.
	Fetched = "fetched"
	// Renewed: a name has another certificate than before.
	Renewed = "renewed"
	// Withdrawn: the store knows a name no more that has a certificate.
	Withdrawn = "withdrawn"
	// Expiring: a certificate is near its end and could not be replaced.
	Expiring = "expiring"
	// Failed: a name's certificate could not be had.
	Failed = "failed"
	// Flushed: names were removed from the cache.
	Flushed = "flushed"
	// ACMERenewing, and what follows, are of a store that orders certificates, with mod_md's names: an order begins.
	ACMERenewing = "acme_renewing"
	// ACMEChallengeSetup: what a CA is going to look for is there.
	ACMEChallengeSetup = "acme_challenge_setup"
	// ACMERenewed: an order ended with a certificate.
	ACMERenewed = "acme_renewed"
	// ACMEInstalled: it is in effect.
	ACMEInstalled = "acme_installed"
	// ACMEExpiring: a certificate is near its end, and the orders for another failed.
	ACMEExpiring = "acme_expiring"
	// ACMEErrored: an order failed.
	ACMEErrored = "acme_errored"
	// ACMERevoked: a certificate was revoked.
	ACMERevoked = "acme_revoked"
	// Dropped is for a subscriber alone: it was too slow and lost Count events that came before this one.
	Dropped = "dropped"
)

// Kinds are all that may be published.
func Kinds() []string {
	return []string{
		Fetched, Renewed, Withdrawn, Expiring, Failed, Flushed,
		ACMERenewing, ACMEChallengeSetup, ACMERenewed, ACMEInstalled, ACMEExpiring, ACMEErrored, ACMERevoked,
	}
}

// maxNames is how many names an event tells at most.
const maxNames = 1000

// Event is something that happened to the certificates of one name, or of several. What is empty is left out of its JSON.
type Event struct {
	// Time is when it happened; zero: when it was published.
	Time  time.Time `json:"time"`
	Event string    `json:"event"`
	// Name is the name that it happened to; "" with Names.
	Name string `json:"name,omitempty"`
	// Names are those that it happened to at once, the first 1,000; More is how many there are besides.
	Names []string `json:"names,omitempty"`
	More  int      `json:"more,omitempty"`
	// Store is the name of the store that answered, or that should have.
	Store string `json:"store,omitempty"`
	// Fingerprint is the SHA-256 of the certificate, in hex; KeyType is "ecdsa-p256", "rsa-2048" and the like.
	Fingerprint string    `json:"fingerprint_sha256,omitempty"`
	KeyType     string    `json:"key_type,omitempty"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	// Dropped, of one that is Withdrawn: it was served until now, and is no more.
	Dropped bool `json:"dropped,omitempty"`
	// Reason is why, in words.
	Reason string `json:"reason,omitempty"`
	// Count is how many events were Dropped.
	Count int `json:"count,omitempty"`
}

// finished is the event as it is told: with a time, and no longer than it may be.
func (e Event) finished(now time.Time) Event {
	if e.Time.IsZero() {
		e.Time = now
	}
	e.Time, e.NotAfter = e.Time.UTC().Truncate(time.Millisecond), e.NotAfter.UTC()
	if more := len(e.Names) - maxNames; more > 0 {
		e.More += more
		e.Names = e.Names[:maxNames]
	}
	e.Names = slices.Clone(e.Names) // the caller may go on to use its own
	return e
}

// cost is about what an event takes in memory.
func (e Event) cost() int {
	const fixed, slot = 320, 16
	bytes := fixed + len(e.Name) + len(e.Store) + len(e.Fingerprint) + len(e.Reason)
	for _, name := range e.Names {
		bytes += slot + len(name)
	}
	return bytes
}
