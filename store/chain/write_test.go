package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

// TestWriteBack: what a later store answered is put into earlier ones that lack it, and nothing else is.
func TestWriteBack(t *testing.T) {
	ca := certtest.NewCA(t)
	issued := ca.Issue(t, name)
	good := gives(issued)
	with := func(edit func(*store.Bundle)) answer { return gives(issued, edit) }
	for _, test := range []struct {
		name    string
		edit    func([]Link)
		answers []answer // of a, b and c
		written string   // the stores that it is written to
	}{
		{"no, then a bundle", backed, []answer{nil, good}, "a"},
		{"two that lack it", func(links []Link) { links[0].WriteBack, links[1].WriteBack = true, true }, []answer{nil, nil, good}, "ab"},
		{"one of two lacks it", func(links []Link) { links[0].WriteBack, links[1].WriteBack = true, true }, []answer{nil, good, good}, "a"},
		{"not asked to", nil, []answer{nil, good}, ""},
		{"can't be written to", func(links []Link) { links[0].WriteBack, links[0].Writer = true, nil }, []answer{nil, good}, ""},
		{"has it", backed, []answer{good, good}, ""},
		{"failed", backed, []answer{fails(errDown), good}, ""},
		{"another failed", backed, []answer{nil, fails(errDown), good}, ""},
		{"another's name", func(links []Link) {
			links[0].WriteBack, links[0].Names = true, []sni.Pattern{pattern(t, "b.example")}
		}, []answer{nil, good}, ""},
		{"nobody has it", backed, []answer{nil, nil}, ""},
		{"chosen for the client", backed, []answer{nil, with(func(b *store.Bundle) { b.Partial = true })}, ""},
		{"no-store", backed, []answer{nil, with(func(b *store.Bundle) { b.Freshness.NoStore = true })}, ""},
		{"no-cache", backed, []answer{nil, with(func(b *store.Bundle) { b.Freshness.Revalidate = true })}, ""},
		{"routed", backed, []answer{nil, with(func(b *store.Bundle) { b.Routing = &store.Routing{Backend: "x"} })}, ""},
		{"a stopgap already", backed, []answer{nil, with(func(b *store.Bundle) { b.Stopgap = true })}, ""},
		{"another name's certificate", backed, []answer{nil, gives(ca.Issue(t, "other.example"))}, ""},
		{"one good pair of two", backed, []answer{nil, with(func(b *store.Bundle) {
			b.Pairs = append([]store.Pair{ca.Issue(t, "other.example").Pair}, b.Pairs...)
		})}, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			shelves := make([]*shelf, len(test.answers))
			for i, each := range test.answers {
				shelves[i] = &shelf{answer: each}
			}
			c, log := chained(t, test.edit, shelves...)
			_, _ = c.Fetch(t.Context(), store.Request{Name: name})
			c.Close()
			written := ""
			for _, each := range shelves {
				switch pairs := each.has(name); {
				case pairs == nil:
				case len(pairs) != 1 || !bytes.Equal(pairs[0].Chain[0], issued.Leaf.Raw):
					t.Errorf("store %s got %d pairs, or another's", each.called, len(pairs))
				default:
					written += each.called
				}
			}
			if written != test.written {
				t.Errorf("written to %q, want %q", written, test.written)
			}
			if strings.Contains(log.String(), "PRIVATE") {
				t.Error("the log holds a key")
			}
		})
	}
}

