package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Bounds on the load. Attempts begin at a steady rate, so that a seed means the same on a fast machine and on a slow one,
// which falls behind where it must.
const (
	attemptsASecond = 60
	attemptsAtOnce  = 250
	connectionLimit = 400 // hellogate's; a crowd goes beyond
	crowdSize       = 320
	sleepers        = 100
)

// Hellogate's deadlines, short ones: all of them pass in the one-minute run.
const (
	helloTimeout     = 3 * time.Second
	handshakeTimeout = 5 * time.Second
	idleTimeout      = 12 * time.Second
	halfCloseTimeout = 6 * time.Second
)

// world is the store, the backends and hellogate between them, with the load that is on it.
type world struct {
	settings
	*gate
	t         *testing.T
	scenarios []scenario
	store     *store
	backends  []*backend

	stopping context.Context // done when the load is to end
	stop     context.CancelFunc

	clients, servers atomic.Int64 // sockets that are open, on either side of hellogate
	faults           faults
	trouble          trouble
	tally            tally
	resumptions      share
	killed           sync.Map // the numbers of attempts whose connection a backend lost when it was restarted
	samples          []sample

	mutex    sync.Mutex            // guards the two below
	outcomes map[uint64]chan error // of the backend's side, by the number of the attempt
	running  map[uint64]*attempt
}

func newWorld(t *testing.T, settings settings) *world {
	w := &world{
		settings: settings, t: t, outcomes: map[uint64]chan error{}, running: map[uint64]*attempt{}, tally: newTally(),
	}
	w.stopping, w.stop = context.WithCancel(context.Background())
	for _, s := range scenarios {
		if settings.only == s.name || settings.only == "" && (!s.slow || settings.duration >= 2*idleTimeout) {
			w.scenarios = append(w.scenarios, s)
		}
	}
	if len(w.scenarios) == 0 {
		t.Fatalf("HELLOGATE_SOAK_ONLY: no scenario is called %q", settings.only)
	}
	w.store = newStore(t)
	w.backends = []*backend{newBackend(t, w), newBackend(t, w)}
	w.gate = startGate(t, w.store.address, w.backends)
	t.Cleanup(w.close)
	return w
}

// close ends what is left, hellogate first.
func (w *world) close() {
	w.stop()
	w.gate.close()
	w.store.stop()
	for _, b := range w.backends {
		b.stop()
		b.running.Wait()
	}
}

// warmUp makes some connections, so that what a first one leaves behind for good is not taken for a leak, and takes
// the sample that the end is compared with.
func (w *world) warmUp() sample {
	for number := range uint64(20) {
		a := w.newAttempt(1<<32+number, scenario{name: "warm-up"})
		if err := handshakeAndEcho(a); err != nil {
			w.t.Fatalf("before the load: %v", err)
		}
	}
	w.settle(patience, func(s sample) bool { return s.active == 0 })
	return w.sample()
}

func (w *world) newAttempt(number uint64, s scenario) *attempt {
	return &attempt{world: w, scenario: s.name, number: number, rng: rand.New(rand.NewPCG(number, w.seed)), began: time.Now()}
}

// run puts on the load for as long as was said, and waits until all of it has come to its end.
func (w *world) run() {
	var others, attempts sync.WaitGroup
	others.Go(w.disturb)
	others.Go(w.observe)
	places := make(chan struct{}, attemptsAtOnce)
	ticker := time.NewTicker(time.Second / attemptsASecond)
	defer ticker.Stop()
	over := time.After(w.duration)
	for number := uint64(1); w.stopping.Err() == nil; number++ {
		select {
		case <-over:
			w.stop()
			continue
		case <-ticker.C:
		}
		places <- struct{}{}
		attempts.Go(func() {
			defer func() { <-places }()
			w.try(number)
		})
		if w.faults.tooMany() {
			w.stop()
		}
	}
	w.awaitEnd(&attempts)
	others.Wait()
}

// try runs the attempt of a number.
func (w *world) try(number uint64) {
	w.attempt(number, w.pick(rand.New(rand.NewPCG(w.seed, number))))
}

// attempt runs a scenario and takes down what came of it.
func (w *world) attempt(number uint64, chosen scenario) {
	a := w.newAttempt(number, chosen)
	w.enter(a)
	defer w.leave(a)
	err := chosen.run(a)
	switch {
	case err == nil:
		w.tally.add(chosen.name, good)
	case w.trouble.excuses(a, err):
		w.tally.add(chosen.name, excused)
	default:
		w.tally.add(chosen.name, bad)
		w.faults.add("%s, connection %d from %s, seed %d, in stage %s after %v:\n%v\n  log: %s", chosen.name, number, a.local, w.seed,
			a.stage, time.Since(a.began).Round(time.Millisecond), indented(err), w.lineOf(a.local))
	}
}

func (w *world) enter(a *attempt) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.running[a.number] = a
}

func (w *world) leave(a *attempt) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	delete(w.running, a.number)
}

// awaitEnd waits for the attempts under way, and names those that do not end.
func (w *world) awaitEnd(attempts *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		attempts.Wait()
	}()
	select {
	case <-done:
		return
	case <-time.After(4 * patience):
	}
	w.mutex.Lock()
	for number, a := range w.running {
		w.faults.add("%s, connection %d, seed %d: still there %v after the load", a.scenario, number, w.seed, 4*patience)
	}
	w.mutex.Unlock()
	w.gate.kill() // which ends them
	<-done
}

// expect gives the channel for what the backend's side of an attempt comes to.
func (w *world) expect(number uint64) <-chan error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	outcome := make(chan error, 1)
	w.outcomes[number] = outcome
	return outcome
}

func (w *world) forget(number uint64) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	delete(w.outcomes, number)
}

// report is what the backend's side of an attempt came to.
func (w *world) report(number uint64, err error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if outcome := w.outcomes[number]; outcome != nil {
		outcome <- err
	} else if err != nil {
		w.faults.add("connection %d, which nobody waits for any more: %v", number, err)
	}
}

// oddHeader takes an error of a PROXY header, which is a fault unless the connection just ended.
func (w *world) oddHeader(err error) {
	if !gone(err) {
		w.faults.add("backend: %v", err)
	}
}

// conclude checks what is left when the load has gone, what the samples say, and what the log does.
func (w *world) conclude(before sample) {
	w.store.stop() // and with it the connections that are kept for the next fetch
	w.checkEnd(before)
	w.checkSlopes()
	w.checkDrain()
	w.gate.close()
	w.checkLog()
	w.t.Logf("attempts:\n%s", &w.tally)
	w.t.Logf("resumed: %s; disturbances: %s", &w.resumptions, &w.trouble)
	if all := w.tally.sum(good) + w.tally.sum(excused); w.tally.sum(excused) > all/2 {
		w.t.Errorf("%d of %d attempts had an excuse to fail: that says nothing", w.tally.sum(excused), all)
	}
	for _, text := range w.faults.all() {
		w.t.Error(text)
	}
	if w.t.Failed() {
		w.t.Logf("again with: HELLOGATE_SOAK=%v HELLOGATE_SOAK_SEED=%d; the log is %s", w.duration, w.seed, w.keepLog())
	}
}

func indented(err error) string { return "  " + fmt.Sprint(err) }
