package limit

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var addr = netip.MustParseAddr

// Which addresses are one client.
func TestOneClient(t *testing.T) {
	tests := []struct {
		name, first, second string
		one                 bool
	}{
		{"one address", "192.0.2.1", "192.0.2.1", true},
		{"neighbours", "192.0.2.1", "192.0.2.2", false},
		{"an address and the same as IPv6", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"a /64", "2001:db8::1", "2001:db8::ffff:0:0:2", true},
		{"two /64", "2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"a zone", "fe80::1%eth0", "fe80::1%eth1", true},
		{"IPv4 and the /64 that has its bytes", "192.0.2.1", "0:0:c000:201::1", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := NewClients(Rules{Connections: 1})
			if got := c.Take(addr(test.first)); got != Pass {
				t.Fatalf("the first: %v", got)
			}
			if got := c.Take(addr(test.second)); (got == TooMany) != test.one {
				t.Errorf("the second: %v", got)
			}
			c.Release(addr(test.second))
			if got := c.Take(addr(test.first)); (got == Pass) != test.one {
				t.Errorf("after the second's release: %v", got)
			}
		})
	}
}

// What has no address is not counted.
func TestLocalClients(t *testing.T) {
	c := NewClients(Rules{Connections: 1, Rate: 1, Burst: 1})
	for range 3 {
		if got := c.Take(netip.Addr{}); got != Pass {
			t.Fatal(got)
		}
	}
	c.Release(netip.Addr{})
	if counted, buckets := c.Tracked(); counted+buckets != 0 {
		t.Errorf("%d counted, %d buckets", counted, buckets)
	}
}

// A release makes room for one.
func TestRelease(t *testing.T) {
	c, client := NewClients(Rules{Connections: 2}), addr("192.0.2.1")
	for i, want := range []Verdict{Pass, Pass, TooMany} {
		if got := c.Take(client); got != want {
			t.Fatalf("take %d: %v, not %v", i, got, want)
		}
	}
	c.Release(client)
	for i, want := range []Verdict{Pass, TooMany} {
		if got := c.Take(client); got != want {
			t.Fatalf("take %d after the release: %v, not %v", i, got, want)
		}
	}
}

// A bucket lets a burst through at once and then one an interval, and a pause fills it no further than its brim.
func TestRate(t *testing.T) {
	tests := []struct {
		name  string
		rules Rules
		burst int
		each  time.Duration
	}{
		{"ten a second", Rules{Rate: 10, Burst: 5}, 5, 100 * time.Millisecond},
		{"one a minute", Rules{Rate: 1.0 / 60, Burst: 2}, 2, time.Minute},
		{"the burst left to the rate", Rules{Rate: 20}, 20, 50 * time.Millisecond},
		{"a rate below one alone", Rules{Rate: 0.5}, 1, 2 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := NewClients(test.rules)
				for _, pause := range []time.Duration{0, 1000 * time.Hour} {
					time.Sleep(pause)
					wantPasses(t, c, test.burst)
				}
				time.Sleep(test.each - time.Microsecond)
				wantPasses(t, c, 0)
				time.Sleep(2 * time.Microsecond)
				wantPasses(t, c, 1)
				time.Sleep(3 * test.each)
				wantPasses(t, c, min(3, test.burst))
			})
		})
	}
}

// wantPasses takes connections of a client until one is refused.
func wantPasses(t *testing.T, c *Clients, want int) {
	t.Helper()
	for n := 0; n <= want+1; n++ {
		switch got := c.Take(addr("192.0.2.1")); {
		case got == TooFast && n == want:
			return
		case got != Pass || n == want:
			t.Fatalf("number %d: %v, not %d", n+1, got, want)
		}
	}
}

// One that is refused for its count takes nothing out of its bucket.
func TestCountBeforeRate(t *testing.T) {
	c := NewClients(Rules{Connections: 1, Rate: 0.001, Burst: 2})
	client := addr("192.0.2.1")
	for i, want := range []Verdict{Pass, TooMany, TooMany} {
		if got := c.Take(client); got != want {
			t.Fatalf("take %d: %v, not %v", i, got, want)
		}
	}
	c.Release(client)
	if got := c.Take(client); got != Pass {
		t.Errorf("after the release: %v", got)
	}
	c.Release(client)
	if got := c.Take(client); got != TooFast {
		t.Errorf("with an empty bucket: %v", got)
	}
}

// New rules hold for what was counted under the old.
func TestSetRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := addr("192.0.2.1")
		c := NewClients(Rules{})
		for range 3 {
			c.Take(client)
		}
		c.SetRules(Rules{Connections: 3})
		if got := c.Take(client); got != TooMany {
			t.Errorf("a fourth: %v", got)
		}
		c.SetRules(Rules{Rate: 1.0 / 3600, Burst: 5})
		wantPasses(t, c, 5)
		// Five hours' worth was drawn. A faster rule doesn't have the client wait for them.
		c.SetRules(Rules{Rate: 10, Burst: 2})
		wantPasses(t, c, 0)
		time.Sleep(201 * time.Millisecond)
		wantPasses(t, c, 2)
		c.SetRules(Rules{Rate: 0})
		if counted, buckets := c.Tracked(); counted != 1 || buckets != 0 {
			t.Errorf("without a rate %d counted, %d buckets", counted, buckets)
		}
		c.SetRules(Rules{Rate: 1, Burst: 1})
		wantPasses(t, c, 1)
	})
}

