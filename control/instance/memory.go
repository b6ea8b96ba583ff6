package instance

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// memoryTick is how often traffic is looked at for having gone quiet.
const memoryTick = 10 * time.Second

// tendMemory returns memory to the system when a burst is over, and paces the collector, until ctx is done. By itself the
// collector lets the heap grow to twice what is live before it looks again, and after a burst that may be hours later.
func tendMemory(ctx context.Context) {
	ticker := time.NewTicker(memoryTick)
	defer ticker.Stop()
	var watch burst
	paceCollector()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if watch.over(measure("/gc/heap/allocs:bytes")) {
				debug.FreeOSMemory()
			}
			paceCollector()
		}
	}
}

// measure reads one of the runtime's counters.
func measure(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
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

// over takes the bytes of heap allocated so far, once a tick, and reports whether a burst has just ended.
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

// The collector looks again when leastGarbage bytes have been allocated, at the least, and when the heap has grown by
// mostGarbage percent, at the most. By default it looks when the heap has doubled: where little is live, that is every few
// hundred handshakes, and takes a twentieth of their CPU time.
const (
	leastGarbage   = 16 << 20
	mostGarbage    = 400
	defaultGarbage = 100
)

// paceCollector sets how far the heap may grow beyond what is live, unless GOGC in the environment does.
func paceCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent(measure("/gc/heap/live:bytes")))
	}
}

func garbagePercent(live uint64) int {
	return int(min(max(leastGarbage*100/max(live, 1), defaultGarbage), mostGarbage))
}
