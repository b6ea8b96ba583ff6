package disk

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// There is no instant at which a change is neither in the queue nor in the file.
func TestQueueHoldsWhatIsBeingWritten(t *testing.T) {
	q := newQueue(1 << 20)
	q.put(&Record{Key: "put"})
	q.delete("deleted")
	q.take(10, 1<<20)
	if record, settled := q.settles("put"); !settled || record == nil {
		t.Fatal("the record is not seen while it is being written")
	}
	if record, settled := q.settles("deleted"); !settled || record != nil {
		t.Fatal("the delete is not seen while it is being written")
	}
	q.delete("put")
	q.put(&Record{Key: "deleted"})
	if record, settled := q.settles("put"); !settled || record != nil {
		t.Fatal("the newer delete is not seen")
	}
	q.putBack()
	if record, settled := q.settles("put"); !settled || record != nil {
		t.Fatal("a record that was deleted meanwhile is back")
	}
	if record, settled := q.settles("deleted"); !settled || record == nil {
		t.Fatal("a record that was put meanwhile is lost")
	}
	if q.waiting.deletes.get("deleted") == nil {
		t.Fatal("the delete that failed is forgotten")
	}
}

func TestQueueDeleteAll(t *testing.T) {
	q := newQueue(1 << 20)
	q.put(&Record{Key: "a"})
	q.delete("b")
	q.take(10, 1<<20)
	q.put(&Record{Key: "c"})
	q.deleteAll()
	q.put(&Record{Key: "d"})
	q.putBack()
	for key, there := range map[string]bool{"a": false, "b": false, "c": false, "d": true, "e": false} {
		if record, settled := q.settles(key); !settled || (record != nil) != there {
			t.Errorf("%s: settled %t, there %t", key, settled, record != nil)
		}
	}
	if q.count() != 2 || q.bytes != 1 {
		t.Fatalf("%d changes of %d bytes, want 2 of 1", q.count(), q.bytes)
	}
}

// As long as deletes wait, no record is written: one of them may be of its key.
func TestQueueDeletesFirst(t *testing.T) {
	q := newQueue(1 << 20)
	for i := range 25 {
		q.delete(fmt.Sprint(i))
	}
	q.put(&Record{Key: "24"})
	for _, want := range []struct{ deletes, puts int }{{10, 0}, {10, 0}, {5, 1}, {0, 0}} {
		q.take(10, 1<<20)
		if got := q.writing; got.deletes.len() != want.deletes || got.puts.len() != want.puts {
			t.Fatalf("%d deletes and %d puts, want %+v", got.deletes.len(), got.puts.len(), want)
		}
		q.written()
	}
	if q.bytes != 0 || q.deleteBytes != 0 || q.count() != 0 {
		t.Fatalf("%d and %d bytes are left", q.bytes, q.deleteBytes)
	}
}

// More deletes than memory should hold become one of everything: none is forgotten.
func TestQueueDeletesAreBounded(t *testing.T) {
	q := newQueue(10_000)
	for i := range 1000 {
		q.delete(fmt.Sprint(i))
	}
	if q.waiting.all == 0 || q.waiting.deletes.len() > 50 {
		t.Fatalf("%d deletes wait", q.waiting.deletes.len())
	}
	if !q.pending(1) {
		t.Fatal("the first delete is not waited for")
	}
}

func TestQueueKeepsTheTurn(t *testing.T) {
	q := newQueue(1 << 20)
	q.put(&Record{Key: "a"})
	asked := q.order
	q.put(&Record{Key: "a", Value: []byte("newer")})
	if !q.pending(asked) {
		t.Fatal("a record that replaced one is not waited for")
	}
	q.take(1, 1<<20)
	q.put(&Record{Key: "a", Value: []byte("newest")})
	q.written()
	if q.pending(asked) || !q.pending(q.order) {
		t.Fatal("what came while it was written is confused with it")
	}
}

// A view stands until the second transaction after it begins.
func TestViewStands(t *testing.T) {
	l := newLab(t, false, quick())
	must(t, l.Close()) // so that nobody else writes
	l.open()
	f := l.Tier.file.Load()
	v := f.view.Load()
	change := func() {
		t.Helper()
		must(t, f.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketNames[metaBucket]).Put([]byte("x"), nil) }))
	}
	change()
	if !f.stands(v) || f.view.Load() == v {
		t.Fatal("one transaction took it away")
	}
	change()
	if f.stands(v) || !f.stands(f.view.Load()) {
		t.Fatal("it stands after two")
	}
}

// Readers and writers at once: what is read is always whole, and nothing is found damaged that isn't.
func TestConcurrent(t *testing.T) {
	l := newLab(t, true, quick())
	const names = 300
	for i := range names {
		l.Put(versioned(i, 0))
	}
	l.sync()
	deadline := time.Now().Add(2 * time.Second)
	var group sync.WaitGroup
	for worker := range 6 {
		group.Go(func() {
			for version := 1; time.Now().Before(deadline); version++ {
				key := (version*7 + worker*41) % names
				if worker < 2 {
					l.Put(versioned(key, version))
					if version%50 == 0 {
						if err := l.trySync(); err != nil {
							t.Error(err)
						}
					}
					continue
				}
				record, found := l.Get(sample(key).Key)
				at := -1
				if found {
					at, _ = versionOf(record)
				}
				if !found || difference(versioned(key, at), record) != "" {
					t.Errorf("%d: found %t, version %d", key, found, at)
					return
				}
				if version%100 == 0 {
					if got := len(l.Keys("", 2*names)); got != names {
						t.Errorf("%d keys", got)
					}
					if got := len(l.Tagged(tagOf(3))); got != names/10 {
						t.Errorf("%d tagged", got)
					}
					l.Stats()
				}
			}
		})
	}
	group.Wait()
	if stats := l.Stats(); stats.Damaged > 0 || stats.LastError != "" || stats.Records != names {
		t.Fatalf("%+v", stats)
	}
	l.log.has(t, 0, "disk tier")
}
