package cache

import (
	"encoding/binary"
	"errors"
	"time"
	"unique"

	"hellogate/cache/disk"
	"hellogate/store"
)

// What the disk keeps of a name is written as a version, a kind and fields: numbers as varints, texts and bytes with their
// length before them. The disk sees to that it comes back as it was written; a version that it does not know is refused.
const (
	recordVersion     = 1
	recordCertificate = 1
	recordAlias       = 2
)

var errRecord = errors.New("not a record of this version")

// restored is what a record holds.
type restored struct {
	owner     string // of an alias, and nothing else then
	kind      kind
	policy    AliasPolicy // under which trust was given
	store     string
	fetched   int64 // by the wall in nanoseconds since 1970, as is what follows
	stale     int64
	since     int64 // when it was withdrawn; 0: it is not
	until     int64 // of routing
	took      int32
	validator store.Validator
	routing   store.Routing
	pairs     []*pair
	barred    map[string]bool // names that no alias is made of
}

func encodeAlias(owner string) []byte {
	return writer{recordVersion, recordAlias}.text(owner)
}

// ownerIn is whose alias a record is of, "" if it is none.
func ownerIn(record disk.Record) string {
	if len(record.Value) < 2 || record.Value[0] != recordVersion || record.Value[1] != recordAlias {
		return ""
	}
	from := &reader{rest: record.Value[2:]}
	return from.text()
}

// record is what the disk is to keep of an entry.
func (c *Cache) record(kept *entry) disk.Record {
	now := c.clock.now()
	held := kept.held.Load()
	record := disk.Record{Key: kept.key, Expires: time.Unix(lastToExpire(held.pairs).notAfter, 0)}
	into := writer{recordVersion, recordCertificate}
	into = into.number(int64(held.kind)).number(int64(c.options.Aliases)).text(held.store.Value())
	into = into.number(now.wallOf(held.fetched)).number(now.wallOf(held.stale)).number(held.withdrawnSince(now)).number(int64(held.took))
	var validator store.Validator
	if held.validator != nil {
		validator = *held.validator
	}
	into = into.text(validator.ETag).text(validator.LastModified).routing(held.routing, now)
	for p := range held.each() {
		into = into.pair(p)
		record.Tags = append(record.Tags, p.fingerprint)
		if p.chain != nil {
			record.Shared = append(record.Shared, p.chain.der...)
		}
	}
	if held.pinned() {
		record.Tags, record.Keep = append(record.Tags, pinnedTag), true
	}
	record.Value = into
	return record
}

func lastToExpire(pairs [2]*pair) *pair {
	if pairs[1] != nil && pairs[1].notAfter > pairs[0].notAfter {
		return pairs[1]
	}
	return pairs[0]
}

// withdrawnSince is since when a name is withdrawn, by the wall; 0: it is not.
func (h *held) withdrawnSince(now moment) int64 {
	if !h.withdrawn() {
		return 0
	}
	return now.wallOf(h.trouble.since)
}

// heldOf is what a record gives an entry now; nil when it has expired.
func (c *Cache) heldOf(from restored, now moment) *held {
	next := &held{
		kind:    from.kind | kindDisk,
		fetched: now.monoOf(from.fetched),
		stale:   now.monoOf(from.stale),
		store:   unique.Make(from.store),
		took:    from.took,
	}
	if from.policy != c.options.Aliases {
		next.kind &^= kindTrusted | kindTrustedSecond // it was given under other rules
	}
	at := 0
	for _, p := range from.pairs {
		if !now.reached(p.notAfter) && at < len(next.pairs) {
			next.pairs[at] = p
			at++
		}
	}
	if at == 0 {
		return nil
	}
	next.notAfter = firstToExpire(next.pairs).notAfter
	if at < len(from.pairs) {
		next.kind &^= kindTrusted | kindTrustedSecond // they stood for others
	} else if !from.validator.IsZero() {
		next.validator = &from.validator
	}
	if from.routing.Backend != "" || len(from.routing.Servers) > 0 {
		next.routing = &Routing{Routing: from.routing, Store: from.store, until: now.monoOf(from.until)}
	}
	if from.since != 0 {
		next.trouble = &trouble{withdrawn: true, since: now.monoOf(from.since), err: store.ErrUnknown.Error()}
	}
	if !next.pinned() {
		c.doubt(next, from, now)
	}
	return next
}

