package redis

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

// TestWatchPriming has a name written as peter_sslers writes it: its hash, then what is new of what the ids in it stand for.
// Whoever asks as soon as the change is told gets all of it.
func TestWatchPriming(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := newStore(t, s.at(Prime1))
	told := make(chan error, 100)
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		r.Watch(ctx, func(store.Change) {
			_, err := r.Fetch(ctx, store.Request{Name: "a.example"})
			told <- err
		})
	})
	defer work.Wait()
	defer stop()
	if err := <-told; !errors.Is(err, store.ErrUnknown) {
		t.Fatalf("before it was primed: %v", err)
	}
	ca := certtest.NewCA(t)
	for id, timely := 1, 0; timely < 2; id++ {
		if id > 20 {
			t.Fatal("the writes took too long each time")
		}
		begun := time.Now()
		prime(t, s, ca.Issue(t, "a.example"), strconv.Itoa(id))
		judged := time.Since(begun) < 50*time.Millisecond // or else they were not all in time
		if judged {
			timely++
		}
		late := time.After(5 * time.Second)
		for over := (<-chan time.Time)(nil); ; over = time.After(300 * time.Millisecond) {
			select {
			case err := <-told:
				if judged && err != nil {
					t.Errorf("certificate %d: told, and %v", id, err)
				}
				continue
			case <-over:
			case <-late:
				t.Errorf("certificate %d: nothing was told", id)
			}
			break
		}
	}
}

// prime writes a.example as peter_sslers does, with pauses.
func prime(t *testing.T, s *server, issued certtest.Issued, id string) {
	t.Helper()
	leaf, above := split(issued.Chain)
	for _, command := range [][]string{
		{"HMSET", "d1:a.example", "c", id, "p", id, "i", "9"},
		{"SET", "c:" + id, leaf},
		{"SET", "p:" + id, string(issued.Key)},
		{"SET", "i:9", above},
	} {
		s.do(t, command...)
		time.Sleep(time.Millisecond)
	}
}
