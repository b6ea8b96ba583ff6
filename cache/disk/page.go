package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"
)

// bbolt believes what it reads: a page that points to itself makes it recurse until the process dies, a wrong length makes
// it read, and write, what is behind its map. So its pages are read here too, with bounds on everything: Get never enters
// bbolt, and what a transaction is going to touch is checked before it begins.
const (
	pageHeader  = 16
	elementSize = 16

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	bucketElement = 0x01 // flag of an element of a leaf

	maxDepth    = 24
	maxRun      = 64 << 20 // bytes of a page with its overflow; a record is at most MaxRecord
	longFreeRun = 0xFFFF   // count of a free list whose length is its first element
)

// unfit is the error about a file that is set aside: why it can't be used.
type unfit struct{ reason string }

func (u *unfit) Error() string { return u.reason }

func corrupt(format string, values ...any) error {
	return &unfit{"it is corrupted: " + fmt.Sprintf(format, values...)}
}

var native = binary.NativeEndian

// page is a page with its overflow. After sound, its elements can be used without looking.
type page []byte

func (p page) id() uint64       { return native.Uint64(p) }
func (p page) flags() uint16    { return native.Uint16(p[8:]) }
func (p page) count() int       { return int(native.Uint16(p[10:])) }
func (p page) overflow() uint32 { return native.Uint32(p[12:]) }
func (p page) isLeaf() bool     { return p.flags() == leafPage }

// extent returns where the key of an element begins, where it ends and where its value ends.
func (p page) extent(i int) (from, middle, end uint64) {
	at := pageHeader + i*elementSize
	element := p[at : at+elementSize]
	if p.isLeaf() {
		from = uint64(at) + uint64(native.Uint32(element[4:]))
		middle = from + uint64(native.Uint32(element[8:]))
		return from, middle, middle + uint64(native.Uint32(element[12:]))
	}
	from = uint64(at) + uint64(native.Uint32(element))
	middle = from + uint64(native.Uint32(element[4:]))
	return from, middle, middle
}

func (p page) key(i int) []byte {
	from, middle, _ := p.extent(i)
	return p[from:middle]
}

func (p page) value(i int) []byte {
	_, middle, end := p.extent(i)
	return p[middle:end]
}

// holdsOnly reports whether all elements of a leaf have these flags.
func (p page) holdsOnly(flags uint32) bool {
	for i := range p.count() {
		if native.Uint32(p[pageHeader+i*elementSize:]) != flags {
			return false
		}
	}
	return true
}

// child is the page that an element of a branch points to.
func (p page) child(i int) uint64 { return native.Uint64(p[pageHeader+i*elementSize+8:]) }

// sound checks that everything in a page is within it.
func (p page) sound() error {
	if len(p) < pageHeader {
		return corrupt("a page of %d bytes", len(p))
	}
	if p.flags() != leafPage && p.flags() != branchPage {
		return corrupt("page %d is of type %#x", p.id(), p.flags())
	}
	if !p.isLeaf() && p.count() == 0 {
		return corrupt("page %d is an empty branch", p.id())
	}
	if pageHeader+p.count()*elementSize > len(p) {
		return corrupt("page %d has %d elements", p.id(), p.count())
	}
	for i := range p.count() {
		from, middle, end := p.extent(i)
		if end > uint64(len(p)) || from == middle {
			return corrupt("page %d: element %d is not within it", p.id(), i)
		}
	}
	return nil
}

// ordered checks of a sound page what bbolt relies on when it changes one: its keys ascend, and it is no longer than what
// is in it.
func (p page) ordered(pageSize int) error {
	used := uint64(pageHeader + p.count()*elementSize)
	for i := range p.count() {
		_, _, end := p.extent(i)
		used = max(used, end)
		if i > 0 && bytes.Compare(p.key(i-1), p.key(i)) >= 0 {
			return corrupt("page %d: its keys are not in order", p.id())
		}
	}
	if pages := (used + uint64(pageSize) - 1) / uint64(pageSize); pages != uint64(p.overflow())+1 {
		return corrupt("page %d: it is %d pages long and needs %d", p.id(), p.overflow()+1, pages)
	}
	return nil
}

// search returns the index of the first element whose key is not below key, and whether it is that one.
func (p page) search(key []byte) (int, bool) {
	index := sort.Search(p.count(), func(i int) bool { return bytes.Compare(p.key(i), key) >= 0 })
	return index, index < p.count() && bytes.Equal(p.key(index), key)
}

// descend returns the index of the element of a branch that leads to key.
func (p page) descend(key []byte) int {
	index, exact := p.search(key)
	if !exact && index > 0 {
		index--
	}
	return min(index, p.count()-1)
}

// checkFreelist checks the list of free pages, which bbolt reads when it opens a file.
func (p page) checkFreelist(limit uint64) error {
	if len(p) < pageHeader || p.flags() != freelistPage {
		return corrupt("the list of free pages is none")
	}
	ids := p[pageHeader:]
	count := uint64(p.count())
	if count == longFreeRun {
		if len(ids) < 8 {
			return corrupt("the list of free pages is cut off")
		}
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return corrupt("the list of free pages is longer than its page")
	}
	previous := uint64(1)
	for ; count > 0; count, ids = count-1, ids[8:] {
		id := native.Uint64(ids)
		if id <= previous || id >= limit {
			return corrupt("the list of free pages is not in order")
		}
		previous = id
	}
	return nil
}
