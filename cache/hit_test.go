package cache

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store"
	"hellogate/store/certtest"
)

// fill puts names x0.example, x1.example, ... into a cache, each with a certificate of its own. To be quick, the
// certificates differ in bytes that nothing parses.
func fill(t testing.TB, c *Cache, ca *certtest.CA, names int) {
	t.Helper()
	fillFrom(t, c, ca, 0, names)
}

func fillFrom(t testing.TB, c *Cache, ca *certtest.CA, from, names int) {
	t.Helper()
	checked, err := store.Check(ca.Issue(t, "*.example").Pair, "x.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < from+names; i++ {
		name := nameOf(i)
		p, err := newPair(checked)
		if err != nil {
			t.Fatal(err)
		}
		p.fingerprint = [32]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}
		f := &flight{key: name, request: store.Request{Name: name}}
		got := answer{bundle: &store.Bundle{Store: "test"}, now: c.clock.now(), pairs: [2]*pair{p}}
		c.mu.Lock()
		c.keep(f, nil, got)
		c.unlock()
	}
}

func nameOf(i int) string { return fmt.Sprintf("x%d.example", i) }

func hotNames(t testing.TB, c *Cache, count, of int) []Query {
	t.Helper()
	queries := make([]Query, count)
	for i := range queries {
		queries[i] = Query{Name: nameOf(i * (of / count)), Client: netip.MustParseAddr("192.0.2.1")}
		if got, err := c.Get(context.Background(), queries[i]); err != nil || got.Source != Hit {
			t.Fatalf("%s: %s, %v", queries[i].Name, got.Source, err)
		}
	}
	return queries
}

func TestHitAllocatesNothing(t *testing.T) {
	c := New(Options{Store: &shelf{}, Aliases: AliasesOff, Log: zerolog.Nop()})
	defer c.Close()
	fill(t, c, certtest.NewCA(t), 1000)
	queries := hotNames(t, c, 100, 1000)
	next := 0
	if allocated := testing.AllocsPerRun(1000, func() {
		if _, err := c.Get(context.Background(), queries[next%100]); err != nil {
			t.Fatal(err)
		}
		next++
	}); allocated != 0 {
		t.Fatalf("%v allocations a hit", allocated)
	}
}

// A hit among 100,000 names of which 1,000 are hot.
func BenchmarkHit(b *testing.B) {
	c := New(Options{Store: &shelf{}, Aliases: AliasesOff, Log: zerolog.Nop()})
	defer c.Close()
	fill(b, c, certtest.NewCA(b), 100000)
	queries := hotNames(b, c, 1000, 100000)
	ctx := context.Background()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		next := 0
		for b.Loop() {
			if _, err := c.Get(ctx, queries[next]); err != nil {
				b.Fatal(err)
			}
			if next++; next == len(queries) {
				next = 0
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for next := 0; pb.Next(); next++ {
				if _, err := c.Get(ctx, queries[next%len(queries)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// A hit whose key has to be parsed first.
func BenchmarkWarm(b *testing.B) {
	c := New(Options{Store: &shelf{}, Aliases: AliasesOff, Log: zerolog.Nop()})
	defer c.Close()
	ca := certtest.NewCA(b)
	for name, options := range map[string]certtest.Options{"P-256": {Names: []string{"a.example"}}, "RSA-2048": {Names: []string{"a.example"}, RSA: 2048}} {
		checked, err := store.Check(ca.IssueWith(b, options).Pair, "a.example", time.Now())
		if err != nil {
			b.Fatal(err)
		}
		p, err := newPair(checked)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				key, err := p.parseKey()
				if err != nil {
					b.Fatal(err)
				}
				p.certificate(key)
			}
		})
	}
}
