package challenge

import (
	"context"
	"sync"
	"time"
)

const (
	// burst is how many keys may be looked for at once, and perSecond how many go on to be in a second. More than that is
	// a flood: authorities ask for the name of a pending challenge, a few times each.
	burst     = 50
	perSecond = 50
	// relist is how old the list of what is pending may be that a flood is answered from.
	relist = 250 * time.Millisecond
)

// looks bounds how often the storage is asked for keys that strangers name. As long as they are few, each is looked for. Of
// more, only those that are in the list of pending challenges, which is read four times a second at most, for all of them.
type looks struct {
	storage Storage

	mu     sync.Mutex // never held across I/O
	tokens float64
	filled time.Time
	lists  map[string]*list // by type of challenge: there are two
}

// list is the keys of one type's pending challenges.
type list struct {
	began time.Time // when it was last read; the zero time: never
	keys  map[string]bool
	err   error         // of that reading
	under chan struct{} // closed when the reading that is under way has ended; nil: none is
}

func newLooks(storage Storage) *looks {
	return &looks{storage: storage, tokens: burst, filled: time.Now(), lists: make(map[string]*list)}
}

// allow returns nil if a key may be looked for in the storage, else an error, which wraps ErrNone if it isn't there.
func (l *looks) allow(ctx context.Context, kind, key string) error {
	if l.spend(time.Now()) {
		return nil
	}
	asked := time.Now()
	for {
		answered, err := l.consult(kind, key, asked)
		if answered {
			return err
		}
		under, ours := l.join(kind)
		if ours {
			err = l.reread(ctx, kind)
		} else {
			err = wait(ctx, under)
		}
		if err != nil {
			return err
		}
	}
}

// spend says whether there is room for one more look.
func (l *looks) spend(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = min(burst, l.tokens+now.Sub(l.filled).Seconds()*perSecond)
	l.filled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// consult looks a key up in the list: it is there, or the list was read after it was asked for.
func (l *looks) consult(kind, key string, asked time.Time) (answered bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	current := l.lists[kind]
	switch {
	case current == nil:
		return false, nil
	case current.keys[key]:
		return true, nil
	case !current.began.After(asked):
		return false, nil
	case current.err != nil:
		return true, current.err
	}
	return true, ErrNone
}

// join returns what to wait for until the list has been read. ours: the caller is to read it.
func (l *looks) join(kind string) (under <-chan struct{}, ours bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	current := l.lists[kind]
	if current == nil {
		current = new(list)
		l.lists[kind] = current
	}
	if ours = current.under == nil; ours {
		current.under = make(chan struct{})
	}
	return current.under, ours
}

// reread reads the list, when it is time. If ctx is done before, another one who waits for it does that.
func (l *looks) reread(ctx context.Context, kind string) error {
	l.mu.Lock()
	due := l.lists[kind].began.Add(relist)
	l.mu.Unlock()
	err := sleep(ctx, time.Until(due))
	began := time.Now()
	var keys []string
	if err == nil {
		keys, err = l.storage.List(ctx, prefix+"/"+kind)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	current := l.lists[kind]
	close(current.under)
	current.under = nil
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	current.began, current.err, current.keys = began, err, make(map[string]bool, len(keys))
	for _, key := range keys {
		current.keys[key] = true
	}
	return err
}

// wait waits for a channel to be closed.
func wait(ctx context.Context, closed <-chan struct{}) error {
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sleep waits for a time.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
