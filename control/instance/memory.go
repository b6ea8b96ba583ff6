package instance

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// memoryTick is how often traffic is looked at for having gone quiet.
const memoryTick = 10 * time.Second

// giveMemoryBack returns memory to the system when a burst is over, until ctx is done. By itself the collector lets
// the heap grow to twice what is live before it looks again, and after a burst that may be hours later.
func giveMemoryBack(ctx context.Context) {
	ticker := time.NewTicker(memoryTick)
	defer ticker.Stop()
	var watch burst
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if watch.over(allocated()) {
				debug.FreeOSMemory()
			}
		}
	}
}

// allocated is how many bytes of heap have been allocated since the start: handshakes, fetches, and the buffers of
// sessions that carry much all show in it.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// A burst is worth a collection when a tick saw burstWork bytes allocated, and is over when another sees quietShare times less.
const (
	burstWork  = 8 << 20 // two hundred handshakes
	quietShare = 10
)

// burst notices when much is followed by little.
type burst struct{ total, busiest uint64 }

// over takes the bytes allocated so far, once a tick, and reports whether a burst has just ended.
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
