package disk

import (
	"errors"

	"go.etcd.io/bbolt"
)

// edit is a change of one key in one bucket.
type edit struct {
	in    bucket
	key   []byte
	value []byte // nil: delete
}

// edits turns a batch into what is to be changed where: deletes first, for a record may be put under the same key.
func (f *file) edits(b *batch) ([]edit, error) {
	v := f.view.Load()
	var edits []edit
	for _, key := range b.deletes {
		edits = append(edits, edit{in: recordBucket, key: []byte(key)})
	}
	for _, key := range b.suspects {
		_, err := v.record(f.seal, key)
		if errors.Is(err, errDamaged) {
			edits = append(edits, edit{in: recordBucket, key: []byte(key)})
		} else if err != nil {
			return nil, err
		}
	}
	shared := make(map[[hashSize]byte]struct{})
	for _, record := range b.puts {
		var err error
		if edits, err = f.put(edits, v, record, shared); err != nil {
			return nil, err
		}
	}
	return edits, nil
}

// put adds what a record takes. Shared holds what is there already or has an edit.
func (f *file) put(edits []edit, v *view, record *Record, shared map[[hashSize]byte]struct{}) ([]edit, error) {
	sealed := contentOf(record)
	key := []byte(record.Key)
	for i, hash := range sealed.shared {
		if _, known := shared[hash]; known {
			continue
		}
		shared[hash] = struct{}{}
		_, err := v.blob(f.seal, hash)
		if errors.Is(err, errDamaged) { // or not there
			edits = append(edits, edit{sharedBucket, hash[:], f.seal.seal(sharedBucket, hash[:], record.Shared[i])})
		} else if err != nil {
			return nil, err
		}
	}
	for _, tag := range sealed.tags {
		added, err := v.addTag(tag, record.Key)
		if err != nil {
			return nil, err
		}
		edits = append(edits, added...)
	}
	return append(edits, edit{recordBucket, key, f.seal.seal(recordBucket, key, sealed.encode())}), nil
}

// addTag returns the edit that says of a key that it has a tag, none if that is there.
func (v *view) addTag(tag [tagSize]byte, key string) ([]edit, error) {
	entry := tagKey(tag, key)
	if has, err := v.has(tagBucket, entry); has || err != nil {
		return nil, err
	}
	return []edit{{tagBucket, entry, []byte{}}}, nil
}

// apply makes edits in one transaction, and reports whether there was anything to change. Of a key in one bucket there may
// be a delete and then a put.
func (f *file) apply(edits []edit) (bool, error) {
	needed, count, err := f.needed(edits)
	if err != nil || len(needed) == 0 {
		return false, err
	}
	err = f.update(func(tx *bbolt.Tx) error { return f.execute(tx, needed, count) })
	f.recount()
	return err == nil, err
}

// needed returns the edits that change something, after a look at all that bbolt will touch, and the number of records then.
func (f *file) needed(edits []edit) ([]edit, int, error) {
	count := f.count
	deleted := make(map[string]struct{})
	needed := make([]edit, 0, len(edits))
	look := newChecker(f.view.Load())
	if _, err := look.check(metaBucket, countKey, false); err != nil {
		return nil, 0, err
	}
	for _, e := range edits {
		there, err := look.check(e.in, e.key, e.value == nil)
		if err != nil {
			return nil, 0, err
		}
		if e.value == nil && !there {
			continue
		}
		if e.in == recordBucket {
			_, gone := deleted[string(e.key)]
			count += delta(there && !gone, e.value != nil)
			if e.value == nil {
				deleted[string(e.key)] = struct{}{}
			}
		}
		needed = append(needed, e)
	}
	return needed, max(0, count), nil
}

// delta is how the number of records changes.
func delta(before, after bool) int {
	switch {
	case !before && after:
		return 1
	case before && !after:
		return -1
	}
	return 0
}

func (f *file) execute(tx *bbolt.Tx, edits []edit, count int) error {
	for _, e := range edits {
		in := tx.Bucket(bucketNames[e.in])
		var err error
		if e.value == nil {
			err = in.Delete(e.key)
		} else {
			err = in.Put(e.key, e.value)
		}
		if err != nil {
			return err
		}
	}
	return tx.Bucket(bucketNames[metaBucket]).Put(countKey, encodeCount(f.seal, count))
}

// recount reads how many records there are: after an error that is one of two numbers.
func (f *file) recount() {
	if sealed, err := f.view.Load().value(metaBucket, countKey); err == nil {
		f.count = decodeCount(f.seal, sealed)
	}
}

// size is that of the file in bytes.
func (f *file) size() int64 {
	info, err := f.handle.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}
