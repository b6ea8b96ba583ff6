package permission

import "unsafe"

// answer is that a name was answered as others in its answers were.
type answer struct {
	name       string
	until      int64
	prev, next *answer
}

// answers are the names that got one answer, bounded in bytes: the oldest go first. Whoever uses it holds Permission.mu.
type answers struct {
	limit, bytes int64
	byName       map[string]*answer
	oldest, last *answer
}

func newAnswers(limit int64) answers { return answers{limit: limit, byName: make(map[string]*answer)} }

func (a *answers) has(name string, now int64) bool {
	held := a.byName[name]
	return held != nil && now < held.until
}

// add remembers a name, which must not be among the answers, and forgets old ones that are past their time or too many.
func (a *answers) add(name string, now, until int64) {
	added := &answer{name: name, until: until}
	a.byName[name] = added
	if added.prev = a.last; a.last != nil {
		a.last.next = added
	} else {
		a.oldest = added
	}
	a.last = added
	a.bytes += added.cost()
	for a.oldest != nil && (a.bytes > a.limit || a.oldest.until <= now) {
		a.drop(a.oldest.name)
	}
}

// drop forgets a name and reports whether it was there.
func (a *answers) drop(name string) bool {
	dropped := a.byName[name]
	if dropped == nil {
		return false
	}
	delete(a.byName, name)
	a.bytes -= dropped.cost()
	if dropped.prev != nil {
		dropped.prev.next = dropped.next
	} else {
		a.oldest = dropped.next
	}
	if dropped.next != nil {
		dropped.next.prev = dropped.prev
	} else {
		a.last = dropped.prev
	}
	return true
}

// cost is what an answer takes in bytes.
func (a *answer) cost() int64 {
	const (
		slot  = 40 // of a map of strings to pointers, with the room it has left on average
		round = 16 // what an allocation is larger than asked for, on average at most
	)
	return slot + int64(unsafe.Sizeof(*a)) + int64(len(a.name)) + round
}
