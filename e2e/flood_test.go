package e2e

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A flood of names that nobody has, while the store hangs or denies them: known names are served as before, and memory
// stays bounded.
func TestFloodOfUnknownNames(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		names     int64
		do        answer
		overrides string
	}{
		"denied":               {20_000, status(404), ""},
		"hangs":                {20_000, hang, ""},
		"hangs, never cut off": {4_000, hang, "breaker: {failures: 1000000}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{store: newStore(t), backend: newBackend(t, echo)}
			w.gate = start(t, waitsForStore(w.store, 500*time.Millisecond), usesBackend(w.backend.address),
				"cache: {lookup_timeout: 500ms}", "log: {level: warn, access: false}", test.overrides)
			w.visit("known.example")
			w.store.onAll(test.do)
			before := w.memory()
			slowest := w.visitsDuring("known.example", w.flood(test.names))
			t.Logf("the slowest visit of a known name took %v", slowest)
			if slowest > 3*time.Second {
				t.Error("a known name had to wait")
			}
			most := int64(64 << 20)
			if buildTags == "noepoll" { // where each connection has three goroutines
				most = 96 << 20
			}
			grown := w.peakMemory() - before
			t.Logf("memory grew by %d MB", grown>>20)
			if grown > most && !withRace {
				t.Errorf("more than %d MB", most>>20)
			}
		})
	}
}

// flood asks for as many names that nobody has, and closes the channel when all were refused.
func (g *gate) flood(names int64) (done <-chan struct{}) {
	var clients sync.WaitGroup
	var last atomic.Int64
	template := newHello("")
	for range 400 {
		clients.Go(func() {
			for i := last.Add(1); i <= names; i = last.Add(1) {
				h := *template
				exchange(g.t, g.address, h.setNames(fmt.Sprintf("flood-%050d.example", i)).records(16384))
			}
		})
	}
	over := make(chan struct{})
	go func() { clients.Wait(); close(over) }()
	return over
}

// visitsDuring visits a name again and again until done is closed, and gives how long the slowest visit took.
func (g *gate) visitsDuring(name string, done <-chan struct{}) (slowest time.Duration) {
	g.t.Helper()
	for {
		select {
		case <-done:
			return slowest
		case <-time.After(20 * time.Millisecond):
			began := time.Now()
			g.visit(name, classical)
			slowest = max(slowest, time.Since(began))
		}
	}
}
