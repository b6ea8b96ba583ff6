package dir

import (
	"context"
	"fmt"
	"sync"

	"hellogate/sni"
	"hellogate/store"
)

// maxTold bounds the names of one store.Change.
const maxTold = 10_000

// Watch tells what changes in the folder, within a second, until ctx is done or the store is closed. A change of a
// certificate is told of its files' name and of its SANs, old and new. While the folder is not there, changes are lost.
func (d *Dir) Watch(ctx context.Context, changed func(store.Change)) {
	keeper := d.keep()
	if keeper == nil {
		return
	}
	subscriber := keeper.subscribe(ctx)
	if subscriber == nil {
		return
	}
	defer keeper.unsubscribe(subscriber)
	for {
		select {
		case <-ctx.Done():
			return
		case <-keeper.done.Done():
			return
		case <-subscriber.wake:
			if change, some := subscriber.take(); some {
				changed(change)
			}
		}
	}
}

// WatchProblem says why changes can't be seen, or are looked for in turn, which is slower, where the system has a better way;
// nil: all is well, or Watch was not called yet.
func (d *Dir) WatchProblem() error {
	keeper := d.kept()
	if keeper == nil {
		return nil
	}
	keeper.mu.Lock()
	defer keeper.mu.Unlock()
	switch {
	case keeper.absent != nil:
		return keeper.absent
	case keeper.limited != nil:
		return fmt.Errorf("looked for in turn, as they can't be watched: %w", keeper.limited)
	}
	return nil
}

// subscriber holds what was not told yet.
type subscriber struct {
	wake chan struct{}

	mu        sync.Mutex
	names     map[sni.Pattern]bool
	all, lost bool
}

// subscribe waits until changes can be seen. What was changed before that is among the first to be told: all of it.
func (k *keeper) subscribe(ctx context.Context) *subscriber {
	for {
		k.mu.Lock()
		seeing := k.seeing
		if closed(seeing) {
			made := &subscriber{wake: make(chan struct{}, 1), names: make(map[sni.Pattern]bool)}
			made.tell(store.Change{All: true})
			k.subscribers[made] = true
			k.mu.Unlock()
			return made
		}
		k.mu.Unlock()
		select {
		case <-seeing:
		case <-ctx.Done():
			return nil
		case <-k.done.Done():
			return nil
		}
	}
}

func (k *keeper) unsubscribe(subscriber *subscriber) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.subscribers, subscriber)
}

// tell adds a change to what is told next.
func (s *subscriber) tell(change store.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case change.All, change.Lost:
		s.all, s.lost = change.All, change.Lost
		clear(s.names)
	case s.all, s.lost:
	default:
		for _, name := range change.Names {
			s.names[name] = true
		}
		if len(s.names) > maxTold {
			s.all = true
			clear(s.names)
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriber) take() (change store.Change, some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change = store.Change{All: s.all, Lost: s.lost}
	for name := range s.names {
		change.Names = append(change.Names, name)
	}
	s.all, s.lost = false, false
	clear(s.names)
	return change, change.All || change.Lost || len(change.Names) > 0
}

// publish tells that names have changed. Those that no client can ask for are left out.
func (k *keeper) publish(names []string) {
	var change store.Change
	for _, name := range names {
		if pattern, err := sni.ParsePattern(name); err == nil {
			change.Names = append(change.Names, pattern)
		}
	}
	if len(change.Names) > 0 {
		k.tell(change)
	}
}

func (k *keeper) publishAll() { k.tell(store.Change{All: true}) }

func (k *keeper) tell(change store.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for subscriber := range k.subscribers {
		subscriber.tell(change)
	}
}

// see says that changes are seen from now on.
func (k *keeper) see() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.absent = nil
	if !closed(k.seeing) {
		close(k.seeing)
	}
}

// blind says that they are not for the time being, and why.
func (k *keeper) blind(why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.absent = why
	if closed(k.seeing) {
		k.seeing = make(chan struct{})
	}
	for subscriber := range k.subscribers {
		subscriber.tell(store.Change{Lost: true})
	}
}
