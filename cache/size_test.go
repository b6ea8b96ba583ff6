package cache

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

func TestSizeBoundUnderDeduplication(t *testing.T) {
	t.Parallel()
	ca := certtest.NewCA(t)
	shared := []certtest.Issued{ca.Issue(t, "*.example"), ca.Issue(t, "*.example")}
	old := sha256.Sum256(shared[0].Leaf.Raw)
	var current atomic.Int32
	c := New(Options{Aliases: AliasesOff, Log: zerolog.Nop(), Store: answering(func(store.Request) (*store.Bundle, error) {
		return &store.Bundle{Store: "test", Pairs: []store.Pair{shared[current.Load()].Pair}}, nil
	})})
	defer c.Close()
	const names = 3000
	for i := range names {
		c.Prefetch(context.Background(), nameOf(i))
	}
	stats := c.Stats()
	if stats.Entries != names || stats.Pairs != 1 {
		t.Fatalf("stats %+v", stats)
	}
	if each := stats.Bytes / names; each > 300 {
		t.Fatalf("%d bytes a name, though the certificate is shared", each)
	}
	// A new certificate takes the place of the shared one: a flush of one name has all the others asked for again. Both are
	// held meanwhile, and the first goes with the last name that had it.
	current.Store(1)
	c.Flush(nameOf(0))
	c.Prefetch(context.Background(), nameOf(0))
	for deadline := time.Now().Add(time.Minute); holds(c, old) || c.Stats().Fetching > 0; {
		if time.Sleep(10 * time.Millisecond); time.Now().After(deadline) {
			t.Fatal("the old certificate is still held")
		}
	}
	if got := c.Stats(); got.Entries != names || got.Pairs != 1 || got.Bytes != stats.Bytes {
		t.Fatalf("stats %+v, before %+v", got, stats)
	}
	if flushed, _, _ := c.FlushAll(); len(flushed) != names {
		t.Fatalf("%d flushed", len(flushed))
	}
	if got := c.Stats(); got.Bytes != 0 || got.Pairs != 0 || got.Entries != 0 {
		t.Fatalf("stats %+v", got)
	}
}

func holds(c *Cache, fingerprint [32]byte) bool {
	c.mu.Lock()
	defer c.unlock()
	return c.pairs.has(fingerprint)
}

func TestSizeBoundHoldsAndWhatIsUsedStays(t *testing.T) {
	ca := certtest.NewCA(t)
	c := New(Options{Size: 4 << 20, Store: &shelf{}, Aliases: AliasesOff, Log: zerolog.Nop()})
	defer c.Close()
	used := make([]Query, 100)
	fill(t, c, ca, len(used))
	for i := range used {
		used[i] = Query{Name: nameOf(i)}
	}
	for round := range 20 {
		for _, query := range used {
			if _, err := c.Get(context.Background(), query); err != nil {
				t.Fatalf("round %d: %s went though it is in use: %v", round, query.Name, err)
			}
		}
		fillFrom(t, c, ca, 1000*(round+1), 500)
		if stats := c.Stats(); stats.Bytes > stats.LimitBytes || stats.HotBytes > stats.LimitBytes/16 {
			t.Fatalf("stats %+v", stats)
		}
	}
	if stats := c.Stats(); stats.Evictions < 5000 || stats.Bytes < stats.LimitBytes*3/4 {
		t.Fatalf("stats %+v", stats)
	}
}

func TestHotTierIsBounded(t *testing.T) {
	ca := certtest.NewCA(t)
	c := New(Options{Size: 4 << 20, Store: &shelf{}, Aliases: AliasesOff, Log: zerolog.Nop()})
	defer c.Close()
	const names = 2000
	fill(t, c, ca, names)
	for i := range names {
		if got, err := c.Get(context.Background(), Query{Name: nameOf(i)}); err != nil || got.Source != Hit {
			t.Fatalf("%s: %s, %v", nameOf(i), got.Source, err)
		}
	}
	stats := c.Stats()
	if stats.HotBytes > 4<<20/16 || stats.HotEntries < 150 || stats.HotEntries > 300 || stats.Entries != names {
		t.Fatalf("stats %+v", stats)
	}
}

