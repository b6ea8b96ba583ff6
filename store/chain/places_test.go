package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

// TestFetches: a store is asked for so many names at once, and those that wait for it keep nobody else waiting.
func TestFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := certtest.NewCA(t).Issue(t, name)
		release := make(chan struct{})
		hangs := &shelf{answer: func(ctx context.Context, _ store.Request) (*store.Bundle, error) {
			select {
			case <-release:
				return nil, store.ErrUnknown
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		answers := &shelf{answer: gives(issued)}
		c, _ := chained(t, func(links []Link) {
			links[0].Names = []sni.Pattern{pattern(t, "*.hangs.example")}
			links[0].Fetches, links[1].Fetches = 2, 1
		}, hangs, answers)
		results := make(chan error, 3)
		for i := range 3 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
				defer cancel()
				_, err := c.Fetch(ctx, store.Request{Name: fmt.Sprintf("n%d.hangs.example", i)})
				results <- err
			}()
			synctest.Wait()
		}
		if got := len(hangs.requests()); got != 2 {
			t.Fatalf("asked for %d at once", got)
		}
		if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
			t.Errorf("another store's name: %v", err)
		}
		time.Sleep(1500 * time.Millisecond) // the first gave up, the third took its place
		if got := len(hangs.requests()); got != 3 {
			t.Errorf("asked for %d, want 3", got)
		}
		close(release)
		var failed int
		for range 3 {
			if err := <-results; errors.Is(err, context.DeadlineExceeded) {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d ran out of time, want 1", failed)
		}
	})
}

func TestFetchesWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := &shelf{answer: func(ctx context.Context, _ store.Request) (*store.Bundle, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		c, _ := chained(t, func(links []Link) { links[0].Fetches = 1 }, hangs)
		first, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.Fetch(first, store.Request{Name: name})
		}()
		synctest.Wait()
		second, cancelSecond := context.WithTimeout(t.Context(), time.Second)
		defer cancelSecond()
		_, err := c.Fetch(second, store.Request{Name: "b.example"})
		failure, ok := errors.AsType[*store.Failure](err)
		if !errors.Is(err, context.DeadlineExceeded) || !ok || !failure.Exempt {
			t.Errorf("%v", err)
		}
		cancel()
		<-ended
	})
}

// TestPassedBy: that a store failed is logged though another answered, once a minute.
func TestPassedBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := certtest.NewCA(t).Issue(t, name)
		c, log := chained(t, nil, &shelf{answer: fails(errDown)}, &shelf{answer: fails(errCut)}, &shelf{answer: gives(issued)})
		for range 3 {
			if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(linesEvery)
		if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
			t.Fatal(err)
		}
		if got := log.lines("store passed by"); len(got) != 2 || !strings.Contains(got[1], `"count":3`) || !strings.Contains(got[1], `"answered_by":"c"`) {
			t.Errorf("logged %q", got)
		}
		if got := log.lines("breaker open"); len(got) != 0 {
			t.Errorf("what the breaker says itself was logged: %q", got)
		}
		c.Close()
	})
}