// TestCopyRenewed: a copy that was written back does not outlive the store that it came from.
func TestCopyRenewed(t *testing.T) {
	ca := certtest.NewCA(t)
	lasting := func(from, to time.Duration) certtest.Issued {
		now := time.Now()
		return ca.IssueWith(t, certtest.Options{Names: []string{name}, NotBefore: now.Add(from), NotAfter: now.Add(to)})
	}
	const day = 24 * time.Hour
	old, expired, early := lasting(-84*day, 6*day), lasting(-90*day, -time.Hour), lasting(-80*day, 10*day)
	fresh := lasting(-time.Hour, 90*day)
	short, shortDue := lasting(-day, 5*day), lasting(-5*day, day)
	for _, test := range []struct {
		name          string
		edit          func([]Link)
		first, second answer
		want          certtest.Issued // the zero value: an error
		says          string          // the error, if any
		stopgap       bool
		written       bool
	}{
		{"not due", backed, gives(early), gives(fresh), early, "", false, false},
		{"due", backed, gives(old), gives(fresh), fresh, "", false, true},
		{"due, the same elsewhere", backed, gives(old), gives(old), old, "", false, false},
		{"due, unknown elsewhere", backed, gives(old), nil, old, "", false, false},
		{"due, no answer elsewhere", backed, gives(old), fails(errDown), old, "", false, false},
		{"due, bad elsewhere", backed, gives(old), gives(ca.Issue(t, "other.example")), old, "", false, false},
		{"due, not written to", nil, gives(old), gives(fresh), old, "", false, false},
		{"six days, not due", backed, gives(short), gives(fresh), short, "", false, false},
		{"six days, due", backed, gives(shortDue), gives(fresh), fresh, "", false, true},
		{"expired", backed, gives(expired), gives(fresh), fresh, "", false, true},
		{"expired, not written to", nil, gives(expired), gives(fresh), fresh, "", false, false},
		{"expired, unknown elsewhere", backed, gives(expired), nil, certtest.Issued{}, "expired 1h0m ago", false, false},
		{"expired, no answer elsewhere", backed, gives(expired), fails(errDown), certtest.Issued{}, "(besides: connection refused)", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, second := &shelf{answer: test.first}, &shelf{answer: test.second}
			c, _ := chained(t, test.edit, first, second)
			bundle, err := c.Fetch(t.Context(), store.Request{Name: name, Validator: store.Validator{ETag: `"v"`}, From: "a"})
			c.Close()
			if test.want.Leaf == nil {
				if err == nil || errors.Is(err, store.ErrUnknown) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("error %v, want it to say %q", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(bundle.Pairs[0].Chain[0], test.want.Leaf.Raw) || bundle.Stopgap != test.stopgap {
				t.Errorf("the bundle is store %s's (stopgap %t), and not the one wanted", bundle.Store, bundle.Stopgap)
			}
			if written := first.has(name) != nil; written != test.written {
				t.Errorf("written back: %t, want %t", written, test.written)
			}
		})
	}
}

// TestCopyAskedInFull: a store that is written to could else hide by 304 that its copy is near its end.
func TestCopyAskedInFull(t *testing.T) {
	ca := certtest.NewCA(t)
	now := time.Now()
	old := ca.IssueWith(t, certtest.Options{Names: []string{name}, NotBefore: now.AddDate(0, 0, -89), NotAfter: now.AddDate(0, 0, 1)})
	fresh := ca.Issue(t, name)
	c, _ := chained(t, backed, &shelf{answer: unmodified(old)}, &shelf{answer: gives(fresh)})
	bundle, err := c.Fetch(t.Context(), store.Request{Name: name, Validator: store.Validator{ETag: `"v"`}, From: "a"})
	if err != nil || bundle.NotModified || bundle.Store != "b" {
		t.Errorf("%+v, %v", bundle, err)
	}
}

// TestWriteOneAtATime: writes of a name wait for each other, those of others do not.
func TestWriteOneAtATime(t *testing.T) {
	ca := certtest.NewCA(t)
	one, other := gives(ca.Issue(t, name)), gives(ca.Issue(t, name))
	second := &shelf{}
	var running, most sync.Map
	var calls atomic.Int32
	first := &shelf{put: func(_ context.Context, name string, _ []store.Pair) error {
		count, _ := running.LoadOrStore(name, new(atomic.Int32))
		if count.(*atomic.Int32).Add(1) > 1 {
			most.Store(name, true)
		}
		calls.Add(1)
		time.Sleep(time.Millisecond)
		count.(*atomic.Int32).Add(-1)
		return nil
	}}
	c, _ := chained(t, backed, first, second)
	for range 20 {
		second.answer, one, other = one, other, one // the same twice would be written once
		if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if calls.Load() != 20 {
		t.Errorf("%d writes, want 20", calls.Load())
	}
	most.Range(func(name, _ any) bool { t.Errorf("two writes of %s at once", name); return true })
}

// TestWriteAgain: a store that takes what it does not give back is not written to without end.
func TestWriteAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := certtest.NewCA(t)
		first, second := &shelf{}, &shelf{answer: gives(ca.Issue(t, name))}
		c, _ := chained(t, backed, first, second)
		fetch := func(want int) {
			t.Helper()
			if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := first.written(); got != want {
				t.Fatalf("%d writes, want %d", got, want)
			}
		}
		fetch(1)
		fetch(1)
		second.answer = gives(ca.Issue(t, name))
		fetch(2)
		time.Sleep(again)
		fetch(3)
		c.Close()
	})
}

