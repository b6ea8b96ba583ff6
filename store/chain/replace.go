package chain

// generation is the links that are asked at a time. Those who ask them hold it; so does the one before it, since what that
// still asks may be in this one too.
type generation struct {
	links []*link
	// users and next are guarded by Chain.mu.
	users int         // that hold it; the chain is one, while it is current
	next  *generation // nil: it is current
	ended chan struct{}
}

func newGeneration() *generation { return &generation{users: 1, ended: make(chan struct{})} }

// Replace has links be asked from now on, in place of those before. One that has the Name, the Store, the Watcher and the
// Writer of one before goes on as it is, watched and written to; only its Names, WriteBack, Fetches and place may be others.
// The channel that is returned is closed when nobody asks, watches or writes to a store any more that is not among links:
// then it may be closed. What is watched has to have returned for that, and what waits to be written is written first.
func (c *Chain) Replace(links []Link) (unused <-chan struct{}) {
	next := newGeneration()
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.current
	c.fill(next, links)
	before.next = next
	next.users++
	c.current = next
	for _, each := range before.links {
		c.retire(before, each, next.successor(each))
	}
	c.drop(before)
	return before.ended
}

// fill makes the links of a generation, with what goes on of the current one. The caller holds mu, or has c to itself.
func (c *Chain) fill(g *generation, links []Link) {
	for i, each := range links {
		if each.WriteTimeout <= 0 {
			each.WriteTimeout = defaultWriteTimeout
		}
		added := &link{Link: each, passed: new(throttle), sight: new(sight)}
		var before *link
		if before = c.current.predecessor(added); before != nil {
			added.passed, added.sight, added.watch = before.passed, before.sight, before.watch
			added.places, added.writer = before.places, before.writer
		}
		if cap(added.places) != max(each.Fetches, 0) {
			added.places = nil
			if each.Fetches > 0 {
				added.places = make(chan struct{}, each.Fetches)
			}
		}
		switch last := i == len(links)-1; {
		case !each.WriteBack || each.Writer == nil || last || c.closed:
			added.writer = nil
		case added.writer == nil:
			added.writer = c.startWriter(each)
		}
		g.links = append(g.links, added)
		c.startWatch(added)
	}
}

// retire ends what goes on of a link and not of the one in its place, nil for none. Until it has, the link is in use.
func (c *Chain) retire(of *generation, gone, next *link) {
	if gone.writer != nil && (next == nil || next.writer != gone.writer) {
		gone.writer.close()
		c.holdUntil(of, gone.writer.running.Wait)
	}
	if gone.watch != nil && next == nil {
		gone.watch.stop()
		c.holdUntil(of, func() { <-gone.watch.ended })
	}
}

// holdUntil holds a generation until wait returns. The caller holds mu.
func (c *Chain) holdUntil(g *generation, wait func()) {
	g.users++
	go func() {
		wait()
		c.leave(g)
	}()
}

// enter holds the current generation.
func (c *Chain) enter() *generation {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current.users++
	return c.current
}

// leave lets go of a generation.
func (c *Chain) leave(g *generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(g)
}

// drop is leave for who holds mu.
func (c *Chain) drop(g *generation) {
	for ; g != nil; g = g.next {
		if g.users--; g.users > 0 {
			return
		}
		close(g.ended)
	}
}

// links are those that are asked now.
func (c *Chain) links() []*link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.links
}

func (g *generation) matching(name string) []*link {
	matching := make([]*link, 0, len(g.links))
	for _, each := range g.links {
		if each.Takes(name) {
			matching = append(matching, each)
		}
	}
	return matching
}

// predecessor is the link that goes on as another, nil if none does.
func (g *generation) predecessor(of *link) *link {
	for _, each := range g.links {
		if each.goesOnAs(of) {
			return each
		}
	}
	return nil
}

// successor is the link that another goes on as, nil if it does not.
func (g *generation) successor(of *link) *link {
	for _, each := range g.links {
		if of.goesOnAs(each) {
			return each
		}
	}
	return nil
}

func (l *link) goesOnAs(next *link) bool {
	return l.Name == next.Name && l.Store == next.Store && l.Watcher == next.Watcher && l.Writer == next.Writer
}
