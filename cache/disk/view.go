package disk

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"sync"
)

const (
	metaSize    = 64
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	// noFreelist in place of the free list's page: none was written.
	noFreelist = ^uint64(0)

	minPageSize = 1 << 10
	maxPageSize = 1 << 16
)

// meta is one of the two pages that say where the rest is. The valid one with the higher txid counts.
type meta struct {
	pageSize       int
	root, freelist uint64
	limit          uint64 // all pages in use are below
	txid           uint64
}

// readMeta reads the meta page at an offset.
func readMeta(file *os.File, at int64) (meta, error) {
	var raw [pageHeader + metaSize]byte
	if _, err := file.ReadAt(raw[:], at); err != nil {
		return meta{}, readError(err)
	}
	m := raw[pageHeader:]
	digest := fnv.New64a()
	digest.Write(m[:56])
	if native.Uint32(m) != boltMagic || native.Uint32(m[4:]) != boltVersion || native.Uint64(m[56:]) != digest.Sum64() {
		return meta{}, corrupt("it has no valid meta page")
	}
	size := native.Uint32(m[8:])
	if size < minPageSize || size > maxPageSize || size&(size-1) != 0 {
		return meta{}, corrupt("its pages are of %d bytes", size)
	}
	return meta{
		pageSize: int(size), root: native.Uint64(m[16:]),
		freelist: native.Uint64(m[32:]), limit: native.Uint64(m[40:]), txid: native.Uint64(m[48:]),
	}, nil
}

// readError tells a file that is shorter than it says from one that can't be read.
func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt("it is cut off")
	}
	return fmt.Errorf("read the disk tier's file: %w", err)
}

// currentMeta returns the meta page that counts.
func currentMeta(file *os.File) (meta, error) {
	first, err := readMeta(file, 0)
	if err == nil {
		if second, err := readMeta(file, int64(first.pageSize)); err == nil && second.txid > first.txid {
			return second, nil
		}
		return first, nil
	}
	for size := minPageSize; size <= maxPageSize; size <<= 1 {
		if second, err := readMeta(file, int64(size)); err == nil && second.pageSize == size {
			return second, nil
		}
	}
	return meta{}, err
}

// tree is where a bucket begins: at a page, or in the page of the bucket that it is in.
type tree struct {
	root   uint64
	inline page // nil: at root
}

// view is the file as one transaction left it. It stands until the second transaction after it begins: the first only
// writes to pages that were free before.
type view struct {
	file   io.ReaderAt
	meta   meta
	number uint64 // of the last transaction that was begun
	blank  bool   // there are no buckets yet
	trees  [buckets]tree
}

// readView reads where everything is.
func readView(file *os.File, number uint64) (*view, error) {
	m, err := currentMeta(file)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, readError(err)
	}
	if size := uint64(info.Size()); m.limit > size/uint64(m.pageSize) {
		return nil, corrupt("it is cut off: %d pages are in use, and it is %d bytes long", m.limit, size)
	}
	v := &view{file: file, meta: m, number: number}
	return v, v.findBuckets()
}

// findBuckets reads the root, which is never more than a leaf with the buckets in it.
func (v *view) findBuckets() error {
	root, err := v.loadOrdered(v.meta.root, bucketElement, nil)
	if err != nil {
		return err
	}
	if !root.isLeaf() {
		return corrupt("page %d is no root", root.id())
	}
	if v.blank = root.count() == 0; v.blank {
		return nil
	}
	for in, name := range bucketNames {
		index, exact := root.search(name)
		if !exact {
			return corrupt("it has no %s", name)
		}
		if v.trees[in], err = v.bucketTree(root.value(index)); err != nil {
			return err
		}
	}
	return nil
}

