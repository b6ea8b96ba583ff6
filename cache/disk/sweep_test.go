package disk

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// counts returns how many entries there are in a bucket.
func (l *lab) counts(in bucket) int {
	l.t.Helper()
	count, err := lookNow(l.Tier, func(_ *file, v *view) (int, error) {
		count := 0
		err := v.ascend(in, nil, func(_, _ []byte) bool {
			count++
			return true
		})
		return count, err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return count
}

// bubble runs a test of a tier with the usual pace in a bubble.
func bubble(t *testing.T, test func(l *lab)) {
	dir, key := memoryDir(t), writeKey(t, 1)
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, pace: defaultPace, log: &lines{}, options: Options{Dir: dir, KeyFile: key}}
		l.open()
		defer func() { l.Close() }()
		test(l)
	})
}

func TestSweep(t *testing.T) {
	bubble(t, func(l *lab) {
		for i := range 1000 {
			record := Record{Key: sample(i).Key, Value: filling(i, 200), Tags: [][32]byte{tagOf(i)}, Shared: [][]byte{filling(i/10, 300)}}
			if i >= 500 {
				record.Expires = time.Now().Add(time.Minute)
			}
			l.Put(record)
		}
		l.sync()
		l.Delete(sample(0).Key, sample(1).Key)
		l.Put(Record{Key: sample(2).Key, Tags: [][32]byte{tagOf(5000)}})
		l.sync()
		if records, tags, shared := l.counts(recordBucket), l.counts(tagBucket), l.counts(sharedBucket); records != 998 || tags != 1001 || shared != 100 {
			l.t.Fatalf("%d records, %d tags, %d shared before", records, tags, shared)
		}
		time.Sleep(defaultPace.firstSweep + time.Minute)
		synctest.Wait()
		records, tags, shared := l.counts(recordBucket), l.counts(tagBucket), l.counts(sharedBucket)
		// Few of what could go may stay until the next sweep.
		if records != 498 || l.Stats().Records != 498 || tags < 498 || tags > 510 || shared < 50 || shared > 55 {
			l.t.Fatalf("%d records, %d tags, %d shared after", records, tags, shared)
		}
		for i := 3; i < 500; i++ {
			l.holds(Record{Key: sample(i).Key, Value: filling(i, 200), Tags: [][32]byte{tagOf(i)}, Shared: [][]byte{filling(i/10, 300)}})
		}
		time.Sleep(defaultPace.sweepEvery + time.Minute)
		synctest.Wait()
		if tags := l.counts(tagBucket); tags != 498 {
			l.t.Fatalf("%d tags after the second", tags)
		}
	})
}

// What is put while a sweep is under way keeps what it shares, wherever the sweep is.
func TestSweepSparesWhatIsPutMeanwhile(t *testing.T) {
	bubble(t, func(l *lab) {
		shared := [][]byte{filling(1, 2000)}
		for i := range 2000 {
			l.Put(Record{Key: sample(i).Key})
		}
		l.Put(Record{Key: "0", Expires: time.Now().Add(time.Minute)}) // in the first slice
		l.Put(Record{Key: "first", Shared: [][]byte{shared[0], filling(2, 2000)}})
		l.sync()
		l.Delete("first") // now nothing needs them
		l.sync()
		time.Sleep(defaultPace.firstSweep + defaultPace.sweepPause) // the sweep is beyond "a" now
		l.Put(Record{Key: "a", Shared: shared, Tags: [][32]byte{tagOf(1)}})
		l.sync()
		if records, shared := l.Stats().Records, l.counts(sharedBucket); records != 2001 || shared != 2 {
			l.t.Fatalf("%d records and %d shared: the sweep is not under way, or too far", records, shared)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		l.holds(Record{Key: "a", Shared: shared, Tags: [][32]byte{tagOf(1)}})
		if got := l.Tagged(tagOf(1)); len(got) != 1 {
			l.t.Fatalf("tagged: %q", got)
		}
		if shared := l.counts(sharedBucket); shared != 1 {
			l.t.Fatalf("%d shared after the sweep", shared)
		}
	})
}

func TestSweepFindsDamageAndMendsTags(t *testing.T) {
	bubble(t, func(l *lab) {
		for i := range 20 {
			l.Put(sample(i))
		}
		l.reopen(func() {
			l.raw(func(tx *bbolt.Tx) error {
				if err := tx.Bucket(bucketNames[tagBucket]).Delete(tagKey(tagOf(3), sample(3).Key)); err != nil {
					return err
				}
				records := tx.Bucket(bucketNames[recordBucket])
				return records.Put([]byte(sample(4).Key), bytes.Clone(records.Get([]byte(sample(5).Key))))
			})
		})
		if got := l.Tagged(tagOf(3)); len(got) != 1 {
			l.t.Fatalf("tagged: %q", got)
		}
		time.Sleep(defaultPace.firstSweep + time.Minute)
		synctest.Wait()
		if got := l.Tagged(tagOf(3)); len(got) != 2 {
			l.t.Fatalf("tagged after a sweep: %q", got)
		}
		if got := l.Stats(); got.Records != 19 || got.Damaged != 1 {
			l.t.Fatalf("%+v", got)
		}
		l.lacks(sample(4).Key)
	})
}

func TestMarks(t *testing.T) {
	const records = 20_000
	m := newMarks(records)
	for i := range records * marksEach {
		m.add(fmt.Append(nil, "in", i))
	}
	wrong := 0
	for i := range records * marksEach {
		if !m.has(fmt.Append(nil, "in", i)) {
			t.Fatalf("mark %d is lost", i)
		}
		if m.has(fmt.Append(nil, "out", i)) {
			wrong++
		}
	}
	if wrong > records*marksEach/20 {
		t.Fatalf("%d of %d that were not marked seem to be", wrong, records*marksEach)
	}
}
