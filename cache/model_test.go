package cache

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"hellogate/cache/disk"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

// model is what the cache must do, in the simplest form: what each name was last fetched with, what was remembered of it,
// and when all that was known of it last went. It is the cache's store, too, and so knows what the cache was told. What
// happens is numbered, so that it is known what came after what.
type model struct {
	*Cache
	t       *rapid.T
	bubble  *testing.T
	options Options
	disk    *memory // nil: none
	ca      *certtest.CA
	rogue   *certtest.CA // that nobody trusts
	tells   bool         // the store is a Watcher
	news    chan store.Change
	cold    bool // what the disk has may not be in memory yet
	shelved bool // nor ever be, unless it is asked for

	mu       sync.Mutex // guards what follows: the cache asks in the background
	events   int
	offers   map[string]offer
	delay    time.Duration
	racing   bool                 // something is done while the store is being asked
	own      map[string]*owned    // by key
	pins     map[string]issuedTwo // by name
	lent     []issuedTwo          // what had aliases when something was pinned in its place: they are served on
	gone     map[string]int       // when what was known of a name last went
	orphaned map[string]int       // since when answers about a name count
	doubted  int                  // since when what was fetched before does not count as fresh
	asked    map[string]int       // by key: when the store last was
	no       map[string]time.Time // by key: when it said so
	failed   map[string]time.Time // by key
	late     map[string]lateError // by key: the last failure or no
	handed   map[string]issuedTwo // by key: what was given for those who waited alone
	unsure   map[string]bool      // by key: whether an answer was remembered
	denied   map[string]bool      // names whose refresh was answered no: from three on, the guard may keep names
}

// issuedTwo is an ECDSA and an RSA certificate, or one of them.
type issuedTwo [2]*certtest.Issued

// lateError is an error of the store, and when it came.
type lateError struct {
	err error
	at  time.Time
}

// offer is what the store has for a name.
type offer struct {
	issued           issuedTwo
	err              error
	id               string
	noStore, partial bool
	trusted, unfit   bool
}

// owned is what was fetched for a key, and is being served for it.
type owned struct {
	offer
	first, asked int // when the store was asked for this certificate first and last
	announced    bool
	loose        bool      // it may be gone
	denied       time.Time // zero: never
}

var modelNames = []string{"a.example", "b.example", "c.example", "x.w.example", "y.w.example"}

const modelWildcard = "*.w.example"

// live returns those that have not expired.
func (i issuedTwo) live(now time.Time) issuedTwo {
	for at, issued := range i {
		if issued != nil && now.Unix() >= issued.Leaf.NotAfter.Unix() {
			i[at] = nil
		}
	}
	return i
}

func (i issuedTwo) has(leaf []byte) bool {
	return slices.ContainsFunc(i[:], func(issued *certtest.Issued) bool { return issued != nil && bytes.Equal(issued.Leaf.Raw, leaf) })
}

// best is what a client gets.
func (i issuedTwo) best(legacy bool) *certtest.Issued {
	if legacy {
		i[0], i[1] = i[1], i[0]
	}
	if i[0] != nil {
		return i[0]
	}
	return i[1]
}

// held returns what is served for a key, nil for nothing. The caller holds mu.
func (m *model) held(key string) *owned {
	own := m.own[key]
	if own == nil {
		return nil
	}
	if own.issued = own.issued.live(time.Now()); own.issued == (issuedTwo{}) {
		delete(m.own, key)
		return nil
	}
	return own
}

// serving returns what was fetched for a name itself and a client is to get, nil for nothing.
func (m *model) serving(name string, old bool) *owned {
	own := m.held(name)
	if old && (own == nil || own.partial) {
		return m.held(keyOf(name, true))
	}
	return own
}

// next numbers what happens now.
func (m *model) next() int {
	m.events++
	return m.events
}

