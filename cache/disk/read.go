package disk

import (
	"errors"
	"iter"
	"os"
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

// Get returns the record of a key. One that is damaged, or has expired, is none.
func (t *Tier) Get(key string) (Record, bool) {
	record, settled := t.queued(key)
	if !settled && key != "" && len(key) <= MaxKey {
		record = t.read(key)
	}
	if record == nil || record.expired(time.Now()) {
		return Record{}, false
	}
	return *record, true
}

// queued reports whether the queue says what is under a key, and the record, nil if there is none.
func (t *Tier) queued(key string) (*Record, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue.settles(key)
}

// read returns a record from the file, nil if it isn't there.
func (t *Tier) read(key string) *Record {
	var record *Record
	err := t.look(func(f *file, v *view) (err error) {
		record, err = v.record(f.seal, key)
		return err
	})
	if err == nil {
		return record
	}
	if errors.Is(err, errDamaged) {
		t.suspect(key)
	}
	return nil
}

// look has something read from the file as one transaction left it. The result of the last call counts.
func (t *Tier) look(read func(*file, *view) error) error {
	for range lookAttempts {
		f := t.file.Load()
		if f == nil {
			break
		}
		v := f.view.Load()
		err := read(f, v)
		if !f.stands(v) || errors.Is(err, os.ErrClosed) {
			continue
		}
		if err != nil && !errors.Is(err, errDamaged) {
			t.blame(f, err)
		}
		return err
	}
	return errClosed
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

// Tagged returns the keys of the records that have a tag, in order.
func (t *Tier) Tagged(tag [32]byte) []string {
	// The queue first: what leaves it meanwhile is in the file then.
	keys := t.queuedKeys(func(record *Record) bool { return slices.Contains(record.Tags, tag) })
	for key := range t.walk(tagBucket, string(tag[:]), func(string) bool { return true }) {
		entry, tagged := strings.CutPrefix(key, string(tag[:]))
		if !tagged {
			break
		}
		if t.hasTag(entry, tag) {
			keys = append(keys, entry)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// hasTag reports whether the record of a key has a tag: that there is an entry of it says only that one had.
func (t *Tier) hasTag(key string, tag [32]byte) bool {
	if record, settled := t.queued(key); settled {
		return record != nil && slices.Contains(record.Tags, tag)
	}
	var opened *content
	err := t.look(func(f *file, v *view) (err error) {
		opened, err = v.content(f.seal, key)
		return err
	})
	if errors.Is(err, errDamaged) {
		t.suspect(key)
	}
	return err == nil && opened != nil && slices.Contains(opened.tags, tag)
}

// Keys returns the keys after a key, in order and at most so many. All from the start follow "".
func (t *Tier) Keys(after string, most int) []string {
	if most <= 0 {
		return nil
	}
	keys := t.queuedKeys(func(record *Record) bool { return record.Key > after })
	found := 0
	there := func(key string) bool {
		record, settled := t.queued(key)
		return record != nil || !settled
	}
	for key := range t.walk(recordBucket, after+"\x00", there) {
		keys = append(keys, key)
		if found++; found == most {
			break
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return keys[:min(most, len(keys))]
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

// walk goes through the keys of a bucket in the file, from a key on, that are to be shown.
func (t *Tier) walk(in bucket, from string, show func(key string) bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		for more := true; more; {
			var keys []string
			keys, from, more = t.stretch(in, from, show)
			for _, key := range keys {
				if !yield(key) {
					return
				}
			}
		}
	}
}

// stretch returns the next keys of a walk, where it goes on, and whether there is more.
func (t *Tier) stretch(in bucket, from string, show func(key string) bool) (shown []string, next string, more bool) {
	for range lookAttempts {
		var keys []string
		var seen *view
		err := t.look(func(_ *file, v *view) error {
			keys, seen = keys[:0], v
			return v.ascend(in, []byte(from), func(key, _ []byte) bool {
				keys = append(keys, string(key))
				return len(keys) < lookKeys
			})
		})
		if err != nil {
			break
		}
		shown = nil
		for _, key := range keys {
			if show(key) {
				shown = append(shown, key)
			}
		}
		// What left the queue for the file since it was read, a delete say, would be seen in neither.
		if f := t.file.Load(); f == nil || f.view.Load() != seen {
			continue
		}
		if len(keys) < lookKeys {
			return shown, "", false
		}
		return shown, keys[len(keys)-1] + "\x00", true
	}
	return nil, "", false
}
