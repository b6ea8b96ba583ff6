// Package disk keeps certificates over a restart: a sealed map from keys to records in one bbolt file that one process
// owns. What is in a record's value is the business of package cache.
//
// The rule it guards: the file is never believed. Every value is sealed under its name, every page is checked before it is
// used, and what is found damaged is a record that isn't there or a file that is set aside, never wrong data and never a
// crash. No caller waits for the disk to be written, and no trouble with it reaches one who didn't ask.
package disk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Bounds of a record. What is beyond them is dropped by Put, and counted.
const (
	// MaxKey is the size in bytes of the longest key.
	MaxKey = 300
	// MaxRecord is the size in bytes of a record's Key, Value, Shared and Tags together.
	MaxRecord = 4 << 20
)

// ErrInUse is wrapped by the error of Open when another process has the folder, or another Tier of this one.
var ErrInUse = errors.New("in use by another process")

var errClosed = errors.New("disk tier: closed")

// Options say where a Tier keeps its file. Dir is required.
type Options struct {
	// Dir is a folder of the tier's own. It is made when it is missing, and given the mode 0700 when it has another.
	Dir string
	// KeyFile holds the key that the file is encrypted with: 32 bytes, as they are, as 64 hex digits or in base64. It must
	// not be readable by others. Empty: not encrypted, but checksummed.
	KeyFile string
	// Log takes a line when a file is set aside, a record is found damaged, writing fails or works again.
	Log zerolog.Logger
}

// Record is what is kept under a key. Its slices are not to be changed once they were given to Put or come from Get.
type Record struct {
	// Key is 1 to MaxKey bytes, any. The value is sealed under it.
	Key   string
	Value []byte
	// Shared are kept once however many records have the same; their order is kept. It may be empty.
	Shared [][]byte
	// Tags are what Tagged finds the key by.
	Tags [][32]byte
	// Expires is when the record is of no use any more: Get doesn't return it from then on, and it is removed some time
	// later. Zero: never.
	Expires time.Time
	// Keep has the record never dropped however much is queued. It is not kept in the file.
	Keep bool
}

