package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

// fakeTraffic routes all but rejected.example to a backend called mail, and nothing below .nowhere.
type fakeTraffic struct{}

func (fakeTraffic) Stats() terminate.Stats {
	return terminate.Stats{Active: 3, Total: 9, Limit: 100, Refused: map[string]uint64{"no_cert": 2}}
}

func (fakeTraffic) Route(name string, protocols []string) (*terminate.Route, sni.Pattern, bool) {
	pattern, _ := sni.ParsePattern("*")
	switch {
	case strings.HasSuffix(name, ".nowhere"):
		return nil, sni.Pattern{}, false
	case name == "rejected.example" || slices.Contains(protocols, "rejected"):
		return &terminate.Route{Action: terminate.Reject}, pattern, true
	}
	route := &terminate.Route{Action: terminate.Terminate, Backend: terminate.NewBackend(terminate.BackendOptions{Name: "mail"})}
	if name == "h2.example" {
		route.ALPN = []string{"h2", "http/1.1"}
	}
	return route, pattern, true
}

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

type fakePool terminate.BackendStatus

func (f fakePool) Status() terminate.BackendStatus { return terminate.BackendStatus(f) }

// certificate is one in the cache of a test, good for a month.
func certificate(name string) cache.Info {
	now := time.Now()
	return cache.Info{
		Name: name, Names: []string{name}, Issuer: "CN=test", Fingerprint: fmt.Sprintf("%064x", len(name)), KeyType: "ecdsa-p256",
		Store: "store", Source: "fetched", FetchedAt: now, RefetchAt: now.Add(time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
	}
}
