package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// both runs a test with a key and without.
func both(t *testing.T, test func(t *testing.T, encrypted bool)) {
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("encrypted=%t", encrypted), func(t *testing.T) { test(t, encrypted) })
	}
}

func TestRoundTrip(t *testing.T) {
	records := []Record{
		{Key: "a"},
		{Key: "a.example", Value: []byte("value")},
		{Key: "shared.example", Value: []byte{}, Shared: [][]byte{[]byte("one"), []byte("two"), []byte("one"), {}}},
		{Key: "tagged.example", Tags: [][32]byte{tagOf(1), tagOf(2), tagOf(1)}},
		{Key: "expires.example", Expires: time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)},
		{Key: "\x00\xff\n", Value: []byte("any bytes")},
		{Key: strings.Repeat("k", MaxKey), Value: filling(1, 100_000), Shared: chain(1), Tags: [][32]byte{tagOf(3)}},
	}
	both(t, func(t *testing.T, encrypted bool) {
		l := newLab(t, encrypted, quick())
		for _, record := range records {
			l.Put(record)
			l.holds(record)
		}
		l.sync()
		check := func() {
			t.Helper()
			for _, record := range records {
				l.holds(record)
			}
			if got := l.Stats().Records; got != len(records) {
				t.Fatalf("%d records, want %d", got, len(records))
			}
		}
		check()
		l.reopen(nil)
		check()
		l.lacks("b.example", "", strings.Repeat("k", MaxKey+1))
	})
}

func TestNewestWins(t *testing.T) {
	l := newLab(t, false, quick())
	for i := range 50 {
		record := Record{Key: "a.example", Value: fmt.Append(nil, i)}
		l.Put(record)
		l.holds(record)
		if i%7 == 0 {
			l.sync()
			l.holds(record)
		}
	}
	l.reopen(nil)
	l.holds(Record{Key: "a.example", Value: []byte("49")})
	if got := l.Stats().Records; got != 1 {
		t.Fatalf("%d records, want 1", got)
	}
}

func TestDelete(t *testing.T) {
	l := newLab(t, true, quick())
	records := l.fill(20)
	l.Delete(records[3].Key, records[4].Key, "not there")
	l.lacks(records[3].Key, records[4].Key)
	l.sync()
	l.lacks(records[3].Key, records[4].Key)
	l.Put(records[4])
	l.holds(records[4])
	l.reopen(nil)
	l.lacks(records[3].Key)
	l.holds(records[4])
	if got := l.Stats().Records; got != 19 {
		t.Fatalf("%d records, want 19", got)
	}
}

func TestDeleteAll(t *testing.T) {
	l := newLab(t, true, quick())
	records := l.fill(20)
	l.DeleteAll()
	l.lacks(records[0].Key, records[19].Key)
	l.Put(records[1])
	l.sync()
	l.lacks(records[0].Key, records[19].Key)
	l.holds(records[1])
	l.reopen(nil)
	l.lacks(records[0].Key, records[19].Key)
	l.holds(records[1])
	if got := l.Stats().Records; got != 1 {
		t.Fatalf("%d records, want 1", got)
	}
	if set := l.aside(); len(set) > 0 {
		t.Fatalf("set aside: %v", set)
	}
}

// A delete of what isn't there costs no transaction: nobody can have the disk work by asking for names.
func TestDeleteOfNothingWritesNothing(t *testing.T) {
	l := newLab(t, false, quick())
	l.fill(3)
	before := l.Tier.file.Load().begun.Load()
	l.Delete("a", "b", "c")
	l.sync()
	if after := l.Tier.file.Load().begun.Load(); after != before {
		t.Fatalf("%d transactions", after-before)
	}
}

func TestTagged(t *testing.T) {
	l := newLab(t, true, quick())
	expect := func(tag int, want ...string) {
		t.Helper()
		if got := l.Tagged(tagOf(tag)); !slices.Equal(got, want) {
			t.Fatalf("tag %d: %q, want %q", tag, got, want)
		}
	}
	for _, synced := range []bool{false, true} {
		l.DeleteAll()
		settle := func() {
			if synced {
				l.sync()
			}
		}
		l.Put(Record{Key: "b", Tags: [][32]byte{tagOf(1), tagOf(2)}})
		l.Put(Record{Key: "a", Tags: [][32]byte{tagOf(1)}})
		settle()
		expect(1, "a", "b")
		expect(2, "b")
		expect(3)
		l.Put(Record{Key: "b", Tags: [][32]byte{tagOf(3)}})
		settle()
		expect(1, "a")
		expect(2)
		expect(3, "b")
		l.Delete("a")
		settle()
		expect(1)
	}
}

