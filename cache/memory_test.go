package cache

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store"
	"hellogate/store/certtest"
)

// liveBytes returns the bytes of live objects.
func liveBytes() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// issue makes a certificate for each name, all with one key: what it costs to hold them is the same.
func issue(t *testing.T, ca *certtest.CA, count int, options certtest.Options, names func(int) []string) map[string]store.Pair {
	t.Helper()
	options.Key = ca.IssueWith(t, certtest.Options{Names: []string{"k.example"}, RSA: options.RSA}).Signer
	pairs := make(map[string]store.Pair, count)
	for i := range count {
		options.Names = names(i)
		pairs[options.Names[0]] = ca.IssueWith(t, options).Pair
	}
	return pairs
}

func ownName(i int) []string { return []string{fmt.Sprintf("customer-%d.shop.example", i)} }

// The bound is in bytes, so the bytes that are counted must be those that are taken.
func TestBytesAreReal(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("takes seconds, and the race detector changes what is allocated")
	}
	const count = 2000
	ca := certtest.NewCA(t)
	get := func(c *Cache, name string) {
		got, err := c.Get(context.Background(), Query{Name: name})
		if err == nil {
			_, err = got.Certificate.PrivateKey.(crypto.Signer).Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	prefetch := func(c *Cache, name string) {
		if result, reason := c.Prefetch(context.Background(), name); result != "fetched" {
			t.Fatal(result, reason)
		}
	}
	deny := func(c *Cache, name string) { c.Get(context.Background(), Query{Name: name}) }
	tenNames := func(i int) []string {
		var names []string
		for j := range 10 {
			names = append(names, fmt.Sprintf("customer-%d-%d.shop.example", i, j))
		}
		return names
	}
	for _, test := range []struct {
		kind    string
		use     func(*Cache, string)
		options certtest.Options
		names   func(int) []string
		err     error
	}{
		{"P-256", prefetch, certtest.Options{}, ownName, nil},
		{"P-256, signing", get, certtest.Options{}, ownName, nil},
		{"RSA-2048", prefetch, certtest.Options{RSA: 2048}, ownName, nil},
		{"RSA-2048, signing", get, certtest.Options{RSA: 2048}, ownName, nil},
		{"P-256 with 9 aliases", prefetch, certtest.Options{}, tenNames, nil},
		{"no", deny, certtest.Options{}, nil, store.ErrUnknown},
		{"failure", deny, certtest.Options{}, nil, errDown},
	} {
		t.Run(test.kind, func(t *testing.T) {
			var pairs map[string]store.Pair
			names := make([]string, count)
			if test.names != nil {
				pairs = issue(t, ca, count, test.options, test.names)
			}
			for i := range names {
				names[i] = ownName(i)[0]
				if test.names != nil {
					names[i] = test.names(i)[0]
				}
			}
			source := answering(func(request store.Request) (*store.Bundle, error) {
				if test.err != nil {
					return nil, &store.Failure{Err: fmt.Errorf("store https://127.0.0.1:8888/certs: get %q: %w", request.Name, test.err)}
				}
				return &store.Bundle{Store: "test", Pairs: []store.Pair{pairs[request.Name]}}, nil
			})
			c := New(Options{Store: source, Aliases: AliasesAll, Log: zerolog.Nop()})
			defer c.Close()
			before := liveBytes()
			for _, name := range names {
				test.use(c, name)
			}
			took, counted := liveBytes()-before, c.Stats().Bytes
			t.Logf("%s: %d bytes a name, %d counted", test.kind, took/count, counted/count)
			if off := float64(counted)/float64(took) - 1; off < -0.15 || off > 0.15 {
				t.Errorf("counted %+.0f %% of what is taken", off*100)
			}
			c.FlushAll()
			if left := c.Stats().Bytes; left != 0 {
				t.Errorf("%d bytes after a flush of all", left)
			}
			runtime.KeepAlive(pairs)
		})
	}
}

// answering is a store that is a function.
type answering func(store.Request) (*store.Bundle, error)

func (a answering) Fetch(_ context.Context, request store.Request) (*store.Bundle, error) {
	return a(request)
}

// What 100,000 names with P-256 certificates of their own take. HELLOGATE_MEMORY=1 runs it, and takes a minute.
func TestMemory100k(t *testing.T) {
	if os.Getenv("HELLOGATE_MEMORY") == "" {
		t.Skip("HELLOGATE_MEMORY is not set")
	}
	const count = 100000
	ca := certtest.NewCA(t)
	c := New(Options{
		Store: answering(func(request store.Request) (*store.Bundle, error) {
			return &store.Bundle{Store: "test", Pairs: []store.Pair{ca.Issue(t, request.Name).Pair}}, nil
		}),
		Log: zerolog.Nop(),
	})
	defer c.Close()
	before := liveBytes()
	var group sync.WaitGroup
	for worker := range 2 {
		group.Go(func() {
			for i := worker; i < count; i += 2 {
				c.Prefetch(context.Background(), ownName(i)[0])
			}
		})
	}
	group.Wait()
	loaded := resident(t)
	took := liveBytes() - before
	time.Sleep(time.Minute)
	t.Logf("%d names: %d bytes live a name, %d counted; %d MB resident after loading, %d MB a minute later",
		c.Stats().Entries, took/count, c.Stats().Bytes/count, loaded>>20, resident(t)>>20)
	debug.FreeOSMemory()
	t.Logf("%d MB when idle memory is given back at once", resident(t)>>20)
	if took/count > 1200 {
		t.Errorf("%d bytes a name", took/count)
	}
}

func resident(t *testing.T) int64 {
	t.Helper()
	kilobytes, err := strconv.ParseInt(statusField(t, "VmRSS:"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// statusField is the number in a line of what the system tells of this process.
func statusField(t testing.TB, field string) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == field {
			return fields[1]
		}
	}
	t.Skip("no " + field)
	return ""
}
