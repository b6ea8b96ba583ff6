package cache

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

// A wildcard that one name's certificate has answers for the names beside it, and no store is asked.
func TestWildcard(t *testing.T) {
	run(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "*.x.example", "x.example")
		l.shelf.set("a.x.example", gives(issued))
		l.serves("a.x.example", issued, Miss)
		l.serves("b.x.example", issued, Hit)
		l.serves("c.x.example", issued, Hit)
		l.refuses("d.c.x.example", store.ErrUnknown)
		l.asked("b.x.example", 0)
		own := l.stock("own.x.example")
		if result, reason := l.Prefetch(t.Context(), "own.x.example"); result != "fetched" {
			t.Fatal(result, reason)
		}
		l.serves("own.x.example", own, Hit)
		if flushed, _ := l.Flush("b.x.example"); !slices.Equal(flushed, []string{"*.x.example"}) {
			t.Fatalf("flushed %q", flushed)
		}
		l.refuses("b.x.example", store.ErrUnknown)
		l.serves("a.x.example", issued, Hit)
	})
}

func TestWildcardNeedsTrust(t *testing.T) {
	run(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab) {
		stranger := certtest.NewCA(t).Issue(t, "*.x.example")
		l.shelf.set("a.x.example", gives(stranger))
		l.serves("a.x.example", stranger, Miss)
		l.refuses("b.x.example", store.ErrUnknown)
	})
}

func TestWildcardsAreOffByDefault(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "*.x.example")
		l.shelf.set("a.x.example", gives(issued))
		l.serves("a.x.example", issued, Miss)
		l.refuses("b.x.example", store.ErrUnknown)
	})
}

// A change under a wildcard is one of the name whose certificate it is: no store is asked for the wildcard itself.
func TestChangeUnderAWildcard(t *testing.T) {
	runCrier(t, func(t *testing.T, l *lab, tell func(store.Change)) {
		l.options.Wildcards = true
		issued := l.ca.Issue(t, "*.x.example")
		l.shelf.set("a.x.example", gives(issued))
		l.serves("a.x.example", issued, Miss)
		second := l.ca.Issue(t, "*.x.example")
		l.shelf.set("a.x.example", gives(second))
		tell(names(t, "*.x.example"))
		l.serves("b.x.example", second, Hit)
		l.asked("*.x.example", 0)
	})
}

// A wildcard goes on with the certificate of two that has not expired.
func TestWildcardOfTheOneThatIsLeft(t *testing.T) {
	run(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab) {
		names := []string{"a.example", "*.w.example"}
		short := l.ca.IssueWith(t, certtest.Options{Names: names, NotAfter: time.Now().Add(time.Hour)})
		long := l.ca.IssueWith(t, certtest.Options{Names: names, RSA: 2048})
		l.shelf.set("a.example", gives(short, long))
		l.serves("a.example", short, Miss)
		l.serves("b.w.example", short, Hit)
		l.shelf.setAll(failing(errDown))
		l.sleep(2 * time.Hour)
		if leaf, _, err := l.get("b.w.example"); err != nil || !bytes.Equal(leaf, long.Leaf.Raw) {
			t.Fatalf("error %v", err)
		}
		l.serves("b.w.example", long, Stale)
	})
}

// Aliases and wildcards that had to make room alone come back from the disk, though their certificate stayed.
func TestAliasThatMadeRoomComesBack(t *testing.T) {
	runDisk(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab, _ *memory, _ func()) {
		l.sleep(time.Second)
		issued := l.ca.Issue(t, "a.example", "alias.example", "*.w.example")
		l.shelf.set("a.example", gives(issued))
		l.serves("a.example", issued, Miss)
		l.shelf.setAll(failing(errDown))
		for key, name := range map[string]string{"alias.example": "alias.example", "*.w.example": "b.w.example"} {
			l.crowdOut(key)
			l.serves(name, issued, Hit)
		}
		l.asked("b.w.example", 0)
	})
}

// Who finds that another client has taken the wildcard from the disk just before is served by it.
func TestWildcardThatAnotherClientLoads(t *testing.T) {
	runWatched(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab, w *watched) {
		issued := l.ca.Issue(t, "a.example", "*.w.example")
		l.shelf.set("a.example", gives(issued))
		l.serves("a.example", issued, Miss)
		l.shelf.setAll(failing(errDown))
		l.crowdOut("a.example")
		w.set(func(_, key string) {
			if key == "b.w.example" { // between this client's look into memory and at the wildcard on the disk
				w.set(nil)
				l.loadKey("*.w.example")
			}
		})
		l.serves("b.w.example", issued, Hit)
		l.asked("b.w.example", 0)
	})
}

// With a disk, a wildcard answers only for names that the disk has nothing of their own for, and is looked at but once.
func TestWildcardGivesWayToWhatIsOnDisk(t *testing.T) {
	runDisk(t, func(o *Options) { o.Wildcards, o.Size = true, 400<<10 }, func(t *testing.T, l *lab, m *memory, restart func()) {
		issued := l.ca.Issue(t, "*.x.example")
		own := l.stock("own.x.example")
		l.serves("own.x.example", own, Miss)
		for i := range 500 { // which has it make room
			l.stock(nameOf(i))
			l.get(nameOf(i))
		}
		l.shelf.set("a.x.example", gives(issued))
		l.serves("a.x.example", issued, Miss)
		l.serves("b.x.example", issued, Hit)
		reads := m.reads()
		l.serves("b.x.example", issued, Hit)
		if again := m.reads() - reads; again != 0 {
			t.Errorf("the disk was read %d times for a name that it does not have", again)
		}
		l.serves("own.x.example", own, Hit)
		l.asked("own.x.example", 1)
	})
}
