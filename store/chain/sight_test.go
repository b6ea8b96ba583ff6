package chain

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"hellogate/sni"
	"hellogate/store"
)

// knowing is a Watcher that knows what is wrong.
type knowing struct {
	*shelf
	problem atomic.Pointer[error]
}

func (k *knowing) WatchProblem() error {
	if problem := k.problem.Load(); problem != nil {
		return *problem
	}
	return nil
}

// TestSights: whether the changes in a store can be seen is known at every time, and of those stores alone that can tell.
func TestSights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tellsBy := func(tell chan store.Change) *shelf {
			return &shelf{watch: func(ctx context.Context, changed func(store.Change)) {
				for {
					select {
					case change := <-tell:
						changed(change)
					case <-ctx.Done():
						return
					}
				}
			}}
		}
		first, third := make(chan store.Change), make(chan store.Change)
		plain, knows := tellsBy(first), &knowing{shelf: tellsBy(third)}
		c := New([]Link{{Name: "a", Store: plain, Watcher: plain}, {Name: "b", Store: &shelf{}}, {Name: "c", Store: knows, Watcher: knows}}, zerolog.Nop())
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		want := func(when, of string, seen bool, problem error) {
			t.Helper()
			synctest.Wait()
			sights := c.Sights()
			if got := sights[of]; got.Seen != seen || got.Problem != problem || len(sights) != 2 {
				t.Errorf("%s: %+v, want of %s: seen %t, %v", when, sights, of, seen, problem)
			}
		}
		want("before the start", "a", false, nil)
		go func() {
			c.Watch(ctx, func(store.Change) {})
			close(ended)
		}()
		want("at the start", "a", false, nil)
		time.Sleep(settle)
		want("after a while", "a", false, errNotYet)
		first <- store.Change{All: true}
		want("once seen", "a", true, nil)
		want("of the other", "c", false, errNotYet)
		refused := errors.New("connection refused")
		knows.problem.Store(&refused)
		want("of one that knows", "c", false, refused)
		third <- store.Change{All: true}
		want("of one that knows of a problem, although it sees", "c", false, refused)
		knows.problem.Store(nil)
		want("of one that knows of none", "c", true, nil)
		first <- store.Change{Lost: true}
		want("once lost", "a", false, errLost)
		cancel()
		<-ended
		want("after the end", "c", false, errLost)
	})
}

// TestSightFollowsChanges: a name that changed says nothing of the sight.
func TestSightFollowsChanges(t *testing.T) {
	var s sight
	s.begin()
	names := store.Change{Names: []sni.Pattern{pattern(t, name)}}
	var got []Sight
	for _, change := range []store.Change{names, {All: true}, names, {Lost: true}, names, {All: true}} {
		s.take(change)
		got = append(got, s.now())
	}
	seen, lost := Sight{Seen: true}, Sight{Problem: errLost}
	if diff := cmp.Diff([]Sight{{}, seen, seen, lost, lost, seen}, got, cmp.Comparer(func(a, b error) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
