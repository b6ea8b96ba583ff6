package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// Round robin gives each server its weight's share, and spreads it: with 3 to 1 nobody gets four in a row.
func TestBalanceRoundRobinWeights(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 3)
	g := start(t, usesStore(newStore(t)), serversOf(servers, "weight: 3", "weight: 1", "weight: 0"))
	counts, row, longest, last := map[string]int{}, 0, 0, ""
	for range 24 {
		server := g.reached("a.example")
		if row++; server != last {
			row, last = 1, server
		}
		counts[server]++
		longest = max(longest, row)
	}
	if counts[servers[0].address] != 18 || counts[servers[1].address] != 6 || longest > 3 {
		t.Errorf("%v of 24 with weights 3, 1 and 0, up to %d in a row", counts, longest)
	}
}

// Least connections goes by what is open, for its weight: a server whose connections end gets the next ones.
func TestBalanceLeastConnections(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 3)
	g := start(t, usesStore(newStore(t)), serversOf(servers, "weight: 2"), inMain("balance: least_connections"))
	open := g.holdTo(12)
	for i, want := range []int{6, 3, 3} {
		if got := len(open[servers[i].address]); got != want {
			t.Errorf("server %d has %d of 12, want %d", i, got, want)
		}
	}
	for _, c := range open[servers[1].address] {
		c.Close()
	}
	g.eventually("the server has nothing open", func() bool { return g.serverAt(servers[1].address).Connections == 0 })
	if next := g.holdTo(2); len(next[servers[1].address]) != 2 {
		t.Errorf("the next went to %v, want %s", slices.Collect(maps.Keys(next)), servers[1].address)
	}
}

// Random of two never takes the server that has most open, and spreads over the others.
func TestBalanceRandomTwo(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 3)
	for _, late := range servers[1:] {
		late.stop()
	}
	g := start(t, usesStore(newStore(t)), serversOf(servers), inMain("balance: random_two"), checked)
	g.awaitState("down", servers[1].address, servers[2].address)
	g.holdTo(20)
	for _, late := range servers[1:] {
		late.start()
	}
	g.awaitState("up", servers[1].address, servers[2].address)
	open := g.holdTo(20)
	busy, first, second := len(open[servers[0].address]), len(open[servers[1].address]), len(open[servers[2].address])
	if busy != 0 || min(first, second) < 3 {
		t.Errorf("%d more for the one that had 20, %d and %d for the others", busy, first, second)
	}
}

// A client's address decides, and goes on to decide when others come between. When a server goes only its clients move,
// and they come back with it.
func TestBalanceSourceHash(t *testing.T) {
	t.Parallel()
	wantSticky(t, "source_hash", func(g *gate, key int) string {
		return g.reachedFrom(fmt.Sprintf("127.0.%d.%d", 1+key/200, 1+key%200), fmt.Sprintf("n%d.example", key%3))
	})
}

// The name that is asked for decides, whoever asks.
func TestBalanceNameHash(t *testing.T) {
	t.Parallel()
	attempt := 0
	wantSticky(t, "name_hash", func(g *gate, key int) string {
		attempt++
		return g.reachedFrom(fmt.Sprintf("127.0.2.%d", 1+attempt%200), fmt.Sprintf("n%d.example", key))
	})
}

// wantSticky checks that keys have servers by a rule: one of twice the weight has twice as many, always the same ones.
func wantSticky(t *testing.T, rule string, reached func(g *gate, key int) string) {
	const keys = 120
	servers := newBackends(t, 3)
	g := start(t, usesStore(newStore(t)), serversOf(servers, "weight: 2"), inMain("balance: "+rule), checked)
	round := func() map[int]string {
		found := map[int]string{}
		for key := range keys {
			found[key] = reached(g, key)
		}
		return found
	}
	first := round()
	counts := map[string]int{}
	for _, server := range first {
		counts[server]++
	}
	// 60, 30 and 30 are expected, within 5 standard deviations.
	if n := counts[servers[0].address]; n < 33 || n > 87 || counts[servers[1].address] < 7 || counts[servers[2].address] < 7 {
		t.Errorf("%v of %d with weights 2, 1 and 1", counts, keys)
	}
	wantMoved(t, "again", first, round(), "")

	servers[1].stop()
	g.awaitState("down", servers[1].address)
	wantMoved(t, "without one", first, round(), servers[1].address)
	servers[1].start()
	g.awaitState("up", servers[1].address)
	wantMoved(t, "with it again", first, round(), "")
}

// wantMoved checks that of all keys those of one server moved, and no others.
func wantMoved(t *testing.T, when string, before, after map[int]string, gone string) {
	t.Helper()
	for key, server := range before {
		if moved := after[key] != server; moved != (server == gone) {
			t.Errorf("%s: key %d was with %s and is with %s", when, key, server, after[key])
		}
	}
}
