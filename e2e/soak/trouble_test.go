package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"hellogate/control"
)

// disturbance is something that goes wrong around hellogate, for a time.
type disturbance struct {
	kind  string
	stage []string            // of an attempt, that may fail of it
	hits  func(*attempt) bool // nil: whatever is in one of these stages
	to    time.Time           // zero: not over
}

// trouble is all the disturbances of a run.
type trouble struct {
	mutex sync.Mutex
	list  []*disturbance
}

func (t *trouble) begin(kind string, stages ...string) *disturbance {
	d := &disturbance{kind: kind, stage: stages}
	t.add(d)
	return d
}

func (t *trouble) add(d *disturbance) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.list = append(t.list, d)
}

func (t *trouble) over(d *disturbance) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	d.to = time.Now()
}

// excuses reports whether an attempt may have failed for a disturbance. Bytes that are wrong are never excused.
func (t *trouble) excuses(a *attempt, err error) bool {
	if _, isCorrupt := errors.AsType[*corruption](err); isCorrupt {
		return false
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return slices.ContainsFunc(t.list, func(d *disturbance) bool {
		return slices.Contains(d.stage, a.stage) && (d.to.IsZero() || d.to.After(a.began)) && (d.hits == nil || d.hits(a))
	})
}

func (t *trouble) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	counts := map[string]int{}
	for _, d := range t.list {
		counts[d.kind]++
	}
	var texts []string
	for kind, n := range counts {
		texts = append(texts, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// disturb makes trouble until the load ends, of one kind at a time.
func (w *world) disturb() {
	if w.only != "" {
		return // one scenario alone is wanted
	}
	rng := rand.New(rand.NewPCG(w.seed, 0))
	kinds := []func(*rand.Rand){w.flushSome, w.flushAll, w.breakStore, w.restartBackend, w.crowd, w.flushSome, w.lookAround, w.wakeTogether}
	for i := 0; w.wait(time.Duration(500+rng.IntN(1500)) * time.Millisecond); i++ {
		kinds[i%len(kinds)](rng)
	}
}

// wait pauses, and reports whether the load goes on.
func (w *world) wait(length time.Duration) bool {
	select {
	case <-time.After(length):
		return true
	case <-w.stopping.Done():
		return false
	}
}

func (w *world) flush(request control.FlushRequest) {
	if _, err := w.control.Flush(context.Background(), request); err != nil {
		w.faults.add("flush: %v", err)
	}
}

func (w *world) flushSome(rng *rand.Rand) {
	w.trouble.over(w.trouble.begin("flush of names"))
	w.flush(control.FlushRequest{Names: []string{fmt.Sprintf("hot%d.soak.test", rng.IntN(20)), "rsa1.soak.test"}})
}

func (w *world) flushAll(*rand.Rand) {
	w.trouble.over(w.trouble.begin("flush of all"))
	w.flush(control.FlushRequest{All: true})
}

// breakStore has the store fail in one of four ways, while names are asked for that are no more in the cache. A flush then
// forgets the failures.
func (w *world) breakStore(rng *rand.Rand) {
	mood := mood(rng.IntN(4))
	d := w.trouble.begin("store "+[]string{"stopped", "failing", "hanging", "garbled"}[mood], connecting, handshaking)
	defer w.trouble.over(d)
	if mood == well {
		w.store.stop()
	}
	w.store.mood.Store(int32(mood))
	w.flushSome(rng)
	w.wait(time.Duration(1000+rng.IntN(1000)) * time.Millisecond)
	w.store.mood.Store(int32(well))
	if mood == well {
		if err := w.store.start(); err != nil {
			w.faults.add("store: %v", err)
		}
	}
	// The breaker lets a request through a second later, and what waits for the store has to have its answer.
	time.Sleep(2500 * time.Millisecond)
	w.flush(control.FlushRequest{All: true})
}

// restartBackend resets all connections of one of the two, and has it away for a while. New connections go to the other.
func (w *world) restartBackend(rng *rand.Rand) {
	b := w.backends[rng.IntN(len(w.backends))]
	d := &disturbance{kind: "backend restarted", stage: []string{talking}, hits: lostItsBackend}
	w.trouble.add(d)
	b.stop()
	time.Sleep(100 * time.Millisecond) // what was accepted meanwhile is reset by the kernel
	b.stop()
	w.wait(time.Duration(rng.IntN(1000)) * time.Millisecond)
	w.trouble.over(d)
	if err := b.start(); err != nil {
		w.faults.add("backend: %v", err)
	}
}

// lostItsBackend reports whether a restart can have hit an attempt: it had the attempt's connection, or may have had it,
// but not yet its order.
func lostItsBackend(a *attempt) bool {
	_, killed := a.killed.Load(a.number)
	return killed || !a.reached
}

// crowd opens more connections than there may be.
func (w *world) crowd(*rand.Rand) {
	d := w.trouble.begin("crowd", connecting, handshaking)
	var conns []net.Conn
	for range crowdSize {
		conn, err := w.dial(0)
		if errors.Is(err, syscall.ECONNRESET) { // one too many, refused before it knew that it was accepted
			continue
		}
		if err != nil {
			w.faults.add("crowd: %v", err)
			break
		}
		conns = append(conns, conn)
	}
	if status, err := w.control.Status(context.Background()); err != nil || status.Connections.Active > connectionLimit {
		w.faults.add("crowd: %d connections are active, %d are allowed: %v", status.Connections.Active, connectionLimit, err)
	}
	for _, conn := range conns {
		conn.Close()
	}
	time.Sleep(200 * time.Millisecond)
	w.trouble.over(d)
}

// wakeTogether has many connections go idle, and speak in one moment.
func (w *world) wakeTogether(rng *rand.Rand) {
	w.trouble.over(w.trouble.begin("wake together"))
	first, moment := uint64(1<<40)+rng.Uint64N(1<<20)<<10, time.Now().Add(time.Second)
	var group sync.WaitGroup
	for i := range uint64(sleepers) {
		group.Go(func() {
			w.attempt(first+i, scenario{name: "wake together", run: func(a *attempt) error {
				t := a.exchange(2000)
				t.client.Write = steps(giving(1000), waiting(time.Until(moment)), giving(1000), does(finish))
				return a.run(t)
			}})
		})
	}
	group.Wait()
}

// lookAround asks what can be asked, and leaves an answer untaken.
func (w *world) lookAround(rng *rand.Rand) {
	w.trouble.over(w.trouble.begin("look around"))
	for range w.control.Certs(context.Background(), control.CertsRequest{}) {
		if rng.IntN(50) == 0 {
			break
		}
	}
	if _, err := w.control.Explain(context.Background(), "hot1.soak.test", control.ExplainOptions{Fetch: true}); err != nil {
		w.faults.add("explain: %v", err)
	}
}