func TestReceiptsBound(t *testing.T) {
	done := make(receipts)
	for i := range 5 * remembered {
		name := fmt.Sprintf("n%d.example", i)
		done.add(name, "certificate")
		if !done.has(name, "certificate") || done.has(name, "another") || len(done) > remembered {
			t.Fatalf("%s: has it %t, %d are known", name, done.has(name, "certificate"), len(done))
		}
	}
}

// TestWriteFailures: a store that can't be written to is logged once a minute, with the count, and delays nobody.
func TestWriteFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := certtest.NewCA(t).Issue(t, name)
		full := func(context.Context, string, []store.Pair) error { return errors.New("no space left on device") }
		c, log := chained(t, backed, &shelf{put: full}, &shelf{answer: gives(issued)})
		for minute := range 2 {
			for range 5 {
				if _, err := c.Fetch(t.Context(), store.Request{Name: name}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			if got := len(log.lines("not written back", "no space left", `"store":"a"`)); got != minute+1 {
				t.Errorf("minute %d: %d lines", minute, got)
			}
			time.Sleep(linesEvery)
		}
		if got := log.lines(`"count":5`); len(got) != 1 {
			t.Errorf("no line counts 5 failures:\n%s", log)
		}
		c.Close()
	})
}

// TestWriteHangs: a store that hangs while it is written to costs bounded memory, and its time-out each.
func TestWriteHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := certtest.NewCA(t).Issue(t, "*.a.example", name)
		var begun, ended atomic.Int32
		hangs := &shelf{put: func(ctx context.Context, _ string, _ []store.Pair) error {
			begun.Add(1)
			defer ended.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}}
		c, log := chained(t, func(links []Link) {
			links[0].WriteBack, links[0].WriteTimeout = true, 3*time.Second
		}, hangs, &shelf{answer: gives(issued)})
		began := time.Now()
		const fetches = 2 * writersPerStore * queued
		for i := range fetches {
			if _, err := c.Fetch(t.Context(), store.Request{Name: fmt.Sprintf("n%d.a.example", i)}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("fetches waited %s for writes", took)
		}
		synctest.Wait()
		if begun.Load() != writersPerStore {
			t.Errorf("%d writes at once", begun.Load())
		}
		if len(log.lines(errNoRoom.Error())) != 1 {
			t.Errorf("nothing says that writes were left out:\n%s", log)
		}
		time.Sleep(3*time.Second + time.Millisecond)
		if ended.Load() != writersPerStore {
			t.Errorf("%d ended by their time-out", ended.Load())
		}
		began = time.Now()
		c.Close()
		if took := time.Since(began); took != closeWait {
			t.Errorf("Close took %s", took)
		}
	})
}
