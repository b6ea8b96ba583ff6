package disk

import (
	"container/list"
	"math"
	"slices"
)

// queue is what waits to be written: the newest change of each key. What is being written is still in it, below what came
// later, so that what Get sees never depends on how far the disk is. Whoever uses it holds Tier.mu.
type queue struct {
	waiting, writing layer
	order            uint64 // of the last change
	bytes, limit     int    // of the records in both
	deleteBytes      int    // of the keys of deletes that wait

	dropped, droppedWhenEmpty uint64
}

// layer is a set of changes, in the order they are done in: everything is deleted, then keys, then records are put.
type layer struct {
	all     uint64 // the order of the DeleteAll; 0: none
	deletes line
	puts    line
}

// change is a record that is to be put, or a key that is to be deleted.
type change struct {
	key    string
	order  uint64
	record *Record // nil: delete
}

// line holds changes by key, the oldest first.
type line struct {
	byKey map[string]*list.Element
	list  *list.List // of *change
}

func newLine() line { return line{byKey: make(map[string]*list.Element), list: list.New()} }

func newLayer() layer { return layer{deletes: newLine(), puts: newLine()} }

func newQueue(limit int) queue {
	return queue{waiting: newLayer(), writing: newLayer(), limit: limit}
}

func (l *line) len() int { return l.list.Len() }

func (l *line) get(key string) *change {
	if element := l.byKey[key]; element != nil {
		return element.Value.(*change)
	}
	return nil
}

func (l *line) push(c *change) { l.byKey[c.key] = l.list.PushBack(c) }

// unshift puts back what was taken from the front.
func (l *line) unshift(c *change) { l.byKey[c.key] = l.list.PushFront(c) }

func (l *line) remove(key string) *change {
	element := l.byKey[key]
	if element == nil {
		return nil
	}
	delete(l.byKey, key)
	return l.list.Remove(element).(*change)
}

func (l *line) front() *change {
	if element := l.list.Front(); element != nil {
		return element.Value.(*change)
	}
	return nil
}

// spare is the oldest put that may be dropped, nil if there is none. Those that may not are few.
func (l *line) spare() *change {
	for element := l.list.Front(); element != nil; element = element.Next() {
		if put := element.Value.(*change); !put.record.Keep {
			return put
		}
	}
	return nil
}

// oldest is the order of the oldest change, the greatest there is if there is none.
func (l *line) oldest() uint64 {
	if first := l.front(); first != nil {
		return first.order
	}
	return math.MaxUint64
}

func (l *line) each(visit func(*change)) {
	for element := l.list.Front(); element != nil; element = element.Next() {
		visit(element.Value.(*change))
	}
}

func (l *layer) oldest() uint64 {
	oldest := min(l.deletes.oldest(), l.puts.oldest())
	if l.all != 0 {
		oldest = min(oldest, l.all)
	}
	return oldest
}

func (l *layer) count() int {
	count := l.deletes.len() + l.puts.len()
	if l.all != 0 {
		count++
	}
	return count
}

// settles reports whether a layer says what is under a key, and the record, nil if there is none.
func (l *layer) settles(key string) (*Record, bool) {
	if put := l.puts.get(key); put != nil {
		return put.record, true
	}
	return nil, l.all != 0 || l.deletes.get(key) != nil
}

// settles is that of the newest layer that says so.
func (q *queue) settles(key string) (*Record, bool) {
	if record, settled := q.waiting.settles(key); settled {
		return record, true
	}
	return q.writing.settles(key)
}

func (q *queue) count() int { return q.waiting.count() + q.writing.count() }

// put queues a record. One that replaces another keeps that one's turn.
func (q *queue) put(record *Record) {
	q.order++
	q.bytes += record.size()
	if before := q.waiting.puts.get(record.Key); before != nil {
		q.bytes -= before.record.size()
		before.record = record
	} else {
		q.waiting.puts.push(&change{key: record.Key, order: q.order, record: record})
	}
	for q.bytes > q.limit {
		oldest := q.waiting.puts.spare()
		if oldest == nil {
			break
		}
		q.forget(oldest.key)
		q.dropped++
	}
}

// refuse counts a record that can't be queued.
func (q *queue) refuse() { q.dropped++ }

// forget takes the record of a key out that waits.
func (q *queue) forget(key string) {
	if put := q.waiting.puts.remove(key); put != nil {
		q.bytes -= put.record.size()
	}
}

// delete queues the removal of a key, and reports whether it had that of everything queued instead. It stays when a record
// is put under the key later: that one may be dropped.
func (q *queue) delete(key string) (all bool) {
	q.order++
	q.forget(key)
	if q.waiting.deletes.get(key) != nil {
		return false
	}
	q.waiting.deletes.push(&change{key: key, order: q.order})
	// Deletes are never dropped. When there are more than memory should hold, all that is on the disk goes instead.
	if q.deleteBytes += deleteCost + len(key); q.deleteBytes <= q.limit {
		return false
	}
	q.waiting.all = q.waiting.oldest()
	q.clearDeletes()
	return true
}

// deleteCost is about what a delete takes in memory besides its key.
const deleteCost = 200

func (q *queue) clearDeletes() { q.waiting.deletes, q.deleteBytes = newLine(), 0 }

// deleteAll queues the removal of everything.
func (q *queue) deleteAll() {
	q.order++
	q.waiting.puts.each(func(put *change) { q.bytes -= put.record.size() })
	q.waiting.puts = newLine()
	q.clearDeletes()
	q.waiting.all = q.order
}

// take moves what is to be written next from waiting to writing, which is empty: as long as there are deletes, no records.
func (q *queue) take(most, bytes int) {
	q.writing.all, q.waiting.all = q.waiting.all, 0
	for next := q.waiting.deletes.front(); next != nil && most > 0; next = q.waiting.deletes.front() {
		q.writing.deletes.push(q.waiting.deletes.remove(next.key))
		q.deleteBytes -= deleteCost + len(next.key)
		most--
	}
	for next := q.waiting.puts.front(); next != nil && most > 0 && bytes > 0; next = q.waiting.puts.front() {
		q.writing.puts.push(q.waiting.puts.remove(next.key))
		bytes -= next.record.size()
		most--
	}
}

// written forgets what was being written.
func (q *queue) written() {
	q.writing.puts.each(func(put *change) { q.bytes -= put.record.size() })
	q.writing = newLayer()
}

// putBack has what was being written wait again, but for what was changed since.
func (q *queue) putBack() {
	failed := q.writing
	q.writing = newLayer()
	for _, put := range backwards(failed.puts) {
		if _, changed := q.waiting.settles(put.key); changed {
			q.bytes -= put.record.size()
		} else {
			q.waiting.puts.unshift(put)
		}
	}
	if q.waiting.all != 0 {
		q.waiting.all = min(q.waiting.all, failed.oldest())
		return
	}
	q.waiting.all = failed.all
	for _, gone := range backwards(failed.deletes) {
		if q.waiting.deletes.get(gone.key) == nil {
			q.waiting.deletes.unshift(gone)
			q.deleteBytes += deleteCost + len(gone.key)
		}
	}
}

func backwards(l line) []*change {
	changes := make([]*change, 0, l.len())
	l.each(func(c *change) { changes = append(changes, c) })
	slices.Reverse(changes)
	return changes
}

// pending reports whether anything that was queued up to an order still is.
func (q *queue) pending(order uint64) bool {
	return min(q.waiting.oldest(), q.writing.oldest()) <= order
}
