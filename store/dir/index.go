package dir

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxSANs bounds the names in an index. They take about 200 bytes each.
const maxSANs = 4 << 20

var errTooManySANs = fmt.Errorf("its certificates have more than %d names besides those of their files: no name can be ruled out", maxSANs)

// index says which certificate has which SAN. A SAN that is the name of the certificate's own files is left out: it is
// found without.
type index struct {
	mu       sync.Mutex
	entries  map[place]*entry
	bySAN    map[string][]*entry
	sans     int
	tooMany  bool
	complete bool          // it has been whole once
	ready    chan struct{} // closed while it is whole
	round    int
}

// entry is what is kept of a certificate.
type entry struct {
	place    place
	sans     []string // sorted
	notAfter time.Time
	round    int // in which it was last seen
}

func newIndex() *index {
	return &index{entries: make(map[place]*entry), bySAN: make(map[string][]*entry), ready: make(chan struct{})}
}

// lookup returns the places of certificates with the san. It waits while the index is being made; closed ends that, too.
func (i *index) lookup(ctx context.Context, closed <-chan struct{}, san string) ([]place, error) {
	for {
		places, ready, err := i.find(san)
		if ready == nil {
			return places, err
		}
		select {
		case <-ready:
		case <-closed:
			return nil, errClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("the names in its certificates are still being read: %w", ctx.Err())
		}
	}
}

// whole says whether the index is.
func (i *index) whole() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return closed(i.ready)
}

// find also returns what to wait for, if the answer may be another one then.
func (i *index) find(san string) ([]place, <-chan struct{}, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	places := best(i.bySAN[san])
	if !closed(i.ready) && (len(places) == 0 || !i.complete) {
		return nil, i.ready, nil
	}
	if len(places) == 0 && i.tooMany {
		return nil, nil, errTooManySANs
	}
	return places, nil, nil
}

// begin starts a round in which every certificate is to be set anew. Those who look for what is not there wait for its
// end if wait is set. It says whether there was one before.
func (i *index) begin(wait bool) (again bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.round++
	i.tooMany = false
	if wait && closed(i.ready) {
		i.ready = make(chan struct{})
	}
	return i.complete
}

// end drops the certificates that were not seen in this round, and returns their SANs.
func (i *index) end() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var gone []string
	for place, entry := range i.entries {
		if entry.round != i.round {
			gone = append(gone, entry.sans...)
			i.drop(place)
		}
	}
	i.complete = true
	if !closed(i.ready) {
		close(i.ready)
	}
	return gone
}

// set says which SANs the certificate in a place has, and returns those that it had before.
func (i *index) set(at place, sans []string, notAfter time.Time) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	held := i.entries[at]
	if held != nil && slices.Equal(held.sans, sans) && held.notAfter.Equal(notAfter) {
		held.round = i.round
		return sans
	}
	before := i.drop(at)
	if len(sans) > maxSANs-i.sans {
		i.tooMany = true
		return before
	}
	if len(sans) > 0 {
		i.add(&entry{place: at, sans: sans, notAfter: notAfter, round: i.round})
	}
	return before
}

// keep says that the certificate in a place is still there.
func (i *index) keep(at place) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if held := i.entries[at]; held != nil {
		held.round = i.round
	}
}

func (i *index) drop(at place) []string {
	held := i.entries[at]
	if held == nil {
		return nil
	}
	delete(i.entries, at)
	i.sans -= len(held.sans)
	for _, san := range held.sans {
		left := slices.DeleteFunc(i.bySAN[san], func(e *entry) bool { return e == held })
		if len(left) == 0 {
			delete(i.bySAN, san)
		} else {
			i.bySAN[san] = left
		}
	}
	return held.sans
}

func (i *index) add(made *entry) {
	i.entries[made.place] = made
	i.sans += len(made.sans)
	for _, san := range made.sans {
		i.bySAN[san] = append(i.bySAN[san], made)
	}
}

// best returns the places of those certificates that are to be tried, in that order.
func best(entries []*entry) []place {
	const most = 16
	var found []*entry
	for _, entry := range entries {
		at, _ := slices.BinarySearchFunc(found, entry, better)
		if at < most {
			found = slices.Insert(found, at, entry)
			found = found[:min(len(found), most)]
		}
	}
	places := make([]place, len(found))
	for i, entry := range found {
		places[i] = entry.place
	}
	return places
}

// better puts the certificate first that is valid longest.
func better(a, b *entry) int {
	return cmp.Or(b.notAfter.Compare(a.notAfter), cmp.Compare(a.place.layout, b.place.layout), strings.Compare(a.place.base, b.place.base))
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// renew reads the SANs of what is in a place into the index, and returns those that the certificate had and has. What
// can't be read keeps those that it had: it is half written, as likely as not.
func (i *index) renew(l *look, at place) (before, after []string, err error) {
	after, notAfter, err := l.sans(at)
	if err != nil {
		i.keep(at)
		return nil, nil, err
	}
	return i.set(at, after, notAfter), after, nil
}
