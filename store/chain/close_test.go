package chain

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

// TestCloseFinishes: a write under way is waited for, and nothing is written afterwards.
func TestCloseFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := certtest.NewCA(t).Issue(t, name)
		slow := &shelf{put: func(context.Context, string, []store.Pair) error { time.Sleep(time.Second); return nil }}
		c, _ := chained(t, backed, slow, &shelf{answer: gives(issued)})
		if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if slow.written() != 1 {
			t.Errorf("%d writes when Close returned", slow.written())
		}
		if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
			t.Errorf("a fetch after Close: %v", err)
		}
		time.Sleep(time.Minute)
		if slow.written() != 1 {
			t.Errorf("%d writes in the end", slow.written())
		}
	})
}

// TestCloseGivesUp: a Writer that does not heed its context does not keep Close from returning.
func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := certtest.NewCA(t).Issue(t, name)
		release := make(chan struct{})
		deaf := &shelf{put: func(context.Context, string, []store.Pair) error { <-release; return nil }}
		c, _ := chained(t, backed, deaf, &shelf{answer: gives(issued)})
		if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		c.Close()
		if took := time.Since(began); took != 2*closeWait {
			t.Errorf("Close took %s", took)
		}
		close(release)
	})
}