// Fetch answers as the offers say, and notes what has to follow.
func (m *model) Fetch(_ context.Context, request store.Request) (*store.Bundle, error) {
	m.mu.Lock()
	key := keyOf(request.Name, request.WithoutECDSA)
	asked := m.next()
	m.asked[key] = asked
	offered, delay := m.offers[request.Name], m.delay
	m.mu.Unlock()
	time.Sleep(delay)
	m.mu.Lock()
	defer m.mu.Unlock()
	if offered.partial {
		offered.issued[map[bool]int{true: 0, false: 1}[request.WithoutECDSA]] = nil
		offered.id += key
	}
	m.settle(request.Name, key, asked, offered)
	if offered.err != nil {
		return nil, offered.err
	}
	bundle := &store.Bundle{Store: "model", Partial: offered.partial, Validator: store.Validator{ETag: offered.id}}
	bundle.Freshness.NoStore = offered.noStore
	if bundle.NotModified = request.Validator.ETag == offered.id && !offered.unfit; bundle.NotModified {
		return bundle, nil
	}
	for _, issued := range offered.issued {
		if issued != nil {
			bundle.Pairs = append(bundle.Pairs, issued.Pair)
		}
	}
	return bundle, nil
}

// settle takes in what the store answered.
func (m *model) settle(name, key string, asked int, answered offer) {
	now := time.Now()
	answered.issued = answered.issued.live(now)
	fails := answered.err != nil || answered.unfit || answered.issued == (issuedTwo{})
	if fails { // which who waits for it is told, whatever it does to what is known
		m.late[key] = lateError{answered.err, now}
	}
	if asked < m.orphaned[name] {
		m.handed[key] = answered.issued // and not cached
		return
	}
	m.unsure[key] = m.racing
	switch {
	case errors.Is(answered.err, store.ErrUnknown):
		m.deny(name, key, now)
	case fails && m.held(key) == nil:
		m.failed[key] = now
	case fails:
	case answered.noStore:
		m.forgetKey(key)
		if !answered.partial {
			m.forgetKey(name) // it is for all clients
		}
		m.handed[key] = answered.issued
	default:
		m.keep(name, key, asked, answered)
	}
}

func (m *model) keep(name, key string, asked int, answered offer) {
	if !answered.partial && key != name {
		m.forgetKey(key) // it is for all clients
		key = name
	}
	first := asked
	if before := m.held(key); before != nil && before.issued == answered.issued && !before.loose {
		first = before.first
	}
	m.forgetKey(key)
	m.own[key] = &owned{offer: answered, first: first, asked: asked, loose: m.racing}
}

// deny takes in a no: the second of them, a while after the first, takes the name out of service.
func (m *model) deny(name, key string, now time.Time) {
	own := m.held(key)
	if own == nil {
		delete(m.failed, key)
		m.no[key] = now
		if key == name && len(m.denied) < guardNames {
			m.gone[name] = m.next() // an alias
		}
		return
	}
	m.denied[name] = true
	if own.loose { // the cache may not have it at all
		m.no[key], m.unsure[key] = now, true
	}
	switch again := !own.denied.IsZero() && now.Sub(own.denied) >= m.options.WithdrawAfter; {
	case !again && !own.announced:
		if own.denied.IsZero() {
			own.denied = now
		}
	case len(m.denied) >= guardNames || own.loose:
		own.loose = true
		m.no[key], m.unsure[key] = now, true
	default:
		m.forgetKey(key)
		m.no[key] = now
		if key == name {
			m.gone[name] = m.next()
		}
	}
}

func (m *model) forgetKey(key string) {
	delete(m.own, key)
	delete(m.no, key)
	delete(m.failed, key)
	delete(m.handed, key)
}

// forget takes a name, its aliases with it, out of all there is.
func (m *model) forget(name string) {
	m.forgetKey(name)
	m.forgetKey(keyOf(name, true))
	m.gone[name] = m.next()
	m.orphaned[name] = m.gone[name]
}

