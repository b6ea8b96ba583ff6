package soak

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	drainTimeout = 5 * time.Second
	drained      = 40 // connections
)

// checkDrain ends hellogate with connections in it that will not end by themselves, and a profile under way: it has to
// end when its drain is over all the same.
func (w *world) checkDrain() {
	if w.duration < 2*idleTimeout || w.gate.hasEnded() {
		return
	}
	if err := w.store.start(); err != nil {
		w.t.Error(err)
		return
	}
	stay := []func(*attempt) error{idleTooLong, longRoundTrips, bulkBothWays, helloStalls, handshakeStalls, backendResetsFull}
	var group sync.WaitGroup
	for i := range drained {
		group.Go(func() {
			a := w.newAttempt(1<<50+uint64(i), scenario{name: "drain"})
			if wrong, isCorrupt := errors.AsType[*corruption](stay[i%len(stay)](a)); isCorrupt {
				w.faults.add("drain, connection %d, seed %d: %v", a.number, w.seed, wrong)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	group.Go(func() { w.askProfile(ctx, "profile?seconds=60") })
	time.Sleep(time.Second)
	began := time.Now()
	w.gate.close()
	cancel()
	if took := time.Since(began); took > drainTimeout+slack {
		w.t.Errorf("ended %v after SIGTERM, drain_timeout is %v", took, drainTimeout)
	} else {
		w.t.Logf("drained %v after SIGTERM", took.Round(time.Millisecond))
	}
	group.Wait()
}
