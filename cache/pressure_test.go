package cache

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// crowd has clients ask for one name after another that nobody knows, until the function that it returns is called.
func crowd(l *lab, clients int) (disperse func()) {
	var group sync.WaitGroup
	gone := make(chan struct{})
	for i := range clients {
		client := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-gone:
					return
				default:
					_, _ = l.Get(context.Background(), Query{Name: fmt.Sprintf("n%d.c%d.example", n, i), Client: client})
				}
			}
		})
	}
	return func() {
		close(gone)
		group.Wait()
	}
}

// However many clients wait for names that nobody knows, names that are cached go on being refreshed.
func TestCrowdDoesNotStopRefreshes(t *testing.T) {
	t.Parallel()
	run(t, func(o *Options) { o.Fetches, o.TTL = 4, 10*time.Second }, func(t *testing.T, l *lab) {
		l.stock("known.example")
		if _, _, err := l.get("known.example"); err != nil {
			t.Fatal(err)
		}
		l.shelf.setDelay(50 * time.Millisecond)
		disperse := crowd(l, 40)
		time.Sleep(2 * time.Minute)
		if asked := l.shelf.count("known.example"); asked < 10 {
			t.Errorf("refreshed %d times in two minutes", asked-1)
		}
		disperse()
	})
}

// A name that many clients ask for, one after the other, does not lose its turn to each of them.
func TestPopularNameKeepsItsTurn(t *testing.T) {
	run(t, func(o *Options) { o.Fetches = 1 }, func(t *testing.T, l *lab) {
		issued := l.stock("popular.example")
		l.shelf.setDelay(100 * time.Millisecond)
		disperse := crowd(l, 20)
		time.Sleep(time.Second)
		var askers sync.WaitGroup
		for i := range 5 {
			client := netip.AddrFrom4([4]byte{172, 16, 0, byte(i)})
			askers.Go(func() {
				if _, err := l.Get(context.Background(), Query{Name: "popular.example", Client: client}); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			})
			time.Sleep(time.Second)
		}
		askers.Wait()
		disperse()
		l.serves("popular.example", issued, Hit)
	})
}