// pinned returns what is pinned under a name.
func (m *model) pinned(name string) *certtest.Issued {
	return m.pins[name].live(time.Now()).best(false)
}

// get asks the cache and looks at what it gives.
func (m *model) get(name string, old bool) {
	query, key := Query{Name: name, Hello: modern}, name
	if old {
		query.Hello, key = legacy, keyOf(name, true)
	}
	m.mu.Lock()
	pin, want, before, gone := m.pinned(name), m.serving(name, old), m.asked[key], m.gone[name]
	var wanted owned
	if want != nil {
		wanted = *want
	}
	remembered := m.isNo(key, m.options.NegativeTTL-1) && !m.unsure[key]
	m.mu.Unlock()
	got, err := m.Get(context.Background(), query)
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		switch {
		case pin != nil:
			m.t.Fatalf("%s: pinned, but: %v", key, err)
		case want != nil && !wanted.loose:
			m.t.Fatalf("%s: fetched and good until %s, but: %v", key, wanted.issued.best(old).Leaf.NotAfter, err)
		case remembered && m.asked[key] != before:
			m.t.Fatalf("%s: asked for although a no is remembered", key)
		}
		m.mayRefuse(key, err)
		return
	}
	leaf := got.Certificate.Certificate[0]
	if (pin != nil) != (got.Source == Pinned) || pin != nil && !bytes.Equal(pin.Leaf.Raw, leaf) {
		m.t.Fatalf("%s: pinned: %t, but from %s, or another one", key, pin != nil, got.Source)
	}
	if pin != nil {
		return
	}
	after := m.serving(name, old)
	if after != nil && bytes.Equal(after.issued.best(old).Leaf.Raw, leaf) {
		m.mayBeFresh(key, wanted, got.Source)
		return
	}
	if want != nil && !wanted.loose {
		if !wanted.issued.has(leaf) || !bytes.Equal(wanted.issued.best(old).Leaf.Raw, leaf) {
			served, _ := x509.ParseCertificate(leaf)
			m.t.Fatalf("%s: got the certificate of %q until %s, from %s, and not that of %q until %s that was fetched for it", key, served.DNSNames,
				served.NotAfter, got.Source, wanted.issued.best(old).Leaf.DNSNames, wanted.issued.best(old).Leaf.NotAfter)
		}
		m.mayBeFresh(key, wanted, got.Source)
		return
	}
	m.mayServe(name, key, leaf, wanted, gone)
}

// mayBeFresh fails when something counts as fresh that has to be looked at again.
func (m *model) mayBeFresh(key string, wanted owned, source Source) {
	if wanted.asked > 0 && !wanted.loose && wanted.asked < m.doubted && source == Hit {
		m.t.Fatalf("%s: counts as fresh although its store's changes were not seen", key)
	}
}

// isNo reports whether the store said no to a key not longer ago than that.
func (m *model) isNo(key string, within time.Duration) bool {
	at, there := m.no[key]
	return there && time.Since(at) <= within
}

// mayRefuse fails unless the store said what the client is told: a failure is never a no.
func (m *model) mayRefuse(key string, err error) {
	at, failed := m.failed[key]
	late := m.late[key]
	switch {
	case late.at.Equal(time.Now()) && errors.Is(err, store.ErrUnknown) == errors.Is(late.err, store.ErrUnknown):
	case errors.Is(err, store.ErrUnknown) && !m.isNo(key, m.options.NegativeTTL):
		m.t.Fatalf("%s: refused as unknown, which the store did not say: %v", key, err)
	case !errors.Is(err, store.ErrUnknown) && (!failed || time.Since(at) > lastFailure):
		m.t.Fatalf("%s: refused for a failure that there was not: %v", key, err)
	}
}

