package disk

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mute is a file whose reads hang until it is released.
type mute struct {
	io.ReaderAt
	release chan struct{}
}

func (m mute) ReadAt(p []byte, at int64) (int, error) {
	<-m.release
	return m.ReaderAt.ReadAt(p, at)
}

// silence has every read of the file hang, as on a dying disk or one behind a network, until the function is called.
func (l *lab) silence() (end func()) {
	f := l.Tier.file.Load()
	before := f.view.Load()
	hung := *before
	release := make(chan struct{})
	hung.file = mute{before.file, release}
	f.view.Store(&hung)
	return func() {
		f.view.CompareAndSwap(&hung, before)
		close(release)
	}
}

// unreadable has every read of the file fail.
type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

func (l *lab) failReads() (mend func()) {
	f := l.Tier.file.Load()
	before := f.view.Load()
	bad := *before
	bad.file = unreadable{}
	f.view.Store(&bad)
	return func() { f.view.Store(before) }
}

// hasty is a pace that waits for a read for a moment.
func hasty() pace {
	p := quick()
	p.reads, p.readWait = 4, 20*time.Millisecond
	p.closeWait = 50 * time.Millisecond
	return p
}

// Who reads from a disk that hangs goes on without it, and once enough reads hang, at once. When it answers again, all is
// as before.
func TestReadOfASilentDisk(t *testing.T) {
	p := hasty()
	p.damageEvery = time.Hour
	l := newLab(t, true, p)
	records := l.fill(10)
	end := l.silence()
	for range p.reads {
		if _, found, err := l.Tier.Get(t.Context(), records[0].Key); found || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("found: %v, error %v", found, err)
		}
	}
	before := runtime.NumGoroutine()
	for range 1000 { // of which each would wait for 20 ms
		if _, _, err := l.Tier.Get(t.Context(), records[1].Key); !errors.Is(err, errSilent) || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	}
	if more := runtime.NumGoroutine() - before; more > 0 {
		t.Errorf("%d goroutines more", more)
	}
	if _, err := l.Tier.Keys(t.Context(), "", 10); !errors.Is(err, errSilent) {
		t.Errorf("keys: %v", err)
	}
	l.Put(sample(100))
	l.Delete(records[2].Key)
	l.holds(sample(100))
	l.lacks(records[2].Key)
	l.log.has(t, 1, "the disk does not answer")
	end()
	eventually(t, "read again", func() bool { _, found := l.Get(records[1].Key); return found })
	l.sync()
	l.holds(records[1])
	l.lacks(records[2].Key)
	if left := l.Tier.readers.overdue.Load(); left != 0 {
		t.Errorf("%d reads overdue", left)
	}
}

// A caller who goes does not wait.
func TestReadLeavesWithItsContext(t *testing.T) {
	p := quick()
	p.readWait = time.Hour
	l := newLab(t, false, p)
	records := l.fill(1)
	end := l.silence()
	defer end()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := l.Tier.Get(ctx, records[0].Key); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

// Close does not wait for a read that hangs for good, and says so.
func TestCloseOfASilentDisk(t *testing.T) {
	l := newLab(t, false, hasty())
	records := l.fill(1)
	end := l.silence()
	l.Get(records[0].Key)
	err := l.Close()
	if err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("got %v", err)
	}
	end()
	eventually(t, "the read has ended", func() bool { return l.Tier.readers.overdue.Load() == 0 })
}

// What can't be read is not passed off as not there.
func TestReadErrors(t *testing.T) {
	l := newLab(t, true, quick())
	records := l.fill(10)
	l.Put(Record{Key: "queued", Tags: [][32]byte{tagOf(3)}})
	mend := l.failReads()
	l.Put(Record{Key: "queued", Tags: [][32]byte{tagOf(3)}})
	if _, found, err := l.Tier.Get(t.Context(), records[0].Key); found || !errors.Is(err, syscall.EIO) {
		t.Errorf("get: found: %v, error %v", found, err)
	}
	if keys, err := l.Tier.Tagged(t.Context(), tagOf(3)); !errors.Is(err, syscall.EIO) {
		t.Errorf("tagged: %q, error %v", keys, err)
	}
	if _, err := l.Tier.Keys(t.Context(), "", 100); !errors.Is(err, syscall.EIO) {
		t.Errorf("keys: %v", err)
	}
	mend()
	if keys := l.Tagged(tagOf(3)); !slices.Equal(keys, []string{records[3].Key, "queued"}) {
		t.Errorf("tagged: %q", keys)
	}
}

// A tag's entry whose record can't be read is not passed by.
func TestTaggedSaysWhatItCanNotRead(t *testing.T) {
	l := newLab(t, true, quick())
	records := l.fill(400)
	f := l.Tier.file.Load()
	v := *f.view.Load()
	leaf, err := v.leaf(v.trees[recordBucket], []byte(records[13].Key), nil)
	if err != nil {
		t.Fatal(err)
	}
	v.file = hole{v.file, int64(leaf.id()) * int64(v.meta.pageSize)}
	f.view.Store(&v)
	if keys, err := l.Tier.Tagged(t.Context(), tagOf(3)); !errors.Is(err, syscall.EIO) {
		t.Fatalf("tagged: %d keys, error %v", len(keys), err)
	}
}

// hole is a file with a page that can't be read.
type hole struct {
	io.ReaderAt
	at int64
}

func (h hole) ReadAt(p []byte, at int64) (int, error) {
	if at == h.at {
		return 0, &os.PathError{Op: "read", Path: "disk", Err: syscall.EIO}
	}
	return h.ReaderAt.ReadAt(p, at)
}

// What must stay is put again when more is to be removed than can be queued, and is not dropped for what comes after it.
func TestKeptSurvivesVeryManyDeletes(t *testing.T) {
	p := quick()
	p.queueBytes, p.batchBytes = 100_000, 10_000
	p.retryFirst, p.retryMost = time.Hour, time.Hour
	l := newLab(t, false, p)
	kept, other := sample(1), sample(2)
	kept.Keep = true
	l.Put(kept)
	l.Put(other)
	l.sync()
	mend := l.breakDisk()
	l.Delete(other.Key)
	if err := l.trySync(); err == nil { // nothing leaves the queue from here on
		t.Fatal("the disk can be written")
	}
	told := 0
	for i := range 1000 {
		if l.Delete(sample(1000 + i).Key) {
			told++
			l.Put(kept)
		}
	}
	if told == 0 {
		t.Fatal("not told that all goes")
	}
	for i := range 500 {
		l.Put(sample(3000 + i))
	}
	mend()
	l.reopen(nil)
	l.holds(sample(1))
	l.lacks(other.Key)
}