// expired reports whether the record is of no use any more.
func (r *Record) expired(now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

// size is what a record counts for in the queue, in bytes.
func (r *Record) size() int {
	size := len(r.Key) + len(r.Value) + len(r.Tags)*tagSize
	for _, blob := range r.Shared {
		size += len(blob)
	}
	return size
}

// fits reports whether a record is within the bounds of one.
func (r *Record) fits() bool { return len(r.Key) > 0 && len(r.Key) <= MaxKey && r.size() <= MaxRecord }

// Stats is what a Tier has done since it was opened.
type Stats struct {
	// Records is the number of records in the file, FileBytes its size. What is queued is not in them.
	Records   int
	FileBytes int64
	// Written counts records written; Dropped those that were not, because the queue was full or they were out of bounds;
	// Damaged those that were found damaged.
	Written, Dropped, Damaged uint64
	// Failing: the last attempt to write failed, and is repeated.
	Failing bool
	// LastError is that of the last attempt that failed, since the start; "" if none did.
	LastError string
}

// A Tier is the open file and what waits to be written to it. It is safe for concurrent use; Close it.
type Tier struct {
	log    zerolog.Logger
	folder *folder
	secret []byte // of KeyFile; nil: none
	pace   pace

	file    atomic.Pointer[file] // nil: could not be begun anew yet
	wake    chan struct{}        // of capacity 1: there is something for the writer
	stopped chan struct{}        // closed when the writer has returned
	readers readers

	mu       sync.Mutex // guards what follows; never held across I/O
	queue    queue
	waiters  []*waiter
	suspects map[string]struct{} // keys of records that were found damaged and are there yet
	broken   *breakage
	closing  bool
	stats    Stats
	damage   damageLog

	writer writer // the writer's alone
}

// breakage is what was found to be wrong with a file as a whole.
type breakage struct {
	file   *file
	reason error
}

// waiter is a call of Sync.
type waiter struct {
	order   uint64 // what was queued up to it is waited for
	dropped uint64 // Stats.Dropped when the queue was last empty
	result  chan error
}

// Open opens the tier in a folder, and begins a new file if there is none or if the one there is can't be used: that one is
// set aside then, and the log says why. The error wraps ErrInUse if somebody else has the folder.
func Open(options Options) (*Tier, error) { return open(options, defaultPace) }

func open(options Options, pace pace) (*Tier, error) {
	var secret []byte
	if options.KeyFile != "" {
		var err error
		if secret, err = readKey(options.KeyFile); err != nil {
			return nil, err
		}
	}
	folder, err := openFolder(options.Dir)
	if err != nil {
		return nil, err
	}
	t := &Tier{
		log: options.Log, folder: folder, secret: secret, pace: pace,
		wake: make(chan struct{}, 1), stopped: make(chan struct{}), readers: newReaders(pace.reads),
		queue: newQueue(pace.queueBytes), suspects: make(map[string]struct{}),
	}
	opened, err := t.openFile()
	if err != nil {
		folder.close()
		return nil, err
	}
	t.use(opened)
	t.writer.sweepAt = time.Now().Add(pace.firstSweep)
	go t.run()
	return t, nil
}

// Close writes what is queued, waits for that and for reads a bounded time, and gives the folder back. The error says what
// was not written, or that the disk hangs: a goroutine is left that waits for it then. Nothing is read or written after it.
func (t *Tier) Close() error {
	t.mu.Lock()
	again := t.closing
	t.closing = true
	t.mu.Unlock()
	t.signal()

	ctx, cancel := context.WithTimeout(context.Background(), 2*t.pace.closeWait)
	defer cancel()
	silent := fmt.Errorf("disk tier %s: the disk did not answer for %s", t.folder.path, 2*t.pace.closeWait)
	select {
	case <-t.stopped:
	case <-ctx.Done():
		return silent
	}
	if again {
		return nil
	}
	drained := t.readers.drain(ctx)
	if left, reason := t.left(); left > 0 {
		return fmt.Errorf("disk tier %s: %d changes were not written: %s", t.folder.path, left, reason)
	}
	if !drained {
		return silent
	}
	return nil
}

// left is what is still queued, and why.
func (t *Tier) left() (int, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	reason := t.stats.LastError
	if reason == "" {
		reason = "there was no time"
	}
	return t.queue.count(), reason
}

// Put queues a record, in place of what is there under its key. It never waits for the disk. When more is queued than may
// be, the oldest record that is queued and not to be kept is dropped: what the file holds of its key stays as it is.
func (t *Tier) Put(record Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return
	}
	if record.fits() {
		t.queue.put(&record)
	} else {
		t.queue.refuse()
	}
	t.signal()
}

// Delete queues the removal of records. They are gone for Get at once, and stay so however long they can't be removed from
// the disk. Keys that are not there are passed by. all reports that more is to be removed than can be queued, so that all
// that is in the file goes: what must stay is to be put again.
func (t *Tier) Delete(keys ...string) (all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return false
	}
	for _, key := range keys {
		if key != "" && len(key) <= MaxKey && t.queue.delete(key) {
			all = true
		}
	}
	t.signal()
	return all
}

// DeleteAll queues the removal of everything, by a new file.
func (t *Tier) DeleteAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return
	}
	t.queue.deleteAll()
	t.signal()
}

// Sync waits until all that was queued before the call is on the disk. The error says why it isn't: the attempt to write
// it failed (it is repeated all the same), records were dropped, or ctx was done. Should the file be found corrupted later,
// what is on the disk is of no use all the same.
func (t *Tier) Sync(ctx context.Context) error {
	w := t.wait()
	select {
	case err := <-w.result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("disk tier %s: write what is queued: %w", t.folder.path, ctx.Err())
	}
}

// wait begins to wait for all that is queued.
func (t *Tier) wait() *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &waiter{order: t.queue.order, dropped: t.queue.droppedWhenEmpty, result: make(chan error, 1)}
	if t.closing {
		w.result <- errClosed
		return w
	}
	t.waiters = append(t.waiters, w)
	t.signal()
	return w
}

// Stats returns the counters as they are.
func (t *Tier) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	stats := t.stats
	stats.Dropped = t.queue.dropped
	return stats
}

// signal tells the writer that there is something to do.
func (t *Tier) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}