// What signers hold outside of Go's heap is in the bound while their keys are hot, and no longer.
func TestSignerBytesAreCounted(t *testing.T) {
	const each, names = 10 << 10, 100
	ca := certtest.NewCA(t)
	options := Options{
		Size: 4 << 20, Store: &shelf{}, Aliases: AliasesOff, Log: zerolog.Nop(),
		SignerBytes: func(crypto.PublicKey) int64 { return each },
	}
	c := New(options)
	defer c.Close()
	fill(t, c, ca, names)
	for i := range names {
		c.Get(context.Background(), Query{Name: nameOf(i)})
	}
	stats := c.Stats()
	if stats.HotBytes > options.Size/16 || stats.HotBytes < each*int64(stats.HotEntries) || stats.HotEntries < 15 {
		t.Errorf("stats %+v", stats)
	}
	c.FlushAll()
	if stats := c.Stats(); stats.HotBytes != 0 {
		t.Errorf("%d bytes are left", stats.HotBytes)
	}
}

func TestFloodOfUnknownNamesIsBoundedAndEvictsNothing(t *testing.T) {
	t.Parallel()
	ca := certtest.NewCA(t)
	known := ca.Issue(t, "*.example")
	c := New(Options{Log: zerolog.Nop(), Store: answering(func(request store.Request) (*store.Bundle, error) {
		if len(request.Name) > 64 {
			return unknown(request)
		}
		return gives(known)(request)
	})})
	defer c.Close()
	for i := range 100 {
		c.Prefetch(context.Background(), nameOf(i))
	}
	before := liveBytes()
	label := make([]byte, 30)
	flood := func(count int) {
		for range count {
			rand.Read(label)
			c.Get(context.Background(), Query{Name: fmt.Sprintf("%x.example.com", label)})
		}
	}
	flood(20000)
	if grown := liveBytes() - before; grown > 8<<20 {
		t.Fatalf("20,000 unknown names took %d bytes", grown)
	}
	if stats := c.Stats(); stats.Negative != 20000 {
		t.Fatalf("stats %+v", stats)
	}
	// With a small bound the oldest go, and no certificate.
	c.mu.Lock()
	c.unknown.limit = 100 << 10
	c.mu.Unlock()
	flood(1000)
	if stats := c.Stats(); stats.Negative > 700 || stats.Entries != 100 || stats.Evictions != 0 {
		t.Fatalf("stats %+v", stats)
	}
}

func TestRememberedAnswersAreForgotten(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.shelf.set("bad.example", failing(errDown))
		l.get("bad.example")
		for i := range 100 {
			l.get(nameOf(i))
		}
		l.sleep(3 * time.Minute)
		if stats := l.Stats(); stats.Negative != 0 || stats.Failing != 0 || stats.Bytes != 0 {
			t.Fatalf("stats %+v", stats)
		}
	})
}

func TestQueueTakesTurns(t *testing.T) {
	q := newQueue()
	add := func(client, name string) *flight {
		f := &flight{client: netip.MustParseAddr(client), request: store.Request{Name: name}}
		q.push(f)
		return f
	}
	for i := range 5 {
		add("192.0.2.1", fmt.Sprintf("a%d", i))
	}
	add("2001:db8::1", "b0")
	add("2001:db8::2", "b1") // the same /64
	add("2001:db8:0:1::1", "c0")
	gone := add("192.0.2.2", "d0")
	q.remove(gone)
	var order string
	for f := q.pop(); f != nil; f = q.pop() {
		order += f.request.Name + " "
	}
	if order != "a0 b0 c0 a1 b1 a2 a3 a4 " {
		t.Fatalf("order %s", order)
	}
	if q.count != 0 || len(q.clients) != 0 || q.turns.Len() != 0 {
		t.Fatalf("left: %+v", q)
	}
}

func TestNameFromAFloodDoesNotWaitWithTheFlood(t *testing.T) {
	run(t, func(o *Options) { o.Fetches = 1 }, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "*.example")
		l.shelf.setAll(gives(issued))
		l.shelf.setDelay(100 * time.Millisecond)
		flood, end := context.WithCancel(context.Background())
		var group sync.WaitGroup
		for i := range 1000 {
			group.Go(func() { l.Get(flood, Query{Name: nameOf(i), Client: netip.MustParseAddr("198.51.100.7")}) })
		}
		synctest.Wait()
		start := time.Now()
		for _, i := range []int{100, 500, 999} {
			l.get(nameOf(i))
		}
		if took := time.Since(start); took > time.Second {
			t.Fatalf("three names took %s", took)
		}
		end()
		group.Wait()
		l.sleep(time.Second)
	})
}

