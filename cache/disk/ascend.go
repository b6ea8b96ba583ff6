package disk

// ascend calls each with the keys and values from a key on, in order, until it returns false. They are each's until it
// returns.
func (v *view) ascend(in bucket, from []byte, each func(key, value []byte) bool) error {
	walk := ascent{view: v, from: from, each: each, budget: v.meta.limit}
	start := v.trees[in]
	if start.inline != nil {
		walk.leaf(start.inline)
		return nil
	}
	return walk.page(start.root, maxDepth)
}

// ascent is a walk along a tree.
type ascent struct {
	view   *view
	from   []byte // nil: all keys are beyond it
	each   func(key, value []byte) bool
	budget uint64 // of pages: none is met twice
	over   bool
}

func (a *ascent) page(id uint64, depth int) error {
	if depth == 0 || a.budget == 0 {
		return corrupt("pages that lead to each other")
	}
	a.budget--
	p, err := a.view.load(id, nil)
	if err != nil {
		return err
	}
	if p.isLeaf() {
		a.leaf(p)
		return nil
	}
	first := 0
	if a.from != nil {
		first = p.descend(a.from)
	}
	for i := first; i < p.count() && !a.over; i++ {
		if err := a.page(p.child(i), depth-1); err != nil {
			return err
		}
	}
	return nil
}

func (a *ascent) leaf(p page) {
	first := 0
	if a.from != nil {
		first, _ = p.search(a.from)
	}
	for i := first; i < p.count() && !a.over; i++ {
		a.over = !a.each(p.key(i), p.value(i))
	}
	a.from = nil
}
