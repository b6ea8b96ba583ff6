package pool

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRoundRobinIsSmooth(t *testing.T) {
	for _, test := range []struct {
		weights []int
		want    string
	}{
		{[]int{1}, "aaaa"},
		{[]int{1, 1, 1}, "abcabcabc"},
		{[]int{5, 1, 1}, "aabacaaaabacaa"},
		{[]int{4, 2, 1}, "abacabaabacaba"},
		{[]int{1, 0, 1}, "acacac"},
	} {
		p := start(t, Options{Servers: servers(test.weights...)})
		expect(t, fmt.Sprint(test.weights), letters(t, p, len(test.want)), test.want)
	}
}

func TestRoundRobinIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, MaxWeight), 1, 12).Draw(t, "weights")
		p, err := New(Options{Servers: servers(weights...)})
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, weight := range weights {
			total += weight
		}
		for range total {
			s, _ := p.Pick(Key{}, nil)
			s.Release()
		}
		for i, s := range p.Status().Servers {
			if s.Picked != uint64(weights[i]) {
				t.Fatalf("server %d of weight %d picked %d times in %d", i, weights[i], s.Picked, total)
			}
		}
	})
}

func TestLeastConnections(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 2, 4), Balance: LeastConnections})
	for range 70 {
		pick(t, p, Key{})
	}
	for i, want := range []int{10, 20, 40} {
		expect(t, "connections", p.Status().Servers[i].Connections, want)
	}
	at(p, 1).Release()
	expect(t, "after one ended", letters(t, p, 3), "bbb")
}

func TestLeastConnectionsTakesEqualsInTurn(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 1), Balance: LeastConnections})
	expect(t, "order", letters(t, p, 6), "abcabc")
}

func TestRandomTwo(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 1, 1), Balance: RandomTwo})
	for range 30 {
		pick(t, p, Key{})
	}
	busiest := at(p, 0)
	p.mu.Lock()
	busiest.connections += 100
	p.mu.Unlock()
	if got := letters(t, p, 200); strings.Contains(got, "a") {
		t.Error("the busiest server was preferred to another")
	}
}

func TestRandomTwoDrawsByWeight(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 8), Balance: RandomTwo})
	got := letters(t, p, 6000) // none is ever busy: the first drawn
	for i, share := range []float64{0.1, 0.1, 0.8} {
		if n := float64(strings.Count(got, string(rune('a'+i)))); math.Abs(n/6000-share) > 0.04 {
			t.Errorf("server %d got %v of 6000, want a share of %v", i, n, share)
		}
	}
}

// client returns the n-th of many clients.
func client(n int) Key {
	return Key{Client: netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}), Name: fmt.Sprintf("%d.example", n)}
}

func TestHashSpreadsByWeight(t *testing.T) {
	for _, balance := range []Balance{SourceHash, NameHash} {
		p := start(t, Options{Servers: servers(1, 2, 1, 4), Balance: balance})
		counts := make(map[byte]float64)
		for n := range 8000 {
			s := pick(t, p, client(n))
			counts[letter(p, s)]++
			s.Release()
		}
		for letter, share := range map[byte]float64{'a': 0.125, 'b': 0.25, 'c': 0.125, 'd': 0.5} {
			if got := counts[letter] / 8000; math.Abs(got-share) > 0.02 {
				t.Errorf("%v: %c has a share of %v, want %v", balance, letter, got, share)
			}
		}
	}
}

func TestHashGoesByItsKeyAlone(t *testing.T) {
	mapped := netip.MustParseAddr("::ffff:192.0.2.7")
	for _, test := range []struct {
		name    string
		balance Balance
		a, b    Key
	}{
		{"source, other name", SourceHash, Key{mapped, "a.example"}, Key{mapped, "b.example"}},
		{"source, mapped", SourceHash, Key{Client: mapped}, Key{Client: mapped.Unmap()}},
		{"name, other client", NameHash, Key{mapped, "a.example"}, Key{netip.MustParseAddr("2001:db8::1"), "a.example"}},
		{"no name", NameHash, Key{Client: mapped}, Key{Client: mapped.Unmap()}},
	} {
		p := start(t, Options{Servers: servers(1, 1, 1, 1, 1, 1, 1, 1), Balance: test.balance})
		for range 3 {
			expect(t, test.name, pick(t, p, test.a), pick(t, p, test.b))
		}
	}
}

func TestHashWithoutANameGoesByTheClient(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 1, 1), Balance: NameHash})
	seen := make(map[*Server]bool)
	for n := range 100 {
		seen[pick(t, p, Key{Client: client(n).Client})] = true
	}
	expect(t, "servers used", len(seen), 4)
}

// A new version of this program must send clients where the last one did.
func TestHashIsTheSameForever(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 3, 1, 2, 1), Balance: NameHash})
	var got []byte
	for n := range 24 {
		got = append(got, letter(p, pick(t, p, client(n))))
	}
	expect(t, "servers", string(got), "aaebeabddcbadbbbedccbbdd")
}

// When a server goes, its keys alone move; when one comes, keys move to it alone, and its share of them.
func TestHashMovesFewKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 8), 2, 12).Draw(t, "weights")
		gone := rapid.IntRange(0, len(weights)-1).Draw(t, "gone")
		with, _ := New(Options{Servers: servers(weights...), Balance: NameHash})
		weights[gone] = 0
		without, _ := New(Options{Servers: servers(weights...), Balance: NameHash})
		for n := range 200 {
			before, _ := with.Pick(client(n), nil)
			after, _ := without.Pick(client(n), nil)
			if before.Address() != address(gone) && before.Address() != after.Address() {
				t.Fatalf("a key of %s moved to %s, when %s went", before.Address(), after.Address(), address(gone))
			}
		}
	})
}

func TestHashGoesOnToTheNextBest(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 1), Balance: SourceHash})
	for n := range 50 {
		first := pick(t, p, client(n))
		second := pick(t, p, client(n), first)
		if first == second {
			t.Fatal("a server that was tried came again")
		}
		first.SetHealth(false, "refused", 0)
		expect(t, "with the first down", pick(t, p, client(n)), second)
		first.SetHealth(true, "", 0)
	}
}