// Whatever is fetched, flushed, refused and evicted in whatever order, what is counted is what is there.
func TestBooksBalance(t *testing.T) {
	ca := certtest.NewCA(t)
	var issued []certtest.Issued
	for i := range 4 {
		issued = append(issued, ca.Issue(t, "*.example", nameOf(i), nameOf(i+1)))
	}
	pattern, err := sni.ParsePattern("*.example")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var answer atomic.Int32 // which aliases ask for too, in the background
		c := New(Options{
			Size: 32 << 10, Fetches: 1, Aliases: AliasesAll, NegativeTTL: time.Nanosecond, Log: zerolog.Nop(),
			Store: answering(func(request store.Request) (*store.Bundle, error) {
				if at := answer.Load(); at < int32(len(issued)) {
					return gives(issued[at])(request)
				}
				return unknown(request)
			}),
		})
		defer c.Close()
		name := rapid.Custom(func(t *rapid.T) string { return nameOf(rapid.IntRange(0, 60).Draw(t, "n")) })
		t.Repeat(map[string]func(*rapid.T){
			"get": func(t *rapid.T) {
				answer.Store(int32(rapid.IntRange(0, len(issued)).Draw(t, "answer")))
				c.Prefetch(context.Background(), name.Draw(t, "name"))
			},
			"hit":   func(t *rapid.T) { c.cached(Query{Name: name.Draw(t, "name")}, true) },
			"flush": func(t *rapid.T) { c.Flush(name.Draw(t, "name")) },
			"fingerprint": func(t *rapid.T) {
				c.FlushFingerprint(sha256.Sum256(issued[rapid.IntRange(0, 3).Draw(t, "i")].Leaf.Raw))
			},
			"pattern": func(t *rapid.T) { c.FlushPattern(pattern) },
			"":        func(t *rapid.T) { audit(t, c) },
		})
		c.FlushAll()
		if stats := c.Stats(); stats.Entries != 0 || stats.Pairs != 0 || stats.HotEntries != 0 {
			t.Fatalf("stats %+v", stats)
		}
	})
}

// audit counts everything anew.
func audit(t *rapid.T, c *Cache) {
	c.mu.Lock()
	defer c.unlock()
	var bytes int64
	references := map[*pair]int32{}
	heat := map[*pair]int32{}
	ready, aliases, pinned, withdrawn := 0, 0, 0, 0
	for e := range c.index.all(0) {
		held := e.held.Load()
		bytes += e.cost(held)
		for p := range held.each() {
			references[p]++
		}
		if hot := e.ready.Load(); hot != nil {
			ready++
			heat[held.pairs[0]]++
			if hot.second != nil {
				heat[held.pairs[1]]++
			}
		}
		if held.pinned() {
			pinned++
		}
		if held.withdrawn() {
			withdrawn++
		}
		if held.owner != nil {
			aliases++
			if owner, _ := c.index.find(held.owner.key); owner != held.owner {
				t.Fatalf("%s is an alias of %s, which is gone", e.key, held.owner.key)
			}
		}
	}
	var pairBytes int64
	chains := map[*chain]bool{}
	for p, count := range references {
		if p.references != count || p.heat != heat[p] || (p.hot != nil) != (count > 0 && heat[p] > 0) {
			t.Fatalf("a pair has %d references and heat %d, counted %d and %d", p.references, p.heat, count, heat[p])
		}
		pairBytes += p.cost()
		chains[p.chain] = true
	}
	for chain := range chains {
		pairBytes += chain.cost()
	}
	owned := 0
	for _, list := range c.aliases {
		owned += len(list)
	}
	if bytes != c.bytes || pairBytes != c.pairs.bytes || len(references) != c.pairs.count || ready != len(c.hot.ring) || owned != aliases {
		t.Fatalf("bytes %d of %d, of pairs %d of %d, pairs %d of %d, ready %d of %d, aliases %d of %d",
			c.bytes, bytes, c.pairs.bytes, pairBytes, c.pairs.count, len(references), len(c.hot.ring), ready, owned, aliases)
	}
	if pinned != c.totals.pinned || withdrawn != c.totals.withdrawn {
		t.Fatalf("pinned %d of %d, withdrawn %d of %d", c.totals.pinned, pinned, c.totals.withdrawn, withdrawn)
	}
	if c.bytes+c.pairs.bytes > c.limit && c.index.count > 3 {
		t.Fatalf("%d bytes, %d allowed", c.bytes+c.pairs.bytes, c.limit)
	}
}