// bucketTree reads the header of a bucket.
func (v *view) bucketTree(header []byte) (tree, error) {
	if len(header) < 16 {
		return tree{}, corrupt("a bucket without a header")
	}
	if root := native.Uint64(header); root != 0 {
		return tree{root: root}, nil
	}
	inline := page(append([]byte{}, header[16:]...))
	if err := inline.sound(); err != nil {
		return tree{}, err
	}
	if !inline.isLeaf() || !inline.holdsOnly(0) {
		return tree{}, corrupt("a bucket within a page is no leaf")
	}
	return tree{inline: inline}, inline.ordered(v.meta.pageSize)
}

// readRun reads a page and its overflow, into buffer if it is large enough.
func (v *view) readRun(id uint64, buffer []byte) (page, error) {
	if id < 2 || id >= v.meta.limit {
		return nil, corrupt("page %d is not one of %d", id, v.meta.limit)
	}
	size, at := v.meta.pageSize, int64(id)*int64(v.meta.pageSize)
	if cap(buffer) < size {
		buffer = make([]byte, size)
	}
	p := page(buffer[:size])
	if _, err := v.file.ReadAt(p, at); err != nil {
		return nil, readError(err)
	}
	if p.id() != id {
		return nil, corrupt("page %d says it is page %d", id, p.id())
	}
	more := uint64(p.overflow())
	if more == 0 {
		return p, nil
	}
	if more >= v.meta.limit-id || (more+1)*uint64(size) > maxRun {
		return nil, corrupt("page %d and %d more are not within the file", id, more)
	}
	run := make(page, (more+1)*uint64(size))
	if _, err := v.file.ReadAt(run, at); err != nil {
		return nil, readError(err)
	}
	if run.id() != id || uint64(run.overflow()) != more {
		return nil, corrupt("page %d changed while it was read", id)
	}
	return run, nil
}

// load reads a page of a tree.
func (v *view) load(id uint64, buffer []byte) (page, error) {
	p, err := v.readRun(id, buffer)
	if err != nil {
		return nil, err
	}
	return p, p.sound()
}

var pageBuffers = sync.Pool{New: func() any { return new([1 << 14]byte) }}

// get calls use with the value of a key, which is use's until it returns, and reports whether there is one.
func (v *view) get(in bucket, key []byte, use func(value []byte) error) (bool, error) {
	buffer := pageBuffers.Get().(*[1 << 14]byte)
	defer pageBuffers.Put(buffer)
	p, err := v.leaf(v.trees[in], key, buffer[:])
	if err != nil {
		return false, err
	}
	index, exact := p.search(key)
	if !exact {
		return false, nil
	}
	return true, use(p.value(index))
}

// leaf returns the leaf that a key is in, if it is anywhere.
func (v *view) leaf(in tree, key, buffer []byte) (page, error) {
	if in.inline != nil {
		return in.inline, nil
	}
	id := in.root
	for range maxDepth {
		p, err := v.load(id, buffer)
		if err != nil || p.isLeaf() {
			return p, err
		}
		id = p.child(p.descend(key))
	}
	return nil, corrupt("more than %d levels", maxDepth)
}

// value returns a copy of the value of a key, nil if there is none.
func (v *view) value(in bucket, key []byte) ([]byte, error) {
	var copied []byte
	_, err := v.get(in, key, func(value []byte) error {
		copied = append([]byte{}, value...)
		return nil
	})
	return copied, err
}

// has reports whether a key is there.
func (v *view) has(in bucket, key []byte) (bool, error) {
	return v.get(in, key, func([]byte) error { return nil })
}

// loadOrdered reads a page that bbolt is going to touch. If it is a leaf, its elements must have these flags.
func (v *view) loadOrdered(id uint64, flags uint32, buffer []byte) (page, error) {
	p, err := v.load(id, buffer)
	if err != nil {
		return nil, err
	}
	if p.isLeaf() && !p.holdsOnly(flags) {
		return nil, corrupt("page %d: its elements are of the wrong kind", id)
	}
	return p, p.ordered(v.meta.pageSize)
}