// What is kept is bounded, whoever comes, and dropped when it says nothing any more.
func TestBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClients(Rules{Rate: 1, Burst: 10})
		const flood = 3 * shards * maxRecent
		var six [16]byte
		for i := range flood {
			binary.BigEndian.PutUint32(six[4:], uint32(i))
			six[0] = 0x20
			client := netip.AddrFrom16(six)
			if got := c.Take(client); got != Pass {
				t.Fatalf("client %d: %v", i, got)
			}
			c.Release(client)
		}
		counted, buckets := c.Tracked()
		if counted != 0 || buckets > 2*shards*maxRecent || buckets < shards*maxRecent/2 {
			t.Errorf("%d counted, %d buckets", counted, buckets)
		}
		for range 2 {
			time.Sleep(11 * time.Second)
			for i := range 2000 { // some in every shard
				c.Take(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
			}
		}
		if _, buckets := c.Tracked(); buckets > 2*2000 {
			t.Errorf("%d buckets are left of those that are full", buckets)
		}
	})
}

// A flood of other clients does not give one that keeps trying a full bucket.
func TestFloodOfOthers(t *testing.T) {
	c := NewClients(Rules{Rate: 0.0001, Burst: 1})
	client, passed := addr("192.0.2.1"), 0
	for i := range 2 * shards * maxRecent {
		if i%1024 == 0 && c.Take(client) == Pass {
			passed++
		}
		var six [16]byte
		six[0] = 0x20
		binary.BigEndian.PutUint32(six[4:], uint32(i))
		c.Take(netip.AddrFrom16(six))
	}
	if passed != 1 {
		t.Errorf("%d passed", passed)
	}
}

// The verdicts are those of a token bucket of which nothing is ever dropped.
func TestRateModel(t *testing.T) {
	type bucket struct {
		tokens float64
		at     time.Time
	}
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		rules := Rules{Rate: 8, Burst: 4} // an interval without a remainder in binary, so that the model rounds nothing
		c, model := NewClients(rules), map[int]*bucket{}
		refused := 0
		for step := range 200_000 {
			time.Sleep(time.Duration(random.ExpFloat64() * float64(3*time.Millisecond)))
			n := random.IntN(40)
			b := model[n]
			if b == nil {
				b = &bucket{4, time.Now()}
				model[n] = b
			}
			b.tokens, b.at = min(4, b.tokens+8*time.Since(b.at).Seconds()), time.Now()
			got := c.Take(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}))
			if near := b.tokens - 1; near > -1e-6 && near < 1e-6 {
				b.tokens = map[bool]float64{true: 0, false: 1}[got == Pass]
				continue // too close to tell
			}
			want := Pass
			if b.tokens < 1 {
				want = TooFast
				refused++
			} else {
				b.tokens--
			}
			if got != want {
				t.Fatalf("step %d, client %d with %f tokens: %v", step, n, b.tokens, got)
			}
		}
		if refused < 1000 {
			t.Errorf("only %d were refused", refused)
		}
	})
}

// However many come at once, no more than may are open, and each that left can be replaced.
func TestClientsAtOnce(t *testing.T) {
	const limit = 3
	c := NewClients(Rules{Connections: limit})
	var open, passed atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 2000 {
				if c.Take(addr("192.0.2.1")) != Pass {
					continue
				}
				passed.Add(1)
				if n := open.Add(1); n > limit {
					t.Errorf("%d open", n)
				}
				open.Add(-1)
				c.Release(addr("192.0.2.1"))
			}
		})
	}
	group.Wait()
	if counted, _ := c.Tracked(); counted != 0 || passed.Load() == 0 {
		t.Errorf("%d counted in the end, %d passed", counted, passed.Load())
	}
}

func BenchmarkTake(b *testing.B) {
	rules := Rules{Connections: 1000, Rate: 1e9, Burst: 1000}
	clients := make([]netip.Addr, 1<<16)
	for i := range clients {
		clients[i] = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	b.Run("one client", func(b *testing.B) {
		c := NewClients(rules)
		for b.Loop() {
			c.Take(clients[0])
			c.Release(clients[0])
		}
	})
	b.Run("many clients", func(b *testing.B) {
		c := NewClients(rules)
		for i := 0; b.Loop(); i++ {
			c.Take(clients[i%len(clients)])
			c.Release(clients[i%len(clients)])
		}
	})
	b.Run("many slow clients", func(b *testing.B) {
		c := NewClients(Rules{Connections: 1000, Rate: 10, Burst: 100})
		for i := 0; b.Loop(); i++ {
			c.Take(clients[i%len(clients)])
			c.Release(clients[i%len(clients)])
		}
	})
	b.Run("refused", func(b *testing.B) {
		c := NewClients(Rules{Rate: 0.0001, Burst: 1})
		for b.Loop() {
			c.Take(clients[0])
		}
	})
}
