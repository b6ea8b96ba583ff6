package chain

import (
	"context"
	"sync"

	"hellogate/store"
)

// Watch calls changed with the changes in every store that can tell of them, one at a time, until ctx is done. Store is the
// Name of the link that a Change is of; Lost and All are meant for what came from that store alone, though after a Change
// of All names that another store answered may be in this one. Watch returns when all stores have returned, at once if none
// can tell.
func (c *Chain) Watch(ctx context.Context, changed func(store.Change)) {
	var one sync.Mutex
	var watching sync.WaitGroup
	for _, each := range c.links {
		if each.Watcher == nil {
			continue
		}
		watching.Go(func() {
			each.watch(ctx, func(change store.Change) {
				one.Lock()
				defer one.Unlock()
				changed(change)
			})
		})
	}
	watching.Wait()
}