// mayServe fails unless a certificate that was not fetched for a name and kept may be served for it: it was for those who
// waited alone, may still be there, or is of another name that has it now and may lend it.
func (m *model) mayServe(name, key string, leaf []byte, wanted owned, gone int) {
	if m.handed[key].has(leaf) || wanted.loose && wanted.issued.live(time.Now()).has(leaf) {
		return
	}
	for i := range m.lent {
		if m.lent[i] = m.lent[i].live(time.Now()); m.lent[i].has(leaf) {
			return
		}
	}
	for _, other := range modelNames {
		own := m.held(other)
		if own == nil || !own.issued.has(leaf) || !own.trusted && m.options.Aliases != AliasesAll || m.options.Aliases == AliasesOff {
			continue
		}
		names := own.issued.best(!bytes.Equal(own.issued.best(false).Leaf.Raw, leaf)).Leaf.DNSNames
		if slices.Contains(names, name) && own.first > gone || m.options.Wildcards && slices.Contains(names, wildcardOf(name)) {
			return
		}
	}
	m.t.Fatalf("%s: got a certificate that is nobody's who may lend it", key)
}

// begin starts the cache, with the same disk if there is one.
func (m *model) begin() {
	m.Cache = New(m.options)
	if m.tells {
		m.tell(store.Change{All: true})
	}
	synctest.Wait()
}

// restart ends the cache and begins another.
func (m *model) restart(t *rapid.T) {
	m.Close()
	m.mu.Lock()
	clear(m.no)
	clear(m.failed)
	clear(m.denied)
	m.cold = m.disk != nil
	for _, name := range modelNames {
		if m.disk == nil {
			m.forget(name)
			delete(m.pins, name)
		}
	}
	for _, own := range m.own {
		own.announced = false
	}
	m.mu.Unlock()
	m.begin()
	if rapid.Bool().Draw(t, "flush") {
		m.flush(t)
	}
}

// teller is the model as a store that tells of changes.
type teller struct{ *model }

func (w teller) Watch(ctx context.Context, changed func(store.Change)) {
	crier{nil, w.news}.Watch(ctx, changed)
}

