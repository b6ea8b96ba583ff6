package instance

import (
	"context"
	"runtime/debug"
	"time"
)

// memoryTick is how often traffic is looked at for having gone quiet.
const memoryTick = 10 * time.Second

// giveMemoryBack returns memory to the system when a burst is over, until ctx is done. By itself the collector lets
// the heap grow to twice what is live before it looks again, and after a burst that may be hours later.
func (i *Instance) giveMemoryBack(ctx context.Context) {
	ticker := time.NewTicker(memoryTick)
	defer ticker.Stop()
	var watch burst
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if watch.over(i.work()) {
				debug.FreeOSMemory()
			}
		}
	}
}

// work counts what leaves garbage behind: connections and fetches since the start.
func (i *Instance) work() uint64 {
	return uint64(i.traffic.Stats().Total) + i.cache.Stats().Fetches
}

// A burst is worth a collection when a tick saw burstWork, and is over when another sees quietShare times less.
const (
	burstWork  = 200
	quietShare = 10
)

// burst notices when much work is followed by little.
type burst struct{ total, busiest uint64 }

// over takes the count of work so far, once a tick, and reports whether a burst has just ended.
func (b *burst) over(total uint64) bool {
	done := total - b.total
	b.total = total
	b.busiest = max(b.busiest, done)
	if b.busiest < burstWork || done > b.busiest/quietShare {
		return false
	}
	b.busiest = done
	return true
}
