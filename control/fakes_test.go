package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hellogate/breaker"
	"hellogate/cache"
	"hellogate/cache/permission"
	"hellogate/control/events"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/terminate"
	"hellogate/terminate/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCache holds what tests put into it.
type fakeCache struct {
	flushError error
	mu         sync.Mutex
	infos      []cache.Info
	prefetch   func(ctx context.Context, name string) (string, string)
	explain    []cache.Step
	walks      int
}

func (f *fakeCache) locked() []cache.Info {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.infos)
}

func (f *fakeCache) Show(name string) (cache.Info, bool) {
	for _, info := range f.locked() {
		if info.Name == name {
			return info, true
		}
	}
	return cache.Info{}, false
}

func (f *fakeCache) All() iter.Seq[cache.Info] {
	f.mu.Lock()
	f.walks++
	f.mu.Unlock()
	return slices.Values(f.locked())
}

func (f *fakeCache) Sample(count int) []cache.Info {
	infos := f.locked()
	return infos[:min(count, len(infos))]
}

func (f *fakeCache) Stats() cache.Stats {
	var stats cache.Stats
	stats.Hits = 7
	return stats
}

func (f *fakeCache) remove(matches func(cache.Info) bool) (removed, pinned []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.infos = slices.DeleteFunc(f.infos, func(info cache.Info) bool {
		switch {
		case !matches(info):
			return false
		case info.Source == "pinned":
			pinned = append(pinned, info.Name)
			return false
		}
		removed = append(removed, info.Name)
		return true
	})
	return removed, pinned, f.flushError
}

func (f *fakeCache) Pin(name string, pairs []store.Pair) error {
	if name == "refused.example" {
		return errors.New("refused")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	pinned := certificate(name)
	pinned.Source = "pinned"
	f.infos = append(f.infos, pinned)
	return nil
}

func (f *fakeCache) Unpin(name string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.infos)
	f.infos = slices.DeleteFunc(f.infos, func(info cache.Info) bool { return info.Name == name && info.Source == "pinned" })
	return len(f.infos) < before, nil
}

func (f *fakeCache) Flush(names ...string) (flushed, pinned []string, err error) {
	return f.remove(func(info cache.Info) bool { return slices.Contains(names, info.Name) })
}

func (f *fakeCache) FlushAll() (flushed, pinned []string, err error) {
	return f.remove(func(cache.Info) bool { return true })
}

func (f *fakeCache) FlushPattern(pattern sni.Pattern) (flushed, pinned []string, err error) {
	return f.remove(func(info cache.Info) bool { return pattern.Match(info.Name) })
}

func (f *fakeCache) FlushFingerprint(fingerprint [32]byte) (flushed, pinned []string, err error) {
	return f.remove(func(info cache.Info) bool { return info.Fingerprint == fmt.Sprintf("%x", fingerprint) })
}

func (f *fakeCache) Prefetch(ctx context.Context, name string) (string, string) {
	if f.prefetch != nil {
		return f.prefetch(ctx, name)
	}
	if strings.HasPrefix(name, "unknown") {
		return "unknown", "404"
	}
	return "fetched", ""
}

func (f *fakeCache) Explain(string) []cache.Step {
	if f.explain != nil {
		return f.explain
	}
	return []cache.Step{{Step: "cache", Result: "looked at"}}
}

// fakeTraffic is a data path of which all but the plan's routes is made up: they reject rejected.example and who offers
// "rejected" to alpn.example, and take all else below .example to a backend called mail.
type fakeTraffic struct {
	fallback    *terminate.Fallback
	connections []terminate.ConnectionInfo
	kill        func(terminate.ConnectionInfo) // is told of what is killed
	stats       terminate.Stats
	inside      terminate.StartTLS // of the listener of that name
}

func (f fakeTraffic) Stats() terminate.Stats {
	f.stats.Active, f.stats.Total, f.stats.Limit = 3, 9, 100
	f.stats.Refused = map[string]uint64{"no_cert": 2}
	return f.stats
}

func (f fakeTraffic) Route(query sni.Query) (*terminate.Route, sni.Pattern, bool) {
	return f.Plan().Routes.Find(query)
}

