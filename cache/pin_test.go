package cache

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

// What is pinned goes before the store, stays through every flush, and gives way when it is removed.
func TestPin(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		fromStore := l.stock("a.example")
		l.serves("a.example", fromStore, Miss)
		byHand := l.ca.Issue(t, "a.example")
		if err := l.Pin("a.example", []store.Pair{byHand.Pair}); err != nil {
			t.Fatal(err)
		}
		l.serves("a.example", byHand, Pinned)
		pattern, _ := sni.ParsePattern(".example")
		for kind, flush := range map[string]func() (flushed, pinned []string){
			"name":        func() (flushed, pinned []string) { return l.Flush("a.example") },
			"pattern":     func() (flushed, pinned []string) { return l.FlushPattern(pattern) },
			"fingerprint": func() (flushed, pinned []string) { return l.FlushFingerprint(fingerprintOf(byHand)) },
			"all":         l.FlushAll,
		} {
			flushed, pinned := flush()
			if len(flushed) != 0 || !slices.Equal(pinned, []string{"a.example"}) {
				t.Errorf("%s: flushed %q, pinned %q", kind, flushed, pinned)
			}
		}
		l.sleep(90 * time.Minute)
		l.serves("a.example", byHand, Pinned)
		l.asked("a.example", 1)
		for _, want := range []bool{true, false} {
			if removed, err := l.Unpin("a.example"); removed != want || err != nil {
				t.Fatalf("unpinned %v, want %v (%v)", removed, want, err)
			}
		}
		l.serves("a.example", fromStore, Miss)
		if removed, _ := l.Unpin("a.example"); removed {
			t.Fatal("unpinned what the store gave")
		}
	})
}

// A pin that has expired gives way to the store, and is warned of before.
func TestPinExpires(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		byHand := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, NotAfter: time.Now().Add(48 * time.Hour)})
		if err := l.Pin("a.example", []store.Pair{byHand.Pair}); err != nil {
			t.Fatal(err)
		}
		l.sleep(47 * time.Hour)
		l.serves("a.example", byHand, Pinned)
		if l.log.lines("about to expire", "a.example") == 0 {
			t.Fatal("not warned of")
		}
		l.sleep(2 * time.Hour)
		l.serves("a.example", l.stock("a.example"), Miss)
	})
}

func TestPinIsChecked(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		err := l.Pin("a.example", []store.Pair{l.ca.Issue(t, "b.example").Pair})
		if err == nil || !strings.Contains(err.Error(), "a.example") || strings.Contains(err.Error(), "store") {
			t.Fatalf("pinned another's certificate: %v", err)
		}
		if err := l.Pin("a.example", nil); err == nil {
			t.Fatal("pinned nothing")
		}
		l.refuses("a.example", store.ErrUnknown)
	})
}

// What the store was asked for before a certificate was pinned does not take its place.
func TestPinDuringAFetch(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.stock("a.example")
		l.shelf.setDelay(time.Second)
		go l.Get(context.Background(), Query{Name: "a.example"})
		time.Sleep(time.Second / 2)
		byHand := l.ca.Issue(t, "a.example")
		if err := l.Pin("a.example", []store.Pair{byHand.Pair}); err != nil {
			t.Fatal(err)
		}
		l.sleep(time.Second)
		l.serves("a.example", byHand, Pinned)
	})
}

// Pinned certificates never make room.
func TestPinIsNotEvicted(t *testing.T) {
	run(t, func(o *Options) { o.Size = 400 << 10 }, func(t *testing.T, l *lab) {
		byHand := l.ca.Issue(t, "pinned.example")
		if err := l.Pin("pinned.example", []store.Pair{byHand.Pair}); err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			l.stock(nameOf(i))
			l.get(nameOf(i))
		}
		if l.Stats().Evictions == 0 {
			t.Fatal("nothing had to make room")
		}
		l.serves("pinned.example", byHand, Pinned)
	})
}
