package disk

import (
	"errors"
	"hash/maphash"
	"slices"
	"time"
)

// sweep is one walk through the file, a slice at a time: first through the records, removing those that expired or are
// damaged and marking what the others need, then through tags and what is shared, removing what was not marked. What is
// put while it is under way is marked too. It begins from the start after a crash, so there is nothing that could be
// counted wrongly.
type sweep struct {
	stage bucket
	from  []byte // the key that the next slice begins at
	marks marks
}

// sweepOn does the next slice.
func (t *Tier) sweepOn() {
	w := &t.writer
	f := t.file.Load()
	if f == nil || w.retryAfter > 0 {
		w.sweep, w.sweepAt = nil, time.Now().Add(t.pace.sweepEvery)
		return
	}
	if w.sweep == nil {
		w.sweep = &sweep{stage: recordBucket, marks: newMarks(f.count)}
	}
	done, err := t.slice(f, w.sweep)
	w.sweepAt = time.Now().Add(t.pace.sweepPause)
	if done || err != nil {
		w.sweep, w.sweepAt = nil, time.Now().Add(t.pace.sweepEvery)
	}
	var reason *unfit
	switch {
	case errors.As(err, &reason):
		t.blame(f, err)
	case err != nil:
		t.judge(err)
	}
	t.measure()
}

// slice does one slice and reports whether it was the last.
func (t *Tier) slice(f *file, s *sweep) (done bool, err error) {
	v := f.view.Load()
	var keys [][]byte
	var edits []edit
	var failed error
	err = v.ascend(s.stage, s.from, func(key, value []byte) bool {
		keys = append(keys, slices.Clone(key))
		var added []edit
		added, failed = t.inspectEntry(f, v, s, keys[len(keys)-1], value)
		edits = append(edits, added...)
		return failed == nil && len(keys) < t.pace.sweepSlice
	})
	if err = errors.Join(err, failed); err != nil {
		return false, err
	}
	if _, err := f.apply(edits); err != nil {
		return false, err
	}
	if len(keys) == t.pace.sweepSlice {
		s.from = append(keys[len(keys)-1], 0)
		return false, nil
	}
	return s.advance(), nil
}

// advance goes to the next stage and reports whether there is none.
func (s *sweep) advance() bool {
	s.from = nil
	switch s.stage {
	case recordBucket:
		s.stage = tagBucket
	case tagBucket:
		s.stage = sharedBucket
	default:
		return true
	}
	return false
}

// inspectEntry returns what is to be changed for an entry to be right.
func (t *Tier) inspectEntry(f *file, v *view, s *sweep, key, value []byte) ([]edit, error) {
	gone := []edit{{in: s.stage, key: key}}
	if s.stage != recordBucket {
		if s.marks.has(key) {
			return nil, nil
		}
		return gone, nil
	}
	var sealed content
	plain, err := f.seal.open(recordBucket, key, value)
	if err == nil {
		sealed, err = decodeContent(plain)
	}
	if err != nil {
		t.suspect(string(key))
		return nil, nil
	}
	record := Record{Key: string(key), Tags: sealed.tags, Expires: sealed.expires}
	if record.expired(time.Now()) {
		return gone, nil
	}
	s.mark(record.Key, &sealed)
	return v.mendTags(&record)
}

// mendTags adds what says of a record that it has its tags, should that have been lost.
func (v *view) mendTags(record *Record) ([]edit, error) {
	var edits []edit
	for _, tag := range record.Tags {
		added, err := v.addTag(tag, record.Key)
		if err != nil {
			return nil, err
		}
		edits = append(edits, added...)
	}
	return edits, nil
}

// mark marks what a record needs.
func (s *sweep) mark(key string, c *content) {
	for i := range c.shared {
		s.marks.add(c.shared[i][:])
	}
	for _, tag := range c.tags {
		s.marks.add(tagKey(tag, key))
	}
}

// markAll marks what records need that are being put.
func (s *sweep) markAll(records []*Record) {
	for _, record := range records {
		c := contentOf(record)
		s.mark(record.Key, &c)
	}
}

// marks is a set that may say of what isn't in it that it is, of few and others each time: a Bloom filter. What is kept for
// it is removed an hour later.
type marks struct {
	seed maphash.Seed
	bits []uint64
}

const (
	marksEach   = 4  // marks a record, about
	bitsEach    = 10 // bits a mark
	bitsOfMark  = 4  // set for each
	leastRecord = 1 << 12
)

// newMarks makes a set for what some records need.
func newMarks(records int) marks {
	size := max(records, leastRecord) * marksEach * bitsEach
	return marks{seed: maphash.MakeSeed(), bits: make([]uint64, size/64+1)}
}

// each calls visit for the bits of a mark, until it returns false.
func (m *marks) each(key []byte, visit func(word int, bit uint64) bool) {
	hash := maphash.Bytes(m.seed, key)
	step := hash>>32 | 1
	for range bitsOfMark {
		position := hash % uint64(len(m.bits)*64)
		if !visit(int(position/64), 1<<(position%64)) {
			return
		}
		hash += step
	}
}

func (m *marks) add(key []byte) {
	m.each(key, func(word int, bit uint64) bool {
		m.bits[word] |= bit
		return true
	})
}

func (m *marks) has(key []byte) bool {
	found := true
	m.each(key, func(word int, bit uint64) bool {
		found = m.bits[word]&bit != 0
		return found
	})
	return found
}
