package socket

import (
	"runtime"
	"sync"
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

// work runs a strand, then others as they come, unless enough do so already.
func (w *workers) work(s *Strand) {
	for s != nil {
		s.run(true)
		select {
		case w.idle <- struct{}{}:
			s = <-w.next // nil when it is closed
			<-w.idle
		default:
			return
		}
	}
}

// close ends the workers. No strand may be left.
func (w *workers) close() {
	close(w.next)
	w.group.Wait()
}
