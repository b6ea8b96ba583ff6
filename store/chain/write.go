package chain

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store"
)

const (
	writersPerStore = 4
	// queued is how many writes wait for each writer. What finds no room is not written: the next fetch offers it again.
	queued = 64
	// again is how soon the same may be written again. A store that announces the write as a change is asked again, and one
	// that takes what it does not give back would be written to without end.
	again = time.Minute
	// remembered is how many writes each writer knows of.
	remembered = 1024
)

var errNoRoom = errors.New("too many writes are waiting")

// writer puts what later stores answered into a store. A name is always in the same queue: its writes are never two at
// once, and in order.
type writer struct {
	Link
	log    zerolog.Logger
	seed   maphash.Seed
	queues [writersPerStore]chan write
	failed throttle

	closing chan struct{}
	close   func()         // has what waits be written, and nothing after it
	running sync.WaitGroup // until that is done
}

type write struct {
	name  string
	pairs []store.Pair
}

// receipts say what was written last, by name.
type receipts map[string]receipt

type receipt struct {
	certificates string
	at           time.Time
}

func (r receipts) has(name, certificates string) bool {
	last, found := r[name]
	return found && last.certificates == certificates && time.Since(last.at) < again
}

func (r receipts) add(name, certificates string) {
	if len(r) >= remembered {
		clear(r)
	}
	r[name] = receipt{certificates, time.Now()}
}

// mayWrite says whether a bundle may be put into another store. Nothing but its pairs would be: one that says where to
// route, or that is to be asked for again soon, would lose that.
func mayWrite(bundle *store.Bundle) bool {
	fresh := bundle.Freshness
	return !bundle.Stopgap && !bundle.Partial && !bundle.NotModified && !fresh.NoStore && !fresh.Revalidate && bundle.Routing == nil
}

func (c *Chain) startWriter(into Link) *writer {
	w := &writer{Link: into, log: c.log, seed: maphash.MakeSeed(), closing: make(chan struct{})}
	w.close = sync.OnceFunc(func() { close(w.closing) })
	for i := range w.queues {
		queue := make(chan write, queued)
		w.queues[i] = queue
		w.running.Add(1)
		c.writers.Go(func() {
			defer w.running.Done()
			w.run(c.life, queue)
		})
	}
	return w
}

// add has a write made, unless too many wait.
func (w *writer) add(added write) {
	queue := w.queues[maphash.String(w.seed, added.name)%writersPerStore]
	select {
	case queue <- added:
	default:
		w.sayFailed(added.name, errNoRoom)
	}
}

// run makes writes until close is called, and then those that wait, while life lasts.
func (w *writer) run(life context.Context, queue <-chan write) {
	done := make(receipts)
	for {
		select {
		case next := <-queue:
			w.write(life, next, done)
		case <-w.closing:
			w.drain(life, queue, done)
			return
		}
	}
}

func (w *writer) drain(life context.Context, queue <-chan write, done receipts) {
	for life.Err() == nil {
		select {
		case next := <-queue:
			w.write(life, next, done)
		default:
			return
		}
	}
}

// write puts what is good of the pairs into the store, unless that was done just now.
func (w *writer) write(life context.Context, next write, done receipts) {
	good, err := accepted(next.pairs, next.name, time.Now())
	if err != nil {
		w.sayFailed(next.name, err)
		return
	}
	pairs := make([]store.Pair, len(good))
	var certificates string
	for i, checked := range good {
		pairs[i] = checked.Pair
		certificates += string(checked.Leaf.Fingerprint[:])
	}
	if done.has(next.name, certificates) {
		return
	}
	ctx, cancel := context.WithTimeout(life, w.WriteTimeout)
	defer cancel()
	if err := w.Writer.Put(ctx, next.name, pairs); err != nil {
		w.sayFailed(next.name, err)
		return
	}
	done.add(next.name, certificates)
	w.log.Debug().Str("name", next.name).Str("store", w.Name).Msg("chain: written back")
}