// tell has the store tell of a change, whose names are asked for again at once.
func (m *model) tell(change store.Change) {
	matches := func(name string) bool {
		return slices.ContainsFunc(change.Names, func(p sni.Pattern) bool { return p.Match(name) })
	}
	whole := slices.ContainsFunc(change.Names, func(p sni.Pattern) bool { return !isName(p) })
	m.mu.Lock()
	told := m.next()
	if change.All || change.Lost {
		m.doubted = told
	}
	for _, name := range modelNames {
		if !change.All && !matches(name) {
			continue
		}
		m.orphaned[name] = told
		for _, key := range []string{name, keyOf(name, true)} {
			delete(m.no, key)
			delete(m.failed, key)
			if own := m.held(key); own != nil && !change.All {
				own.announced = true
				own.loose = own.loose || whole && m.cold // the cache may not know that it has it
			}
		}
	}
	m.mu.Unlock()
	m.news <- change
	synctest.Wait()
	if change.All && !m.cold {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, own := range m.own {
		if matches(hostOf(key)) && !own.loose && m.held(key) != nil && max(own.asked, m.asked[key]) <= told {
			m.t.Fatalf("%s: it changed, and was not asked for", key)
		}
	}
}

// change draws what the store tells.
func (m *model) change(t *rapid.T) {
	if !m.tells {
		return
	}
	switch kind := rapid.SampledFrom([]string{"name", "name", "pattern", "all", "lost"}).Draw(t, "change"); kind {
	case "all":
		m.tell(store.Change{All: true})
		if told := m.doubted; !m.cold && rapid.Bool().Draw(t, "wait") {
			m.sleep(changeSpread + time.Second)
			m.mu.Lock()
			defer m.mu.Unlock()
			for key, own := range m.own {
				if m.held(key) != nil && !own.loose && max(own.asked, m.asked[key]) <= told {
					t.Fatalf("%s: anything may have changed, and it was not asked for", key)
				}
			}
		}
	case "lost":
		m.tell(store.Change{Lost: true})
	case "pattern":
		m.tell(store.Change{Names: []sni.Pattern{mustPattern(t, "*.example")}})
	default:
		m.tell(store.Change{Names: []sni.Pattern{mustPattern(t, m.name(t))}})
	}
}

func mustPattern(t *rapid.T, text string) sni.Pattern {
	pattern, err := sni.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return pattern
}

// name draws a name, one of them more often: much has to happen to one.
func (m *model) name(t *rapid.T) string {
	return rapid.SampledFrom(append([]string{"a.example", "a.example", "x.w.example"}, modelNames...)).Draw(t, "name")
}

// flush draws what is flushed.
func (m *model) flush(t *rapid.T) {
	kind := rapid.SampledFrom([]string{"name", "name", "pattern", "fingerprint", "all"}).Draw(t, "flush")
	name, pattern := m.name(t), mustPattern(t, "*.example")
	m.mu.Lock()
	leaf, fingerprint := m.any(name)
	var pins []string
	for _, each := range modelNames {
		taken := kind == "all" || kind == "name" && each == name || kind == "pattern" && pattern.Match(each)
		if kind == "fingerprint" {
			m.orphaned[each] = m.next()
			taken = m.hasLeaf(each, leaf)
		}
		if !taken {
			continue
		}
		if m.pinned(each) != nil {
			pins = append(pins, each)
			continue
		}
		if kind == "fingerprint" {
			m.flushLeaf(each, leaf)
			continue
		}
		m.forget(each)
	}
	for key := range m.no {
		m.unsure[key] = true // its name may have been an alias of what went
	}
	m.mu.Unlock()
	var pinned []string
	var err error
	switch kind {
	case "name":
		_, pinned, err = m.Flush(name)
	case "pattern":
		_, pinned, err = m.FlushPattern(pattern)
	case "fingerprint":
		_, pinned, err = m.FlushFingerprint(fingerprint)
	case "all":
		_, pinned, err = m.FlushAll()
	}
	if err != nil {
		t.Fatal(err)
	}
	pinned = slices.DeleteFunc(pinned, func(name string) bool { // one that expired just now may be listed
		return m.pinned(name) == nil && m.pins[name] != issuedTwo{}
	})
	if !slices.Equal(pinned, pins) {
		t.Fatalf("pinned: %q, want %q", pinned, pins)
	}
	if !m.racing {
		m.get(name, false)
	}
}

// any returns a certificate that is held for a name, or was offered.
func (m *model) any(name string) (leaf []byte, fingerprint [32]byte) {
	for _, two := range []issuedTwo{m.pins[name], m.offers[name].issued} {
		if issued := two.best(false); issued != nil {
			return issued.Leaf.Raw, fingerprintOf(*issued)
		}
	}
	return nil, fingerprint
}

func (m *model) hasLeaf(name string, leaf []byte) bool {
	return m.pinned(name) != nil && m.pins[name].has(leaf) || m.keysWith(name, leaf) != nil
}

func (m *model) keysWith(name string, leaf []byte) (keys []string) {
	for _, key := range []string{name, keyOf(name, true)} {
		if own := m.held(key); own != nil && own.issued.has(leaf) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (m *model) flushLeaf(name string, leaf []byte) {
	for _, key := range m.keysWith(name, leaf) {
		m.forgetKey(key)
		if key == name {
			m.gone[name] = m.next()
		}
	}
}

// put draws what the store has for a name from now on.
func (m *model) put(t *rapid.T) {
	name := m.name(t)
	m.mu.Lock()
	made := offer{id: strconv.Itoa(m.next())}
	m.mu.Unlock()
	made.trusted = rapid.IntRange(0, 3).Draw(t, "trusted") > 0
	kind := rapid.SampledFrom([]string{"ecdsa", "ecdsa", "rsa", "both", "partial", "no", "no", "down", "unfit", "no-store"}).Draw(t, "kind")
	switch kind {
	case "no":
		made.err = store.ErrUnknown
	case "down":
		made.err = errDown
	default:
		made.partial, made.noStore, made.unfit = kind == "partial", kind == "no-store", kind == "unfit"
		names := []string{name}
		if made.unfit {
			names = []string{"other.example"}
		}
		if more := rapid.SampledFrom(append([]string{"", "", modelWildcard}, modelNames...)).Draw(t, "more"); more != "" && more != name && !made.unfit {
			names = append(names, more)
		}
		ca := m.ca
		if !made.trusted {
			ca = m.rogue
		}
		lasts := rapid.SampledFrom([]time.Duration{2 * time.Hour, 2 * day, 30 * day, 90 * day})
		if kind != "rsa" {
			issued := ca.IssueWith(m.bubble, certtest.Options{Names: names, NotAfter: time.Now().Add(lasts.Draw(t, "lasts"))})
			made.issued[0] = &issued
		}
		if kind == "rsa" || kind == "both" || kind == "partial" {
			issued := ca.IssueWith(m.bubble, certtest.Options{Names: names, NotAfter: time.Now().Add(lasts.Draw(t, "rsa lasts")), RSA: 2048})
			made.issued[1] = &issued
		}
	}
	if rapid.Bool().Draw(t, "first") {
		m.get(name, false)
	}
	m.mu.Lock()
	m.offers[name] = made
	m.mu.Unlock()
	m.waitForRefresh(t, name)
}

func (m *model) pin(t *rapid.T) {
	name := m.name(t)
	if rapid.Bool().Draw(t, "remove") {
		m.mu.Lock()
		was := m.pins[name] != issuedTwo{}
		if m.pinned(name) != nil {
			m.forget(name)
		}
		delete(m.pins, name)
		m.mu.Unlock()
		if removed, _ := m.Unpin(name); removed && !was && !m.cold {
			t.Fatalf("%s: a pin removed that was not there", name)
		}
		return
	}
	issued := m.ca.IssueWith(m.bubble, certtest.Options{Names: []string{name}, NotAfter: time.Now().Add(30 * day)})
	m.mu.Lock()
	if own := m.held(name); own != nil {
		m.lent = append(m.lent, own.issued)
	}
	m.forget(name)
	m.pins[name] = issuedTwo{&issued}
	m.mu.Unlock()
	if err := m.Pin(name, []store.Pair{issued.Pair}); err != nil {
		t.Fatal(err)
	}
}

// race has something happen while the store is being asked for a name.
func (m *model) race(t *rapid.T) {
	name := m.name(t)
	m.mu.Lock()
	busy := m.own[name] != nil || m.own[keyOf(name, true)] != nil || m.pins[name] != issuedTwo{}
	if !busy {
		m.delay, m.racing = time.Second, true
	}
	m.mu.Unlock()
	if busy {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = m.Get(context.Background(), Query{Name: name, Hello: modern})
	}()
	synctest.Wait()
	m.mu.Lock()
	m.delay = 0
	m.mu.Unlock()
	rapid.SampledFrom([]func(*rapid.T){m.flush, m.flush, m.pin, m.change}).Draw(t, "meanwhile")(t)
	m.sleep(2 * time.Second)
	<-done
	m.mu.Lock()
	m.racing = false
	m.mu.Unlock()
}

func (m *model) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	if d >= time.Second && !m.shelved {
		m.cold = false
	}
}

// waitForEnd waits until a certificate expires.
func (m *model) waitForEnd(t *rapid.T) {
	name := m.name(t)
	m.mu.Lock()
	var issued issuedTwo
	if own := m.held(name); own != nil {
		issued = own.issued
	} else {
		issued = m.pins[name].live(time.Now())
	}
	m.mu.Unlock()
	if first := issued.best(false); first != nil {
		m.sleep(time.Until(first.Leaf.NotAfter))
		m.get(name, false)
	}
}

// waitForRefresh waits until the store is asked for a name again, and again.
func (m *model) waitForRefresh(t *rapid.T, name string) {
	for range rapid.IntRange(0, 3).Draw(t, "refreshes") {
		if info, there := m.Show(name); there && time.Until(info.RefetchAt) > 0 {
			m.sleep(time.Until(info.RefetchAt) + time.Millisecond)
			m.get(name, false)
		}
	}
}

// TestModel has the cache do whatever it can do, in any order and at any time, and compares it with the model.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var failure any
		synctest.Test(t, func(t *testing.T) {
			defer func() { failure = recover() }() // which is for the goroutine that draws
			runModel(t, r)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func runModel(t *testing.T, r *rapid.T) {
	m := &model{
		t: r, bubble: t, ca: certtest.NewCA(t), rogue: certtest.NewCA(t), tells: rapid.Bool().Draw(r, "tells"), news: make(chan store.Change),
		offers: make(map[string]offer), own: make(map[string]*owned), pins: make(map[string]issuedTwo), gone: make(map[string]int),
		orphaned: make(map[string]int), asked: make(map[string]int), no: make(map[string]time.Time), failed: make(map[string]time.Time),
		late:   make(map[string]lateError),
		handed: make(map[string]issuedTwo), unsure: make(map[string]bool), denied: make(map[string]bool),
	}
	for _, name := range modelNames {
		m.offers[name] = offer{err: store.ErrUnknown}
	}
	m.options = Options{
		Store: m, AliasRoots: m.ca.Pool(), MinTTL: time.Hour, Log: zerolog.Nop(),
		Aliases:   rapid.SampledFrom([]AliasPolicy{AliasesVerified, AliasesVerified, AliasesAll, AliasesOff}).Draw(r, "aliases"),
		Wildcards: rapid.Bool().Draw(r, "wildcards"),
	}.withDefaults()
	if m.tells {
		m.options.Store = teller{m}
	}
	if rapid.Bool().Draw(r, "disk") {
		m.disk = &memory{records: make(map[string]disk.Record)}
		m.options.Disk = m.disk
		if m.shelved = rapid.Bool().Draw(r, "shelved"); m.shelved {
			m.options.Disk = shelved{m.disk}
		}
	}
	m.begin()
	defer func() { m.Close() }()
	get := func(t *rapid.T) { m.get(m.name(t), rapid.IntRange(0, 3).Draw(t, "class") == 0) }
	r.Repeat(map[string]func(*rapid.T){
		"get": get, "get again": get, "and again": get,
		"put": m.put, "flush": m.flush, "change": m.change, "pin": m.pin, "race": m.race, "restart": m.restart,
		"prefetch": func(t *rapid.T) { m.Prefetch(context.Background(), m.name(t)) },
		"wait": func(t *rapid.T) {
			name := m.name(t)
			m.get(name, false)
			m.sleep(rapid.SampledFrom([]time.Duration{
				time.Millisecond, time.Second, 20 * time.Second, time.Minute, 15 * time.Minute, 2 * time.Hour, day, 10 * day,
			}).Draw(t, "time"))
			m.get(name, false)
		},
		"wait for the end": m.waitForEnd, "wait for a refresh": func(t *rapid.T) { m.waitForRefresh(t, m.name(t)) },
		"wait long": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
				m.sleep(60 * day)
			}
		},
		"": func(t *rapid.T) {
			synctest.Wait()
			audit(t, m.Cache)
		},
	})
	if _, _, err := m.FlushAll(); err != nil {
		r.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if left := m.Stats(); left.Entries != left.Pinned || left.Negative+left.Failing > 0 || left.Withdrawn > 0 {
		r.Fatalf("after a flush of all: %+v (%q pinned)", left, slices.Collect(maps.Keys(m.pins)))
	}
}
