package chain

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

func linkOf(name string, of *shelf) Link {
	of.called = name
	return Link{Name: name, Store: of, Writer: of}
}

// over reports whether a channel is closed.
func over(unused <-chan struct{}) bool {
	select {
	case <-unused:
		return true
	default:
		return false
	}
}

// TestReplace: who asks from now on asks the other stores; who asks already goes on, and as long as any does, also one who
// asked before an earlier change, the stores that went are in use.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := certtest.NewCA(t).Issue(t, name)
		release := make(chan struct{})
		slow := &shelf{answer: func(ctx context.Context, request store.Request) (*store.Bundle, error) {
			<-release
			return gives(issued)(ctx, request)
		}}
		first, third := &shelf{}, &shelf{answer: gives(issued)}
		c := New([]Link{linkOf("a", first), linkOf("b", slow)}, zerolog.Nop())
		defer c.Close()
		results := make(chan string, 2)
		fetch := func() {
			bundle, err := c.Fetch(t.Context(), store.Request{Name: name})
			if err != nil {
				t.Error(err)
			}
			results <- bundle.Store
		}
		go fetch()
		synctest.Wait()
		withoutFirst := c.Replace([]Link{linkOf("b", slow)})
		withoutSecond := c.Replace([]Link{linkOf("c", third)})
		fetch()
		if got := <-results; got != "c" {
			t.Errorf("%s answered", got)
		}
		if over(withoutFirst) || over(withoutSecond) {
			t.Error("a store is in use, and taken for unused")
		}
		close(release)
		synctest.Wait()
		if got := <-results; got != "b" {
			t.Errorf("%s answered who asked before", got)
		}
		if !over(withoutFirst) || !over(withoutSecond) {
			t.Error("nobody asks, and it is in use")
		}
		if !over(c.Replace([]Link{linkOf("a", first)})) {
			t.Error("nobody asked, and it was in use")
		}
		if _, err := c.Fetch(t.Context(), store.Request{Name: name}); !errors.Is(err, store.ErrUnknown) {
			t.Error(err)
		}
	})
}

// TestReplaceNames: what is new about a link that goes on is in effect, and what was in use of it is in use.
func TestReplaceNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := &shelf{answer: func(ctx context.Context, _ store.Request) (*store.Bundle, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		link := linkOf("a", hangs)
		link.Fetches = 1
		c := New([]Link{link}, zerolog.Nop())
		defer c.Close()
		fetch := func(name string, wait time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			_, err := c.Fetch(ctx, store.Request{Name: name})
			return err
		}
		go fetch(name, time.Second)
		synctest.Wait()
		link.Names = []sni.Pattern{pattern(t, "*.b.example")}
		c.Replace([]Link{link})
		if err := fetch(name, time.Second); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("a name that it is not asked for any more: %v", err)
		}
		go fetch("x.b.example", 5*time.Second)
		synctest.Wait()
		fetch("y.b.example", 2*time.Second)
		if got := len(hangs.requests()); got != 2 {
			t.Errorf("%d were asked for at once, in spite of the bound", got)
		}
		link.Fetches = 0
		c.Replace([]Link{link})
		fetch("z.b.example", time.Second)
		if got := len(hangs.requests()); got != 3 {
			t.Errorf("asked %d times, want 3", got)
		}
		time.Sleep(5 * time.Second)
	})
}

// TestReplaceWatch: one that goes on is watched all the while, one that goes no longer, and one that comes from then on.
func TestReplaceWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := map[string]int{}
		watched := func(name string) (Link, chan struct{}) {
			release := make(chan struct{})
			made := &shelf{watch: func(ctx context.Context, changed func(store.Change)) {
				changed(store.Change{All: true})
				<-ctx.Done()
				changed(store.Change{Lost: true})
				<-release
			}}
			link := linkOf(name, made)
			link.Watcher = made
			return link, release
		}
		first, closeFirst := watched("a")
		second, closeSecond := watched("b")
		third, closeThird := watched("c")
		close(closeSecond)
		close(closeThird)
		c := New([]Link{first, second}, zerolog.Nop())
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Watch(ctx, func(change store.Change) { began[change.Store]++ })
		}()
		synctest.Wait()
		unused := c.Replace([]Link{second, third})
		synctest.Wait()
		if began["a"] != 1 || began["b"] != 1 || began["c"] != 1 {
			t.Errorf("began: %v", began)
		}
		sights := c.Sights()
		if _, is := sights["a"]; is || !sights["b"].Seen || !sights["c"].Seen {
			t.Errorf("%+v", sights)
		}
		if over(unused) {
			t.Error("a store that watches still is taken for unused")
		}
		close(closeFirst)
		synctest.Wait()
		if !over(unused) {
			t.Error("in use, and not watched any more")
		}
		cancel()
		<-done
	})
}

// TestReplaceWrites: what waits to be written into a store that goes is written first; one that goes on is not written twice,
// and the last in the chain never.
func TestReplaceWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := certtest.NewCA(t).Issue(t, name)
		puts := func(context.Context, string, []store.Pair) error { time.Sleep(time.Second); return nil }
		first, second, source := &shelf{put: puts}, &shelf{put: puts}, &shelf{answer: gives(issued)}
		a, b, last := linkOf("a", first), linkOf("b", second), linkOf("c", source)
		a.WriteBack, b.WriteBack = true, true
		c := New([]Link{a, b, last}, zerolog.Nop())
		defer c.Close()
		fetch := func() {
			if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
				t.Fatal(err)
			}
		}
		fetch()
		unused := c.Replace([]Link{b, last})
		if synctest.Wait(); over(unused) || first.written() != 0 {
			t.Error("not waited for")
		}
		fetch()
		time.Sleep(2 * time.Second)
		if !over(unused) || first.written() != 1 || second.written() != 1 {
			t.Errorf("over: %t, %d and %d writes", over(unused), first.written(), second.written())
		}
		last.WriteBack = true
		c.Replace([]Link{b, last})
		b.WriteBack = false
		c.Replace([]Link{b, last})
		time.Sleep(2 * again)
		fetch()
		time.Sleep(2 * time.Second)
		if second.written() != 1 || source.written() != 0 {
			t.Errorf("%d and %d writes, of which none was to be made", second.written()-1, source.written())
		}
	})
}