func (f fakeTraffic) Plan() *terminate.Plan {
	mail, reject := &terminate.Backend{Name: "mail"}, &terminate.Route{Action: terminate.Reject}
	lan := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	table, err := sni.NewTable([]sni.Rule[*terminate.Route]{
		{Names: patterns(".example"), Value: &terminate.Route{Backend: mail}},
		{Names: patterns("rejected.example"), Value: reject},
		{Names: patterns("alpn.example"), ALPN: []string{"rejected"}, Value: reject},
		{Names: patterns("h2.example"), Value: &terminate.Route{Backend: mail, ALPN: []string{"h2", "http/1.1"}}},
		{Names: patterns("lan.example"), Clients: lan, Listeners: []string{"inside"}, Value: &terminate.Route{Action: terminate.Passthrough, Backend: mail}},
	})
	if err != nil {
		panic(err)
	}
	return &terminate.Plan{
		Routes: table, Fallback: f.fallback, Listeners: []terminate.Listener{{Name: "inside", StartTLS: f.inside}, {Name: "outside"}},
		Backends: map[string]*terminate.Backend{"mail": mail, "sorry": {Name: "sorry"}},
	}
}

func patterns(texts ...string) (parsed []sni.Pattern) {
	for _, text := range texts {
		pattern, err := sni.ParsePattern(text)
		if err != nil {
			panic(err)
		}
		parsed = append(parsed, pattern)
	}
	return parsed
}

func (f fakeTraffic) Walk(wanted func(terminate.ConnectionInfo) bool) iter.Seq[terminate.ConnectionInfo] {
	return func(yield func(terminate.ConnectionInfo) bool) {
		for _, info := range f.connections {
			if wanted(info) && !yield(info) {
				return
			}
		}
	}
}

func (f fakeTraffic) Kill(wanted func(terminate.ConnectionInfo) bool) []terminate.ConnectionInfo {
	killed := slices.Collect(f.Walk(wanted))
	for _, info := range killed {
		f.kill(info)
	}
	return killed
}

func storesOf(all ...Store) func() []Store { return func() []Store { return all } }

type fakeStore breaker.Status

func (f fakeStore) Status() breaker.Status { return breaker.Status(f) }

func (fakeStore) Takes(string) bool { return true }

// fakeElsewhere is a store that is asked for other names alone.
type fakeElsewhere struct{ fakeStore }

func (fakeElsewhere) Takes(string) bool { return false }

// fakePermission is a permission endpoint.
type fakePermission struct {
	status breaker.Status
	stats  permission.Stats
}

func (f fakePermission) Status() breaker.Status  { return f.status }
func (f fakePermission) Stats() permission.Stats { return f.stats }

type fakeHooks events.CommandStats

func (f fakeHooks) Stats() events.CommandStats { return events.CommandStats(f) }

// fakePool is a backend; what is wanted of its servers is noted in its status.
type fakePool struct{ status *pool.Status }

func (f fakePool) Status() pool.Status { return *f.status }

func (f fakePool) SetAdmin(address string, to pool.Admin) error {
	states := map[pool.Admin]pool.State{pool.Enabled: pool.StateUp, pool.Drain: pool.StateDrain, pool.Disabled: pool.StateDisabled}
	return f.each(address, func(server *pool.ServerStatus) { server.State = states[to] })
}

func (f fakePool) SetWeight(address string, weight int) error {
	return f.each(address, func(server *pool.ServerStatus) { server.Weight = weight })
}

func (f fakePool) each(address string, do func(*pool.ServerStatus)) error {
	err := pool.ErrUnknownServer
	for i := range f.status.Servers {
		if f.status.Servers[i].Address == address {
			do(&f.status.Servers[i])
			err = nil
		}
	}
	return err
}

// pools are backends with these states.
func pools(statuses ...pool.Status) func() []Pool {
	list := make([]Pool, len(statuses))
	for i := range statuses {
		list[i] = fakePool{&statuses[i]}
	}
	return func() []Pool { return list }
}

// certificate is one in the cache of a test, good for a month.
func certificate(name string) cache.Info {
	now := time.Now()
	return cache.Info{
		Name: name, Names: []string{name}, Issuer: "CN=test", Fingerprint: fmt.Sprintf("%064x", len(name)), KeyType: "ecdsa-p256",
		Store: "store", Source: "fetched", FetchedAt: now, RefetchAt: now.Add(time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
	}
}
