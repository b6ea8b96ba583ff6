package instance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache"
	"hellogate/control"
	"hellogate/control/config"
	"hellogate/control/handover"
)

// reloading is a balancer that runs, and reads what is put into next.
func reloading(t *testing.T, loaded *config.Config) (balancer *Instance, next *atomic.Pointer[config.Config]) {
	t.Helper()
	next = new(atomic.Pointer[config.Config])
	next.Store(loaded)
	balancer, err := New(loaded, Options{Log: zerolog.Nop(), Load: func() (*config.Config, error) {
		if read := next.Load(); read != nil {
			return read, nil
		}
		return nil, errors.New("it can't be read")
	}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := balancer.Run(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		balancer.Shutdown()
		<-ended
	})
	return balancer, next
}

// changed is a configuration with something else in it.
func changed(loaded *config.Config, change func(*config.Config)) *config.Config {
	other := *loaded
	change(&other)
	return &other
}

func TestReloadKeepsWhatGoesOn(t *testing.T) {
	loaded := configuration(t, "limits: {connections_per_ip: 5}")
	balancer, next := reloading(t, loaded)
	before := balancer.plane.Load()
	next.Store(changed(loaded, func(c *config.Config) { c.Limits.Connections = 77 }))
	result, err := balancer.Reload()
	if err != nil || !slices.Equal(result.Changed, []string{"limits"}) || len(result.AfterARestart) != 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	after := balancer.plane.Load()
	if after == before || after.before != nil {
		t.Error("the plane is the same, or remembers the one before")
	}
	if got := balancer.traffic.Plan().Limits.Connections; got != 77 {
		t.Errorf("%d connections", got)
	}
	for address, socket := range before.sockets {
		if after.sockets[address] != socket {
			t.Errorf("listener %s is another", address)
		}
	}
	for name, pool := range before.pools {
		if after.pools[name] != pool {
			t.Errorf("pool %s is another", name)
		}
	}
	for source, keys := range before.keys {
		if after.keys[source] != keys {
			t.Errorf("keys %v are others", source)
		}
	}
}

func TestReloadThatFailsChangesNothing(t *testing.T) {
	loaded := configuration(t, "")
	balancer, next := reloading(t, loaded)
	before := balancer.plane.Load()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := freeAddress(t)
	for _, c := range []struct {
		name string
		next *config.Config
		want string
	}{
		{"can't be read", nil, "can't be read"},
		{"address in use", changed(loaded, func(c *config.Config) {
			c.Listeners = append(slices.Clone(c.Listeners), config.Listener{Address: free, Name: free}, config.Listener{Address: taken.Addr().String()})
		}), "listeners[2].address: "},
		{"no certificate", changed(loaded, func(c *config.Config) { c.Fallback.CertFile, c.Fallback.KeyFile = "/nonexistent", "/nonexistent" }), "fallback: "},
	} {
		next.Store(c.next)
		if _, err := balancer.Reload(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if balancer.plane.Load() != before || balancer.traffic.Plan() != before.plan {
			t.Errorf("%s: another plane is in use", c.name)
		}
		if opened, err := net.Listen("tcp", free); err != nil {
			t.Errorf("%s: a listener is left: %v", c.name, err)
		} else {
			opened.Close()
		}
	}
}

// What is to be fetched ahead is, as soon as it is new; how many unknown names may be asked for follows.
func TestReloadOfPrefetchAndLookups(t *testing.T) {
	var mutex sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		asked[path.Base(r.URL.Path)]++
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	loaded := withStores(t, configuration(t, "lookups: {rate: 1, burst: 1}\nprefetch: [a.example]"), fmt.Sprintf("[{http: {url: %q}}]", server.URL))
	balancer, next := reloading(t, loaded)
	count := func(name string) int {
		mutex.Lock()
		defer mutex.Unlock()
		return asked[name]
	}
	limited := func(name string) bool {
		_, err := balancer.cache.Get(t.Context(), cache.Query{Name: name, Client: netip.MustParseAddr("192.0.2.1")})
		return errors.Is(err, cache.ErrLimited)
	}
	waitUntil(t, "the name is fetched ahead", func() bool { return count("a.example") == 1 })
	asking := 0
	waitUntil(t, "look-ups are bounded", func() bool { asking++; return limited(fmt.Sprintf("n%d.example", asking)) })
	next.Store(changed(loaded, func(c *config.Config) {
		c.Lookups.Burst, c.Lookups.Rate, c.Prefetch = 1000, 1000, []string{"a.example", "b.example"}
	}))
	result, err := balancer.Reload()
	if err != nil || !slices.Equal(result.Changed, []string{"lookups", "prefetch"}) || len(result.AfterARestart) != 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	waitUntil(t, "the new name is fetched ahead", func() bool { return count("b.example") == 1 && count("a.example") == 1 })
	waitUntil(t, "the new bound is in effect", func() bool { asking++; return !limited(fmt.Sprintf("n%d.example", asking)) })
	time.Sleep(100 * time.Millisecond) // at the new rate, for a hundred of them
	for range 20 {
		if asking++; limited(fmt.Sprintf("n%d.example", asking)) {
			t.Error("the bound on look-ups is not the new one")
			break
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// One that has begun to end opens nothing any more, also where the end came in the middle of a reload.
func TestReloadAtTheEnd(t *testing.T) {
	loaded := configuration(t, "")
	balancer, next := reloading(t, loaded)
	free := freeAddress(t)
	more := changed(loaded, func(c *config.Config) {
		c.Listeners = append(slices.Clone(c.Listeners), config.Listener{Address: free, Name: free})
	})
	next.Store(more)
	late, err := balancer.newPlane(more, balancer.plane.Load())
	if err != nil {
		t.Fatal(err)
	}
	balancer.Shutdown()
	if _, err := balancer.Reload(); !errors.Is(err, errEnding) {
		t.Errorf("got %v", err)
	}
	waitUntil(t, "nobody is accepted", func() bool { return balancer.traffic.Use(balancer.traffic.Plan()) != nil })
	if err := balancer.use(late); err == nil {
		t.Error("a plane took effect")
	}
	late.discard()
	if opened, err := net.Listen("tcp", free); err != nil {
		t.Errorf("a listener is left: %v", err)
	} else {
		opened.Close()
	}
}

// While what there is goes to another process, nothing of it changes; a change that has begun is waited for.
func TestNothingChangesDuringAnUpgrade(t *testing.T) {
	loaded := configuration(t, fmt.Sprintf("cache: {dir: %q}", t.TempDir()))
	balancer, _ := reloading(t, loaded)
	end, err := balancer.change()
	if err != nil {
		t.Fatal(err)
	}
	released := make(chan handover.State)
	go func() {
		state, err := balancer.release(context.Background())
		if err != nil {
			t.Error(err)
		}
		released <- state
	}()
	waitUntil(t, "nothing may be begun", func() bool {
		end, err := balancer.change()
		if err == nil {
			end()
		}
		return errors.Is(err, handover.ErrBusy)
	})
	select {
	case <-released:
		t.Error("a change that has begun was not waited for")
	default:
	}
	end()
	state := <-released
	if len(state.Listeners) != 2 || state.Files[controlLock] == nil {
		t.Errorf("handed over: %+v", state)
	}
	if _, err := balancer.Reload(); !errors.Is(err, handover.ErrBusy) {
		t.Errorf("reload: %v", err)
	}
	if _, _, err := (flushes{balancer.cache, balancer.change}).FlushAll(); !errors.Is(err, handover.ErrBusy) {
		t.Errorf("flush: %v", err)
	}
	client := control.NewClient(loaded.Control.Socket)
	defer client.Close()
	_, err = client.Flush(t.Context(), control.FlushRequest{All: true})
	if refused, ok := errors.AsType[*control.Refused](err); !ok || refused.Code != http.StatusServiceUnavailable {
		t.Errorf("flush: %v", err)
	}
	if _, err := client.Status(t.Context()); err != nil {
		t.Errorf("status: %v", err)
	}
	if balancer.disk.at.Load() != nil {
		t.Error("the disk tier is held")
	}
	balancer.resume()
	if balancer.disk.at.Load() == nil {
		t.Error("the disk tier was not taken back")
	}
	if _, err := balancer.Reload(); err != nil {
		t.Error(err)
	}
}
