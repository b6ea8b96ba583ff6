package cache

import (
	"context"
	"errors"
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
	t.Parallel()
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

// unwritable is a disk that does not get anything written.
type unwritable struct{ *memory }

func (unwritable) Sync(context.Context) error { return errors.New("read-only file system") }

// Whoever pins, or removes a pin, is told that the disk does not have it. It holds until a restart.
func TestPinThatCanNotBeWritten(t *testing.T) {
	runDisk(t, func(o *Options) { o.Disk = unwritable{o.Disk.(*memory)} }, func(t *testing.T, l *lab, _ *memory, _ func()) {
		byHand := l.ca.Issue(t, "a.example")
		err := l.Pin("a.example", []store.Pair{byHand.Pair})
		if err == nil || !strings.Contains(err.Error(), "a.example") || !strings.Contains(err.Error(), "read-only file system") {
			t.Fatalf("error %v", err)
		}
		l.serves("a.example", byHand, Pinned)
		removed, err := l.Unpin("a.example")
		if !removed || err == nil || !strings.Contains(err.Error(), "read-only file system") {
			t.Fatalf("removed %t, error %v", removed, err)
		}
		l.refuses("a.example", store.ErrUnknown)
		l.logged(0, "flushed")
	})
}

// Aliases of the certificate that a pin takes the place of are served as they were, until they were asked for themselves.
func TestPinKeepsAliases(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		before := l.ca.Issue(t, "a.example", "alias.example", "other.example")
		l.shelf.set("a.example", gives(before))
		l.serves("a.example", before, Miss)
		own := l.ca.Issue(t, "alias.example")
		l.shelf.set("alias.example", gives(own))
		l.shelf.set("other.example", failing(errDown))
		byHand := l.ca.Issue(t, "a.example")
		if err := l.Pin("a.example", []store.Pair{byHand.Pair}); err != nil {
			t.Fatal(err)
		}
		l.serves("other.example", before, Hit)
		l.sleep(time.Second)
		l.serves("a.example", byHand, Pinned)
		l.serves("alias.example", own, Hit) // which nobody has asked for
		l.serves("other.example", before, Hit)
	})
}

// What is pinned already may be replaced when no more can be pinned.
func TestPinIsReplacedAtTheBound(t *testing.T) {
	run(t, func(o *Options) { o.Size = 400 << 10 }, func(t *testing.T, l *lab) {
		count := 0
		for ; ; count++ {
			err := l.Pin(nameOf(count), []store.Pair{l.ca.Issue(t, nameOf(count)).Pair})
			if errors.Is(err, errPinsFull) {
				break
			}
			if err != nil || count == 1000 {
				t.Fatal(count, err)
			}
		}
		byHand := l.ca.Issue(t, nameOf(0))
		if err := l.Pin(nameOf(0), []store.Pair{byHand.Pair}); err != nil {
			t.Fatalf("%d are pinned: %v", count, err)
		}
		l.serves(nameOf(0), byHand, Pinned)
		if pinned := l.Stats().Pinned; pinned != count {
			t.Errorf("%d are pinned, want %d", pinned, count)
		}
	})
}

// Nothing went wrong with what is pinned and about to expire: no reason is given.
func TestExpiringPinHasNoReason(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, NotAfter: time.Now().Add(10 * day)})
		if err := l.Pin("a.example", []store.Pair{issued.Pair}); err != nil {
			t.Fatal(err)
		}
		l.sleep(10*day - time.Hour)
		if l.log.lines("about to expire") == 0 {
			t.Fatalf("not said: %s", l.log)
		}
		l.logged(0, "about to expire", `"reason"`)
	})
}

// What one process hands over, is pinned in the next, which tells nobody.
func TestPinnedIsHandedOn(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		byHand := l.ca.Issue(t, "a.example")
		if err := l.Pin("a.example", []store.Pair{byHand.Pair}); err != nil {
			t.Fatal(err)
		}
		l.serves("b.example", l.stock("b.example"), Miss)
		handed, err := l.Pinned()
		if err != nil || len(handed) != 1 || len(handed["a.example"]) != 1 {
			t.Fatalf("handed over %v, %v", handed, err)
		}
		if _, err := l.Unpin("a.example"); err != nil {
			t.Fatal(err)
		}
		said := l.log.lines("pinned by hand", "a.example")
		if err := l.PinAgain("a.example", handed["a.example"]); err != nil {
			t.Fatal(err)
		}
		l.serves("a.example", byHand, Pinned)
		if l.log.lines("pinned by hand", "a.example") != said {
			t.Error("said again")
		}
	})
}
