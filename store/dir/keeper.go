package dir

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long a name's files must be left alone before their change is told, so that a pair is whole by then;
	// atMost is how long that is waited for when somebody keeps writing.
	quiet  = 100 * time.Millisecond
	atMost = 400 * time.Millisecond
	// beat is how often it is looked whether a change may be told, while there are any.
	beat = quiet / 2
	// lookEvery is how often it is looked whether the folder is still the same one: no folder that it is in is watched.
	lookEvery = 500 * time.Millisecond
	// maxPending bounds the names whose change is not told yet. When there are more, any name may have changed.
	maxPending = 10_000
)

// keeper does what is to be done in the background: it watches the folder, keeps the index of SANs and tells the
// subscribers what has changed. One goroutine, run, does it all, but for listen, which only takes note of events.
type keeper struct {
	dir    *Dir
	index  *index
	done   context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	wake   chan struct{}
	looks  atomic.Int64 // at names, in the background

	degraded atomic.Bool // not every change is seen: see degrade

	mu          sync.Mutex // guards what follows; never held while a file is touched
	absent      error      // why the folder can't be read; nil: it can
	limited     error      // why not every change is seen; nil: it is, or the system has no way
	notify      *fsnotify.Watcher
	watched     watched
	pending     map[change]due
	overflowed  bool
	replaced    bool // the folder itself was moved or removed
	seeing      chan struct{}
	subscribers map[*subscriber]bool
	answered    answers

	// What follows is run's own.
	info fs.FileInfo // of the folder; nil: it is not there
	scan *scan
	next time.Time // of the scans that are made while it is degraded, or after one that could not be finished
	// unfinished: the last scan could not be.
	unfinished bool
	unread     string // why, when the last scan found what can't be read
}

// change is one to be told: of the name that files are called by, or of a folder of folders.
type change struct{ base, container string }

// due says when a change is to be told, and when it was first seen.
type due struct{ at, first time.Time }

func startKeeper(d *Dir) *keeper {
	k := &keeper{
		dir:         d,
		index:       newIndex(),
		wake:        make(chan struct{}, 1),
		pending:     make(map[change]due),
		seeing:      make(chan struct{}),
		subscribers: make(map[*subscriber]bool),
		watched:     newWatched(),
	}
	k.done, k.cancel = context.WithCancel(context.Background())
	k.group.Go(k.run)
	return k
}

func (k *keeper) close() {
	k.cancel()
	k.group.Wait()
}

func (k *keeper) lookup(ctx context.Context, san string) ([]place, error) {
	return k.index.lookup(ctx, k.done.Done(), san)
}

func (k *keeper) run() {
	defer k.stopWatching()
	defer k.endScan()
	k.restart()
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		select {
		case <-k.done.Done():
			return
		case <-k.wake:
		case <-k.soon():
		case <-ticks.C:
			k.check()
			k.poll()
		}
		k.handle(time.Now())
		k.advance()
	}
}

// atOnce is a timer that has run out.
var atOnce = func() <-chan time.Time { c := make(chan time.Time); close(c); return c }()

// soon says when there is something to do besides what wakes run.
func (k *keeper) soon() <-chan time.Time {
	if k.scan != nil {
		return k.scan.soon()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pending) == 0 {
		return nil
	}
	return time.After(beat)
}

// check sees whether the folder at the path is another one now.
func (k *keeper) check() {
	info, err := os.Stat(k.dir.path)
	same := err == nil && k.info != nil && os.SameFile(info, k.info)
	if !same && (err == nil || k.info != nil) {
		k.restart()
	}
}

// restart begins anew with the folder that is at the path now: any name may have changed.
func (k *keeper) restart() {
	info, err := os.Stat(k.dir.path)
	k.info = info
	k.endScan()
	if err != nil {
		k.info = nil
		k.stopWatching()
		k.dir.log.Warn().Str("store", k.dir.name).Err(err).Msg("certificate folder not there")
		k.blind(err)
		return
	}
	k.watchAnew()
	k.startScan(true)
	k.publishAll()
	k.see()
}

// handle tells what is due.
func (k *keeper) handle(now time.Time) {
	due, overflowed, replaced := k.takeDue(now)
	if replaced || slices.ContainsFunc(due, k.replacesFolders) {
		k.restart()
		return
	}
	if overflowed {
		k.startScan(true)
		k.publishAll()
		return
	}
	if len(due) == 0 {
		return
	}
	root, err := os.OpenRoot(k.dir.path)
	if err == nil {
		defer root.Close()
	}
	for _, change := range due {
		if err == nil && change.base != "" {
			err = k.refresh(&look{dir: k.dir, root: root}, change.base)
		}
		if exhausted(err) { // of any other trouble with the folder check will know
			k.mu.Lock()
			k.pend(change)
			k.mu.Unlock()
		}
	}
}

func (k *keeper) takeDue(now time.Time) (ready []change, overflowed, replaced bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	overflowed, replaced = k.overflowed, k.replaced
	k.overflowed, k.replaced = false, false
	for change, due := range k.pending {
		if !now.Before(due.at) {
			ready = append(ready, change)
			delete(k.pending, change)
		}
	}
	return ready, overflowed, replaced
}

// replacesFolders says whether a change is one of a folder that holds others, or held them.
func (k *keeper) replacesFolders(change change) bool {
	if change.container == "" {
		return false
	}
	k.mu.Lock()
	held := k.watched.holds(change.container)
	k.mu.Unlock()
	if held {
		return true
	}
	root, err := os.OpenRoot(k.dir.path)
	if err != nil {
		return false
	}
	defer root.Close()
	info, err := root.Stat(change.container)
	return err == nil && info.IsDir()
}

// refresh tells that the files of base have changed, once they are watched and in the index as they are now.
// An error says that it could not be told yet.
func (k *keeper) refresh(l *look, base string) error {
	k.looks.Add(1)
	names := []string{unspell(base)}
	for at := range layouts {
		k.follow(l.root, base, l.files(place{at, base}), false)
		before, after, err := k.index.renew(l, place{at, base})
		if exhausted(err) {
			return err
		}
		names = append(append(names, before...), after...)
	}
	if slices.Contains(k.dir.issuers(l.root), base) {
		k.watchIssuer(l.root, base)
	}
	k.seeStaged(l.root, base)
	k.publish(names)
	return nil
}

// pend takes note of a change. The caller holds k.mu.
func (k *keeper) pend(change change) {
	now := time.Now()
	held, found := k.pending[change]
	if !found {
		held.first = now
	}
	held.at = now.Add(quiet)
	if latest := held.first.Add(atMost); held.at.After(latest) {
		held.at = latest
	}
	if len(k.pending) >= maxPending && !found {
		clear(k.pending)
		k.overflowed = true
		k.rouse()
		return
	}
	k.pending[change] = held
	if len(k.pending) == 1 {
		k.rouse()
	}
}

func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}
