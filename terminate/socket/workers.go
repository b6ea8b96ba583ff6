package socket

import (
	"runtime"
	"sync"
	"time"
)

// workers runs strands on goroutines that are kept for the next one: the stack of a fresh goroutine grows, and is copied,
// three times in a TLS handshake, which costs a twentieth of it.
type workers struct {
	group sync.WaitGroup
	next  chan *Strand // to those that wait
	idle  chan struct{}
	// relieve serves a poller for a worker that has been busy for long.
	relieve func()
}

// start makes as many workers stay as can be of use at once without waiting, and some for those that wait.
func (w *workers) start(relieve func()) {
	w.relieve = relieve
	w.next = make(chan *Strand)
	w.idle = make(chan struct{}, 8*runtime.GOMAXPROCS(0))
}

// run runs a strand alone.
func (w *workers) run(s *Strand) {
	select {
	case w.next <- s:
	default:
		w.group.Go(func() { w.work(s) })
	}
}

// keptFor is how long a worker waits for another strand.
const keptFor = 5 * time.Second

// work runs a strand, then others as they come, unless enough do so already or none come.
func (w *workers) work(s *Strand) {
	patience := time.NewTimer(keptFor)
	defer patience.Stop()
	for s != nil {
		s.run(true)
		select {
		case w.idle <- struct{}{}:
			patience.Reset(keptFor)
			s = w.another(patience)
			<-w.idle
		default:
			return
		}
	}
}

// another is the next strand; nil when none comes.
func (w *workers) another(patience *time.Timer) *Strand {
	select {
	case s := <-w.next: // nil when it is closed
		return s
	case <-patience.C:
		return nil
	}
}

// close ends the workers. No strand may be left.
func (w *workers) close() {
	close(w.next)
	w.group.Wait()
}
