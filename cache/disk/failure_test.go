package disk

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestQueueIsBounded(t *testing.T) {
	p := quick()
	p.queueBytes, p.batchBytes = 100_000, 10_000
	p.retryFirst, p.retryMost = time.Hour, time.Hour
	l := newLab(t, false, p)
	first := l.fill(5)
	mend := l.breakDisk()
	l.Delete(first[2].Key)
	for i := range 500 {
		l.Put(sample(1000 + i))
	}
	stats := l.Stats()
	if stats.Dropped < 450 || stats.Dropped > 499 {
		t.Fatalf("%d dropped", stats.Dropped)
	}
	l.holds(sample(1499))
	l.lacks(sample(1000).Key, first[2].Key)
	l.holds(first[0])
	mend()
	if err := l.trySync(); err == nil || !strings.Contains(err.Error(), "dropped") {
		t.Fatalf("got %v", err)
	}
	l.sync()
	l.reopen(nil)
	l.holds(sample(1499))
	l.lacks(sample(1000).Key, first[2].Key)
}

func TestSyncReportsFailure(t *testing.T) {
	l := newLab(t, true, quick())
	records := l.fill(5)
	mend := l.breakDisk()
	l.Put(sample(100))
	if err := l.trySync(); err == nil {
		t.Fatal("no error")
	}
	l.Delete(records[0].Key)
	if err := l.trySync(); err == nil {
		t.Fatal("no error")
	}
	stats := l.Stats()
	if !stats.Failing || stats.LastError == "" {
		t.Fatalf("%+v", stats)
	}
	l.lacks(records[0].Key)
	l.holds(records[1])
	l.holds(sample(100))
	time.Sleep(100 * time.Millisecond) // some more attempts
	l.log.has(t, 1, "can't be written")
	l.log.has(t, 0, "can be written again")
	mend()
	l.sync()
	l.log.has(t, 1, "can't be written")
	l.log.has(t, 1, "can be written again")
	if stats := l.Stats(); stats.Failing || stats.LastError == "" {
		t.Fatalf("%+v", stats)
	}
	l.reopen(nil)
	l.lacks(records[0].Key)
	l.holds(sample(100))
}

// A delete is repeated until it is done, before any record is written, and by itself.
func TestDeleteSurvivesFailure(t *testing.T) {
	l := newLab(t, false, quick())
	records := l.fill(5)
	mend := l.breakDisk()
	l.Delete(records[0].Key, records[1].Key)
	l.Put(records[1])
	eventually(t, "failing", func() bool { return l.Stats().Failing })
	l.Put(records[4])
	l.Delete(records[4].Key)
	l.lacks(records[0].Key, records[4].Key)
	l.holds(records[1])
	mend()
	eventually(t, "not failing", func() bool { return !l.Stats().Failing })
	l.reopen(nil)
	l.lacks(records[0].Key, records[4].Key)
	l.holds(records[1])
	if got := l.Stats().Records; got != 3 {
		t.Fatalf("%d records, want 3", got)
	}
}

// Under load there is a transaction every so often, and one at once when there was none for a while.
func TestPace(t *testing.T) {
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		p := defaultPace
		l := &lab{t: t, pace: p, log: &lines{}, options: Options{Dir: dir}}
		l.open()
		defer l.Close()
		begun := func() uint64 { return l.Tier.file.Load().begun.Load() }
		start := begun()
		time.Sleep(time.Second)
		l.Put(sample(0))
		synctest.Wait()
		if got := begun() - start; got != 1 {
			t.Fatalf("%d transactions at once, want 1", got)
		}
		for i := range 100 {
			l.Put(sample(i))
			time.Sleep(10 * time.Millisecond)
		}
		if got := begun() - start; got < 15 || got > 25 {
			t.Fatalf("%d transactions within a second, want about 20", got)
		}
	})
}

func TestRetriesBackOff(t *testing.T) {
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, pace: defaultPace, log: &lines{}, options: Options{Dir: dir}}
		l.open()
		defer l.Close()
		l.fill(1)
		mend := l.breakDisk()
		start := l.Tier.file.Load().begun.Load()
		l.Put(sample(1))
		time.Sleep(5 * time.Minute)
		if got := l.Tier.file.Load().begun.Load() - start; got < 10 || got > 16 {
			t.Fatalf("%d attempts within 5 minutes, want at 0, 1, 3, 7, 15, 31, 61, 91, ... s", got)
		}
		mend()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if l.Stats().Failing {
			t.Fatal("failing still")
		}
	})
}
