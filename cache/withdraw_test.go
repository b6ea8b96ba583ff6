package cache

import (
	"fmt"
	"testing"
	"time"

	"hellogate/store"
)

func TestWithdrawnNameIsServedUntilItIsDeniedAgain(t *testing.T) {
	run(t, func(o *Options) { o.TTL = time.Hour }, func(t *testing.T, l *lab) {
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
		l.shelf.set("a.example", unknown)
		l.sleep(61 * time.Minute)
		l.serves("a.example", issued, Stale)
		l.asked("", 2)
		info, _ := l.Show("a.example")
		if !info.Withdrawn || info.LastError == "" || l.Stats().Withdrawn != 1 {
			t.Fatalf("%+v", info)
		}
		l.logged(1, `"level":"warn"`, "a.example", "withdrawn, still served")
		l.sleep(12 * time.Minute)
		l.refuses("a.example", store.ErrUnknown)
		l.asked("", 4) // at first, twice in the background, and now
		l.logged(1, "a.example", "withdrawn, dropped")
		if stats := l.Stats(); stats.Entries != 0 || stats.Withdrawn != 0 {
			t.Fatalf("stats %+v", stats)
		}
	})
}

func TestWithdrawnNameComesBack(t *testing.T) {
	run(t, func(o *Options) { o.TTL = time.Hour }, func(t *testing.T, l *lab) {
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
		l.shelf.set("a.example", unknown)
		l.sleep(61 * time.Minute)
		l.shelf.set("a.example", gives(issued))
		l.sleep(12 * time.Minute)
		l.serves("a.example", issued, Hit)
		if info, _ := l.Show("a.example"); info.Withdrawn || info.LastError != "" {
			t.Fatalf("%+v", info)
		}
	})
}

func TestStoreThatSuddenlyKnowsNobody(t *testing.T) {
	t.Parallel()
	run(t, func(o *Options) { o.TTL = time.Hour }, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "*.example")
		l.shelf.setAll(gives(issued))
		const names = 200
		get := func(from Source) {
			t.Helper()
			for i := range names {
				l.serves(fmt.Sprintf("x%d.example", i), issued, from)
			}
		}
		get(Miss)
		l.shelf.setAll(unknown)
		for range 48 {
			l.sleep(15 * time.Minute)
			if entries := l.Stats().Entries; entries != names {
				t.Fatalf("%d of %d names are left", entries, names)
			}
		}
		get(Stale)
		l.logged(1, `"level":"error"`, "no name is dropped")

		// It has its data again, but for one name, which is dropped in the end.
		l.shelf.setAll(func(request store.Request) (*store.Bundle, error) {
			if request.Name == "x7.example" {
				return unknown(request)
			}
			return gives(issued)(request)
		})
		l.sleep(6 * time.Hour)
		if entries := l.Stats().Entries; entries != names-1 {
			t.Fatalf("%d names", entries)
		}
		l.logged(1, "knows its names again")
	})
}

func TestFlushDropsAWithdrawnNameAtOnce(t *testing.T) {
	run(t, func(o *Options) { o.TTL = time.Hour }, func(t *testing.T, l *lab) {
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
		l.shelf.set("a.example", unknown)
		l.sleep(61 * time.Minute)
		l.Flush("a.example")
		l.refuses("a.example", store.ErrUnknown)
	})
}

func TestGuard(t *testing.T) {
	var g guard
	now := moment{mono: int64(time.Hour)}
	for i := range 100 {
		g.note(now, fmt.Sprint("good", i), false)
	}
	for range 50 {
		g.note(now, "one", true)
	}
	g.note(now, "two", true)
	if g.stopped {
		t.Fatal("two names stopped it")
	}
	g.note(now, "three", true)
	if !g.stopped {
		t.Fatal("three names did not stop it")
	}
	now.mono += int64(guardWindow) + int64(time.Minute)
	g.note(now, "one", true)
	if !g.stopped {
		t.Fatal("a window of nothing but noes let it go on")
	}
	for i := range 20 {
		g.note(now, fmt.Sprint("good", i), false)
	}
	if g.stopped {
		t.Fatal("a healthy window did not let it go on")
	}
}

// The same where its names are asked about one by one, days apart.
func TestStoreThatKnowsNobodyIsNoticedSlowly(t *testing.T) {
	t.Parallel()
	run(t, nil, func(t *testing.T, l *lab) {
		const names = 50
		for i := range names {
			name := fmt.Sprintf("n%d.example", i)
			l.serves(name, l.stock(name), Miss)
			l.sleep(36 * time.Hour)
		}
		l.shelf.setAll(unknown)
		l.sleep(40 * 24 * time.Hour)
		dropped := l.log.lines("withdrawn, dropped")
		if stats := l.Stats(); dropped >= guardNames || !stats.DroppingStopped {
			t.Fatalf("%d dropped, %+v", dropped, stats)
		}
	})
}
