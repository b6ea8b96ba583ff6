package disk

import "bytes"

// checker looks at all pages that bbolt is going to touch in one transaction, before it begins: at those that lead to a key,
// at those to the right of them, which show that nothing leads elsewhere, and at those to the left, which bbolt may merge
// them with when something is removed.
type checker struct {
	view     *view
	branches map[uint64]page        // that were looked at
	leaves   map[[2]uint64]struct{} // that were looked at, each as an element of a branch
	// on is for the leaf that a key is in, beside for others.
	on, beside []byte
}

func newChecker(v *view) *checker {
	return &checker{
		view: v, branches: make(map[uint64]page), leaves: make(map[[2]uint64]struct{}),
		on: make([]byte, v.meta.pageSize), beside: make([]byte, v.meta.pageSize),
	}
}

// check reports whether a key is there, which is to be put or removed.
func (c *checker) check(in bucket, key []byte, remove bool) (bool, error) {
	start := c.view.trees[in]
	if start.inline != nil {
		_, exact := start.inline.search(key)
		return exact, nil
	}
	p, err := c.page(start.root, c.on)
	for range maxDepth {
		if err != nil {
			return false, err
		}
		if p.isLeaf() {
			_, exact := p.search(key)
			return exact, nil
		}
		p, err = c.children(p, p.descend(key), remove)
	}
	return false, corrupt("more than %d levels", maxDepth)
}

// children looks at a child of a branch and those beside it, and returns it.
func (c *checker) children(parent page, index int, remove bool) (page, error) {
	child, err := c.child(parent, index, c.on)
	if err != nil {
		return nil, err
	}
	for _, beside := range [2]int{index + 1, index - 1} {
		if beside >= parent.count() || beside < 0 || beside < index && !remove {
			continue
		}
		if _, known := c.leaves[[2]uint64{parent.id(), uint64(beside)}]; known && child.isLeaf() && parent.child(beside) != child.id() {
			continue
		}
		sibling, err := c.child(parent, beside, c.beside)
		if err != nil {
			return nil, err
		}
		if sibling.isLeaf() != child.isLeaf() || sibling.id() == child.id() {
			return nil, corrupt("pages %d and %d can't be beside each other", sibling.id(), child.id())
		}
	}
	return child, nil
}

// child looks at a child of a branch, and whether it is the one that the branch means: it names it by its first key.
func (c *checker) child(parent page, index int, buffer []byte) (page, error) {
	child, err := c.page(parent.child(index), buffer)
	if err != nil {
		return nil, err
	}
	if child.count() == 0 || !bytes.Equal(child.key(0), parent.key(index)) {
		return nil, corrupt("page %d does not begin as page %d says", child.id(), parent.id())
	}
	if child.isLeaf() {
		c.leaves[[2]uint64{parent.id(), uint64(index)}] = struct{}{}
	}
	return child, nil
}

// page reads a page, into buffer if it is a leaf, and looks at what is in it.
func (c *checker) page(id uint64, buffer []byte) (page, error) {
	if branch := c.branches[id]; branch != nil {
		return branch, nil
	}
	p, err := c.view.loadOrdered(id, 0, buffer)
	if err == nil && !p.isLeaf() {
		p = bytes.Clone(p)
		c.branches[id] = p
	}
	return p, err
}
