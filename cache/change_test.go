package cache

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"hellogate/sni"
	"hellogate/store"
)

// crier is a shelf that tells of its changes.
type crier struct {
	*shelf
	news chan store.Change
}

func (c crier) Watch(ctx context.Context, changed func(store.Change)) {
	for {
		select {
		case <-ctx.Done():
			return
		case change := <-c.news:
			changed(change)
		}
	}
}

// runCrier tests with a store that tells of changes.
func runCrier(t *testing.T, test func(t *testing.T, l *lab, tell func(store.Change))) {
	t.Helper()
	news := make(chan store.Change)
	var told *shelf
	run(t, func(o *Options) {
		told = o.Store.(*shelf)
		news = make(chan store.Change)
		o.Store = crier{told, news}
	}, func(t *testing.T, l *lab) {
		test(t, l, func(change store.Change) {
			news <- change
			synctest.Wait()
		})
	})
}

func names(t *testing.T, texts ...string) store.Change {
	t.Helper()
	var change store.Change
	for _, text := range texts {
		pattern, err := sni.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		change.Names = append(change.Names, pattern)
	}
	return change
}

// What a store tells of has an end: a new certificate is served at once, and a no or a failure is forgotten.
func TestChangeOfAName(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		l.serves("a.example", l.stock("a.example"), Miss)
		l.refuses("no.example", store.ErrUnknown)
		l.shelf.set("bad.example", failing(errDown))
		l.refuses("bad.example", errDown)
		second, no, bad := l.stock("a.example"), l.stock("no.example"), l.stock("bad.example")
		tell(names(t, "a.example", "no.example", "bad.example"))
		l.serves("a.example", second, Hit)
		l.serves("no.example", no, Miss)
		l.serves("bad.example", bad, Miss)
	})
}

// A name that its store says was removed is served no more, without the patience that a mere no is met with.
func TestChangeThatRemoves(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		l.serves("a.example", l.stock("a.example"), Miss)
		l.shelf.set("a.example", unknown)
		tell(names(t, "a.example"))
		l.refuses("a.example", store.ErrUnknown)
	})
}

// Many that are removed at once look like a store that lost its data.
func TestChangesThatRemoveMany(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		last := l.stock("d.example")
		for _, name := range []string{"a.example", "b.example", "c.example", "d.example"} {
			l.stock(name)
			l.get(name)
		}
		for _, name := range []string{"a.example", "b.example", "c.example", "d.example"} {
			l.shelf.set(name, unknown)
			tell(names(t, name))
		}
		if _, source, err := l.get("d.example"); err != nil {
			t.Fatalf("dropped the fourth: %v (%s, %s)", err, source, last.Leaf.Subject)
		}
	})
}

// A change under a wildcard is one of the names that it covers.
func TestChangeOfAPattern(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		l.serves("a.x.example", l.stock("a.x.example"), Miss)
		other := l.stock("a.y.example")
		l.serves("a.y.example", other, Miss)
		l.refuses("no.x.example", store.ErrUnknown)
		second, no := l.stock("a.x.example"), l.stock("no.x.example")
		l.stock("a.y.example")
		tell(names(t, "*.x.example"))
		l.serves("a.x.example", second, Hit)
		l.serves("no.x.example", no, Miss)
		l.serves("a.y.example", other, Hit)
	})
}

// While changes can't be seen nothing counts as fresh. When they can be again, what is used is asked for at once.
func TestLostAndAll(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		first := l.stock("a.example")
		l.serves("a.example", first, Miss)
		l.refuses("no.example", store.ErrUnknown)
		tell(store.Change{Lost: true})
		l.sleep(time.Second)
		l.serves("a.example", first, Stale)
		l.asked("a.example", 1)
		l.refuses("no.example", store.ErrUnknown)
		l.asked("no.example", 1)

		second := l.stock("a.example")
		no := l.stock("no.example")
		tell(store.Change{All: true})
		l.serves("no.example", no, Miss)
		l.serves("a.example", first, Stale) // which has it asked for
		l.sleep(time.Millisecond)
		l.serves("a.example", second, Hit)
	})
}

// All from a store is asked for again though nobody uses it.
func TestAllIsAskedAgain(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		l.serves("a.example", l.stock("a.example"), Miss)
		second := l.stock("a.example")
		tell(store.Change{All: true})
		l.sleep(changeSpread)
		l.serves("a.example", second, Hit)
	})
}

// An answer that was asked for before a change is not kept after it.
func TestChangeDuringAFetch(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		l.shelf.setDelay(time.Second)
		first := l.stock("a.example")
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.serves("a.example", first, Miss)
		}()
		synctest.Wait()
		time.Sleep(time.Second / 2)
		old := gives(first)
		l.shelf.set("a.example", old)
		tell(names(t, "a.example"))
		<-done
		if _, held := l.Show("a.example"); held {
			t.Fatal("kept")
		}
	})
}

// That a name changed is not forgotten when it has to make room before it was asked for.
func TestChangeIsNotForgottenOnDisk(t *testing.T) {
	news := make(chan store.Change)
	runDisk(t, func(o *Options) {
		news = make(chan store.Change)
		o.Store = crier{o.Store.(*shelf), news}
	}, func(t *testing.T, l *lab, _ *memory, _ func()) {
		first := l.stock("a.example")
		l.serves("a.example", first, Miss)
		l.sleep(time.Second)
		l.shelf.setAll(failing(errDown))
		news <- names(t, "a.example")
		l.sleep(time.Second)
		l.crowdOut("a.example")
		l.shelf.setAll(nil)
		second := l.stock("a.example")
		l.serves("a.example", first, Stale)
		l.sleep(restoreSpread)
		l.serves("a.example", second, Hit)
	})
}

// What a store answered for is asked for again when another one, perhaps before it, may have changed altogether.
func TestAllOfAnotherStore(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		first := l.stock("a.example")
		l.serves("a.example", first, Miss)
		second := l.stock("a.example")
		tell(store.Change{Store: "another", Lost: true})
		l.serves("a.example", first, Hit) // which it says nothing of
		tell(store.Change{Store: "another", All: true})
		l.sleep(changeSpread)
		l.serves("a.example", second, Hit)
	})
}
