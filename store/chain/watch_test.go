package chain

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"hellogate/sni"
	"hellogate/store"
)

// TestWatch: the changes of all stores arrive one at a time, with the name of the store, until ctx is done.
func TestWatch(t *testing.T) {
	const each = 100
	var together sync.WaitGroup
	together.Add(2)
	tells := func(ctx context.Context, changed func(store.Change)) {
		together.Done()
		together.Wait()
		changed(store.Change{Store: "by another name", All: true})
		for range each {
			changed(store.Change{Names: []sni.Pattern{pattern(t, name)}})
		}
		changed(store.Change{Lost: true})
		<-ctx.Done()
	}
	first, silent, third := &shelf{watch: tells}, &shelf{}, &shelf{watch: tells}
	c, _ := chained(t, func(links []Link) {
		links[0].Watcher, links[2].Watcher = first, third
	}, first, silent, third)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	type seen struct{ All, Lost, Names int }
	got := map[string]seen{}
	var inside atomic.Int32
	total := 0
	c.Watch(ctx, func(change store.Change) {
		if inside.Add(1) != 1 {
			t.Error("two changes at once")
		}
		defer inside.Add(-1)
		time.Sleep(50 * time.Microsecond)
		counts := got[change.Store]
		counts.Names += len(change.Names)
		if change.All {
			counts.All++
		}
		if change.Lost {
			counts.Lost++
		}
		got[change.Store] = counts
		if total++; total == 2*(each+2) {
			cancel()
		}
	})
	want := map[string]seen{"a": {All: 1, Lost: 1, Names: each}, "c": {All: 1, Lost: 1, Names: each}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want, got:\n%s", diff)
	}
}

// TestWatchNobody: where nobody can tell of changes, somebody may come who can.
func TestWatchNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New([]Link{{Name: "a", Store: &shelf{}}}, zerolog.Nop())
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c.Watch(ctx, func(store.Change) { t.Error("a change") })
		if ctx.Err() == nil {
			t.Error("nobody watches any more")
		}
	})
}