func TestTaggedBeyondOneSlice(t *testing.T) {
	l := newLab(t, false, quick())
	var want []string
	for i := range 3*lookKeys + 1 {
		record := Record{Key: fmt.Sprintf("%06d", i), Tags: [][32]byte{tagOf(1)}}
		want = append(want, record.Key)
		l.Put(record)
	}
	l.sync()
	if got := l.Tagged(tagOf(1)); !slices.Equal(got, want) {
		t.Fatalf("%d keys, want %d", len(got), len(want))
	}
}

func TestKeys(t *testing.T) {
	l := newLab(t, false, quick())
	for i := range 1000 {
		l.Put(Record{Key: fmt.Sprintf("%04d", i)})
		if i == 700 {
			l.sync()
		}
	}
	l.Delete("0001", "0500", "0900")
	var all []string
	for after := ""; ; {
		keys := l.Keys(after, 99)
		if len(keys) == 0 {
			break
		}
		all = append(all, keys...)
		after = keys[len(keys)-1]
	}
	if len(all) != 997 || !slices.IsSorted(all) || slices.Contains(all, "0500") || slices.Contains(all, "0900") {
		t.Fatalf("%d keys: %v", len(all), all)
	}
	if got := l.Keys("0998", 10); !slices.Equal(got, []string{"0999"}) {
		t.Fatalf("after 0998: %q", got)
	}
	if got := l.Keys("", 0); len(got) != 0 {
		t.Fatalf("none asked for: %q", got)
	}
}

func TestExpired(t *testing.T) {
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, pace: quick(), log: &lines{}, options: Options{Dir: dir}}
		l.open()
		defer l.Close()
		record := Record{Key: "a", Expires: time.Now().Add(time.Hour)}
		l.Put(record)
		l.sync()
		l.holds(record)
		time.Sleep(time.Hour)
		l.lacks("a")
	})
}

func TestOutOfBounds(t *testing.T) {
	tests := map[string]Record{
		"no key":       {Value: []byte("x")},
		"long key":     {Key: strings.Repeat("k", MaxKey+1)},
		"large value":  {Key: "a", Value: make([]byte, MaxRecord)},
		"large shared": {Key: "a", Shared: [][]byte{make([]byte, MaxRecord)}},
	}
	for name, record := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, false, quick())
			l.Put(record)
			if err := l.trySync(); err == nil || !strings.Contains(err.Error(), "dropped") {
				t.Fatalf("got %v", err)
			}
			l.sync() // said once
			l.lacks(record.Key)
			if got := l.Stats().Dropped; got != 1 {
				t.Fatalf("%d dropped, want 1", got)
			}
		})
	}
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	p := quick()
	p.every = time.Hour
	l := newLab(t, true, p)
	l.fill(1)
	for i := range 100 {
		l.Put(sample(i))
	}
	l.reopen(nil)
	for i := range 100 {
		l.holds(sample(i))
	}
}

func TestCloseSaysWhatIsLost(t *testing.T) {
	l := newLab(t, false, quick())
	l.fill(1)
	l.breakDisk() // for good: the descriptor is another file's after Close
	l.Put(sample(1))
	l.Delete("name-000000.example")
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "2 changes were not written") {
		t.Fatalf("got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("closed again: %v", err)
	}
}

func TestClosed(t *testing.T) {
	l := newLab(t, false, quick())
	l.fill(1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Put(sample(1))
	l.Delete("name-000000.example")
	l.DeleteAll()
	l.lacks(sample(0).Key, sample(1).Key)
	if keys, err := l.Tier.Keys(t.Context(), "", 10); len(keys) > 0 || err == nil {
		t.Fatalf("keys %q, error %v", keys, err)
	}
	if keys, err := l.Tier.Tagged(t.Context(), tagOf(0)); len(keys) > 0 || err == nil {
		t.Fatalf("tagged %q, error %v", keys, err)
	}
	if err := l.trySync(); !errors.Is(err, errClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestSyncLeavesWithItsContext(t *testing.T) {
	l := newLab(t, false, quick())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range 2000 {
		l.Put(sample(i))
	}
	if err := l.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	l.sync()
}