// doubt has what came from the disk asked for again when there is reason to: its store's changes were not seen since, or
// the clock went back.
func (c *Cache) doubt(next *held, from restored, now moment) {
	if from.fetched <= c.trusted[from.store] || from.fetched <= c.trusted[""] || from.fetched > now.wall {
		next.stale = min(next.stale, now.mono-1)
	}
	if from.fetched <= c.replaced[from.store] {
		next.validator = nil
	}
	if latest := now.after(min(now.until(next.notAfter), century)); next.stale > latest {
		next.stale = now.mono
	}
}

// writer is a record that is being written.
type writer []byte

func (w writer) number(n int64) writer { return binary.AppendVarint(w, n) }

func (w writer) text(s string) writer { return append(binary.AppendUvarint(w, uint64(len(s))), s...) }

func (w writer) routing(r *Routing, now moment) writer {
	if r == nil {
		return w.text("").number(0).number(0)
	}
	w = w.text(r.Backend).number(now.wallOf(r.until)).number(int64(len(r.Servers)))
	for _, server := range r.Servers {
		w = w.text(server)
	}
	return w
}

func (w writer) pair(p *pair) writer {
	w = w.text(p.names()).text(p.issuer.Value()).text(p.keyType.Value()).text(string(p.fingerprint[:]))
	w = w.number(p.notAfter).number(p.lifetime).number(int64(p.key)).number(int64(p.odd)).number(int64(p.leaf))
	chain := 0
	if p.chain != nil {
		chain = len(p.chain.der)
	}
	return w.text(string(p.bytes[:p.end()])).number(int64(chain))
}

// reader is what is left of a record that is being read. Past its end, or what makes no sense, it is bad for good.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number() int64 {
	n, length := binary.Varint(r.rest)
	if length <= 0 {
		r.rest, r.bad = nil, true
		return 0
	}
	r.rest = r.rest[length:]
	return n
}

func (r *reader) text() string {
	size, length := binary.Uvarint(r.rest)
	if length <= 0 || size > uint64(len(r.rest)-length) {
		r.rest, r.bad = nil, true
		return ""
	}
	text := string(r.rest[length:][:size])
	r.rest = r.rest[length:][size:]
	return text
}

// below returns a number that is at least 0 and below most.
func (r *reader) below(most int64) int64 {
	n := r.number()
	if n < 0 || n >= most {
		r.bad = true
		return 0
	}
	return n
}

func decodeRecord(record disk.Record) (restored, error) {
	if len(record.Value) < 2 || record.Value[0] != recordVersion {
		return restored{}, errRecord
	}
	from := &reader{rest: record.Value[2:]}
	var got restored
	switch record.Value[1] {
	case recordAlias:
		if got.owner = from.text(); got.owner == record.Key || got.owner == "" {
			from.bad = true
		}
	case recordCertificate:
		got = from.certificate(record.Shared)
	default:
		return restored{}, errRecord
	}
	if from.bad {
		return restored{}, errRecord
	}
	return got, nil
}

func (r *reader) certificate(shared [][]byte) restored {
	got := restored{kind: kind(r.below(256)), policy: AliasPolicy(r.below(256)), store: r.text()}
	got.fetched, got.stale, got.since, got.took = r.number(), r.number(), r.number(), int32(r.number())
	got.validator = store.Validator{ETag: r.text(), LastModified: r.text()}
	got.routing.Backend, got.until = r.text(), r.number()
	for range r.below(store.MaxServers + 1) {
		got.routing.Servers = append(got.routing.Servers, r.text())
	}
	for len(r.rest) > 0 && !r.bad && len(got.pairs) < 2 {
		p, chain := r.pair()
		if chain > len(shared) {
			r.bad = true
			break
		}
		if chain > 0 {
			p.chain = newChain(shared[:chain])
			shared = shared[chain:]
		}
		got.pairs = append(got.pairs, p)
	}
	r.bad = r.bad || len(got.pairs) == 0 || len(r.rest) > 0
	return got
}

func (r *reader) pair() (p *pair, chain int) {
	names := r.text()
	p = &pair{issuer: unique.Make(r.text()), keyType: unique.Make(r.text())}
	r.bad = copy(p.fingerprint[:], r.text()) != len(p.fingerprint) || r.bad
	p.notAfter, p.lifetime = r.number(), r.number()
	p.key, p.odd, p.leaf = packedKey(r.below(int64(keyRSA)+1)), oddity(r.below(256)), uint16(r.below(1<<16))
	own := r.text()
	p.packed, p.bytes = uint16(len(own)-int(p.leaf)), []byte(own+names)
	chain = int(r.below(store.MaxChain))
	r.bad = r.bad || int(p.leaf) > len(own) || len(own)-int(p.leaf) >= 1<<16
	return p, chain
}
