package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// lookAttempts is how often something is read anew that two transactions overtook, which takes them longer than it.
	lookAttempts = 100
	// lookKeys is how many keys are read at a time.
	lookKeys = 256
)

// Get returns the record of a key, and whether there is one: none that is damaged, or has expired. It waits for the disk as
// long as ctx allows, and not for long in any case. The error says that it is not known whether there is one.
func (t *Tier) Get(ctx context.Context, key string) (Record, bool, error) {
	record, settled := t.queued(key)
	if !settled && key != "" && len(key) <= MaxKey {
		var err error
		if record, err = t.read(ctx, key); err != nil {
			return Record{}, false, t.readFailed(err)
		}
	}
	if record == nil || record.expired(time.Now()) {
		return Record{}, false, nil
	}
	return *record, true, nil
}

func (t *Tier) readFailed(err error) error {
	return fmt.Errorf("read the disk tier's file %s: %w", t.folder.file(), err)
}

// queued reports whether the queue says what is under a key, and the record, nil if there is none.
func (t *Tier) queued(key string) (*Record, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue.settles(key)
}

// read returns a record from the file, nil if it isn't there or is damaged.
func (t *Tier) read(ctx context.Context, key string) (*Record, error) {
	record, err := look(ctx, t, func(f *file, v *view) (*Record, error) { return v.record(f.seal, key) })
	if errors.Is(err, errDamaged) {
		t.suspect(key)
		return nil, nil
	}
	return record, err
}

// suspect has the writer look at a record again, and remove it if it is damaged.
func (t *Tier) suspect(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.suspects[key]; known || t.closing {
		return
	}
	t.damage.count(key)
	t.stats.Damaged++
	if len(t.suspects) < maxSuspects {
		t.suspects[key] = struct{}{}
	}
	t.signal()
}

// maxSuspects bounds what is remembered of damaged records. What is beyond is met again.
const maxSuspects = 10_000

// blame has the writer set a file aside that is corrupted, or say that it can't be read.
func (t *Tier) blame(f *file, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var reason *unfit
	if !errors.As(err, &reason) {
		t.stats.LastError = err.Error()
		t.damage.unread = err
	} else if t.broken == nil {
		t.broken = &breakage{f, reason}
	}
	t.signal()
}

// Tagged returns the keys of the records that have a tag, in order. The error says that there may be more of them.
func (t *Tier) Tagged(ctx context.Context, tag [32]byte) ([]string, error) {
	// The queue first: what leaves it meanwhile is in the file then.
	keys := t.queuedKeys(func(record *Record) bool { return slices.Contains(record.Tags, tag) })
	err := t.walk(ctx, tagBucket, string(tag[:]), func(string) bool { return true }, func(key string) (bool, error) {
		entry, tagged := strings.CutPrefix(key, string(tag[:]))
		if !tagged {
			return false, nil
		}
		has, err := t.hasTag(ctx, entry, tag)
		if has {
			keys = append(keys, entry)
		}
		return err == nil, err
	})
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// hasTag reports whether the record of a key has a tag: that there is an entry of it says only that one had.
func (t *Tier) hasTag(ctx context.Context, key string, tag [32]byte) (bool, error) {
	if record, settled := t.queued(key); settled {
		return record != nil && slices.Contains(record.Tags, tag), nil
	}
	opened, err := look(ctx, t, func(f *file, v *view) (*content, error) { return v.content(f.seal, key) })
	if errors.Is(err, errDamaged) {
		t.suspect(key)
		return false, nil
	}
	return err == nil && opened != nil && slices.Contains(opened.tags, tag), err
}

// Keys returns the keys after a key, in order and at most so many. All from the start follow "". The error says that there
// may be others among them.
func (t *Tier) Keys(ctx context.Context, after string, most int) ([]string, error) {
	if most <= 0 {
		return nil, nil
	}
	keys := t.queuedKeys(func(record *Record) bool { return record.Key > after })
	there := func(key string) bool {
		record, settled := t.queued(key)
		return record != nil || !settled
	}
	found := 0
	err := t.walk(ctx, recordBucket, after+"\x00", there, func(key string) (bool, error) {
		keys = append(keys, key)
		found++
		return found < most, nil
	})
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return keys[:min(most, len(keys))], err
}

// queuedKeys returns the keys of queued records that match.
func (t *Tier) queuedKeys(matches func(*Record) bool) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var keys []string
	add := func(put *change) {
		if record, _ := t.queue.settles(put.key); record == put.record && matches(record) {
			keys = append(keys, put.key)
		}
	}
	t.queue.waiting.puts.each(add)
	t.queue.writing.puts.each(add)
	return keys
}

// walk visits the keys of a bucket in the file, from a key on, that are to be shown, until visit says that it is enough.
func (t *Tier) walk(ctx context.Context, in bucket, from string, show func(key string) bool, visit func(key string) (bool, error)) error {
	for more := true; more; {
		var keys []string
		var err error
		if keys, from, more, err = t.stretch(ctx, in, from, show); err != nil {
			return t.readFailed(err)
		}
		for _, key := range keys {
			if on, err := visit(key); err != nil {
				return t.readFailed(err)
			} else if !on {
				return nil
			}
		}
	}
	return nil
}

// seen is what was read of a bucket, and where.
type seen struct {
	keys []string
	view *view
}

// stretch returns the next keys of a walk, where it goes on, and whether there is more.
func (t *Tier) stretch(ctx context.Context, in bucket, from string, show func(key string) bool) (shown []string, next string, more bool, err error) {
	for range lookAttempts {
		got, err := look(ctx, t, func(_ *file, v *view) (seen, error) { return v.keys(in, from) })
		if err != nil && t.erasing() {
			return nil, "", false, nil
		}
		if err != nil {
			return nil, "", false, err
		}
		shown = nil
		for _, key := range got.keys {
			if show(key) {
				shown = append(shown, key)
			}
		}
		// What left the queue for the file since it was read, a delete say, would be seen in neither.
		if f := t.file.Load(); f == nil || f.view.Load() != got.view {
			continue
		}
		if len(got.keys) < lookKeys {
			return shown, "", false, nil
		}
		return shown, got.keys[len(got.keys)-1] + "\x00", true, nil
	}
	return nil, "", false, errBusy
}

// erasing reports whether all that is in the file goes.
func (t *Tier) erasing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue.waiting.all != 0 || t.queue.writing.all != 0
}

// keys reads some keys of a bucket, from one on.
func (v *view) keys(in bucket, from string) (seen, error) {
	var keys []string
	err := v.ascend(in, []byte(from), func(key, _ []byte) bool {
		keys = append(keys, string(key))
		return len(keys) < lookKeys
	})
	return seen{keys, v}, err
}
