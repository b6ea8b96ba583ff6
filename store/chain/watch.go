package chain

import (
	"context"
	"sync"

	"hellogate/store"
)

// watching is what Watch was called with, once.
type watching struct {
	ctx     context.Context
	changed func(store.Change)
	one     sync.Mutex // held while changed is called
	running sync.WaitGroup
}

// watch is one Watcher at work.
type watch struct {
	stop  context.CancelFunc
	ended chan struct{}
}

// Watch calls changed with the changes in every store that can tell of them, one at a time, until ctx is done, and returns
// when all stores have returned. Store is the Name of the link that a Change is of; Lost and All are meant for what came from
// that store alone, though after a Change of All names that another store answered may be in this one. A store that Replace
// takes out is not heard of any more; one that it brings in is, from its own Change of All on.
func (c *Chain) Watch(ctx context.Context, changed func(store.Change)) {
	w := &watching{ctx: ctx, changed: changed}
	c.mu.Lock()
	c.watching = w
	for _, each := range c.current.links {
		c.startWatch(each)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.watching = nil
	c.mu.Unlock()
	w.running.Wait()
}

// startWatch begins to watch a store that can be and is not yet. The caller holds mu.
func (c *Chain) startWatch(l *link) {
	w := c.watching
	if w == nil || l.Watcher == nil || l.watch != nil {
		return
	}
	ctx, stop := context.WithCancel(w.ctx)
	started := &watch{stop: stop, ended: make(chan struct{})}
	l.watch = started
	l.sight.begin()
	w.running.Go(func() {
		defer close(started.ended)
		defer stop()
		defer l.sight.end()
		l.Watcher.Watch(ctx, func(change store.Change) {
			change.Store = l.Name
			l.sight.take(change)
			w.tell(ctx, change)
		})
	})
}

// tell passes a change on, unless the store that it is in is not watched any more: another may have its name.
func (w *watching) tell(ctx context.Context, change store.Change) {
	w.one.Lock()
	defer w.one.Unlock()
	if ctx.Err() == nil {
		w.changed(change)
	}
}
