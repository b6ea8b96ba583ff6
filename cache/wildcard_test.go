package cache

import (
	"slices"
	"testing"

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
