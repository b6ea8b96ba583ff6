package cache

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"hellogate/store"
)

// ask looks names up that nobody knows and returns how many of them the store was asked for.
func (l *lab) ask(from netip.Addr, prefix string, count int) (asked int) {
	l.t.Helper()
	for i := range count {
		_, err := l.Get(context.Background(), Query{Name: fmt.Sprintf("%s%d.example", prefix, i), Client: from})
		switch {
		case errors.Is(err, store.ErrUnknown):
			asked++
		case !errors.Is(err, ErrLimited):
			l.t.Fatal(err)
		}
	}
	return asked
}

// Only a no costs, each client has its own share, and time gives it back.
func TestBudget(t *testing.T) {
	lookups := Lookups{Rate: 100, Burst: 50, PerClient: 2, ClientBurst: 10}
	run(t, func(o *Options) { o.Lookups = lookups }, func(t *testing.T, l *lab) {
		one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		known := l.stock("known.example")
		for i := range 100 {
			l.stock(nameOf(i))
			l.get(nameOf(i))
		}
		if got := l.ask(one, "a", 100); got != 10 {
			t.Errorf("one client had %d names looked up", got)
		}
		if got, err := l.Get(t.Context(), Query{Name: "known.example", Client: other}); err != nil || got.Source != Miss {
			t.Errorf("a name that the store knows: %v", err)
		}
		l.serves("known.example", known, Hit)
		if got := l.ask(other, "b", 5); got != 5 {
			t.Errorf("another had %d", got)
		}
		l.sleep(2 * time.Second)
		if got := l.ask(one, "c", 100); got != 4 {
			t.Errorf("after 2 s it had %d more", got)
		}
		if result, _ := l.Prefetch(t.Context(), "d.example"); result != "unknown" {
			t.Errorf("a prefetch was %s", result)
		}
		if l.Stats().Limited != 90+96 {
			t.Errorf("%d refused", l.Stats().Limited)
		}
	})
}

// A crowd of clients has no more than all may have.
func TestBudgetOfAll(t *testing.T) {
	run(t, func(o *Options) { o.Lookups = Lookups{Rate: 10, Burst: 30} }, func(t *testing.T, l *lab) {
		asked := 0
		for i := range 100 {
			asked += l.ask(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), fmt.Sprint("x", i, "-"), 1)
		}
		if asked != 30 {
			t.Errorf("%d names were looked up", asked)
		}
	})
}

// A client of which too many others came since begins anew; what is known of clients is bounded.
func TestBudgetIsBounded(t *testing.T) {
	b := newBudget(Lookups{PerClient: 1, ClientBurst: 1})
	now := moment{mono: 1}
	for i := range 2 * budgetClients {
		b.spend(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(b.clients) > budgetClients || len(b.hand) > budgetClients {
		t.Errorf("%d clients and %d in line", len(b.clients), len(b.hand))
	}
	if b.check(netip.MustParseAddr("10.0.127.255"), now) == nil {
		t.Error("the last one was forgotten")
	}
}

// What is spent for everybody is said by an explanation; what one client has spent it can't know.
func TestBudgetIsExplained(t *testing.T) {
	lookups := Lookups{Rate: 1, Burst: 3, PerClient: 1, ClientBurst: 2}
	run(t, func(o *Options) { o.Lookups = lookups }, func(t *testing.T, l *lab) {
		l.ask(netip.MustParseAddr("192.0.2.1"), "a", 3)
		l.explained("new.example", Step{"store", "would be asked"})
		l.ask(netip.MustParseAddr("192.0.2.2"), "b", 3)
		l.explained("new.example", Step{"look-ups", "none just now: too many look-ups of unknown names: of all clients, 1 a second allowed"})
		l.sleep(time.Second)
		l.explained("new.example", Step{"store", "would be asked"})
	})
}

// A flood that arrives before the first no of it is bounded too, and others have their names looked up all the same.
func TestBudgetBoundsWhatQueues(t *testing.T) {
	run(t, func(o *Options) {
		o.Fetches, o.Lookups = 16, Lookups{Rate: 500, Burst: 1000, PerClient: 20, ClientBurst: 200}
	}, func(t *testing.T, l *lab) {
		l.shelf.setDelay(time.Millisecond)
		known := l.stock("known.example")
		var flood sync.WaitGroup
		for i := range 3000 {
			flood.Go(func() {
				_, err := l.Get(context.Background(), Query{Name: nameOf(i), Client: netip.MustParseAddr("203.0.113.1")})
				if !errors.Is(err, ErrLimited) && !errors.Is(err, store.ErrUnknown) {
					t.Errorf("error %v", err)
				}
			})
		}
		flood.Wait()
		asked := l.shelf.count("")
		if most := 200 + 20 + 16; asked < 200 || asked > most { // the burst, what was earned meanwhile, and what was under way
			t.Errorf("the store was asked %d times, want 200 to %d", asked, most)
		}
		if limited := l.Stats().Limited; limited != uint64(3000-asked) {
			t.Errorf("%d refused of %d", limited, 3000-asked)
		}
		l.serves("known.example", known, Miss)
	})
}
