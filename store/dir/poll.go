package dir

import (
	"errors"

	"hellogate/store"
)

const (
	// pollNames is how many names are looked at each time, which is 200 a second.
	pollNames = 100
	// maxAnswered bounds the names that are looked at, maxNoes those among them that there was nothing for. Others are
	// asked for again when their time is over.
	maxAnswered = 1 << 18
	maxNoes     = 1 << 14
)

// answers are the names that were answered for, while changes can't all be watched, and what was answered.
type answers struct {
	states map[string]string
	order  []string
	noes   int
	next   int // in order, to be looked at
}

// What a name's answer was, if no validator.
const (
	saidNo = "no"
	failed = "failure"
)

// remember notes what a name was answered, if it is to be looked at later.
func (d *Dir) remember(name string, bundle *store.Bundle, err error) {
	keeper := d.kept()
	if keeper == nil || !keeper.degraded.Load() {
		return
	}
	keeper.mu.Lock()
	defer keeper.mu.Unlock()
	keeper.answered.set(name, stateOf(bundle, err))
}

func stateOf(bundle *store.Bundle, err error) string {
	switch {
	case errors.Is(err, store.ErrUnknown):
		return saidNo
	case err != nil:
		return failed
	}
	return bundle.Validator.ETag
}

func (a *answers) set(name, state string) {
	if a.states == nil {
		a.states = make(map[string]string)
	}
	held, found := a.states[name]
	if !found {
		if len(a.order) >= maxAnswered || state == saidNo && a.noes >= maxNoes {
			return
		}
		a.order = append(a.order, name)
	}
	if held == saidNo {
		a.noes--
	}
	if state == saidNo {
		a.noes++
	}
	a.states[name] = state
}

// turn returns the names that are to be looked at now, and what was answered for them.
func (a *answers) turn() map[string]string {
	names := make(map[string]string, min(pollNames, len(a.order)))
	for range min(pollNames, len(a.order)) {
		name := a.order[a.next%len(a.order)]
		names[name] = a.states[name]
		a.next = (a.next + 1) % len(a.order)
	}
	return names
}

// poll looks at some of the names that were answered for, and tells of those whose answer is another one now.
func (k *keeper) poll() {
	// Without a whole index a look would wait for what only its caller can bring about.
	if !k.degraded.Load() || !k.index.whole() {
		return
	}
	k.mu.Lock()
	names := k.answered.turn()
	k.mu.Unlock()
	for name, held := range names {
		k.looks.Add(1)
		bundle, err := k.dir.fetch(k.done, store.Request{Name: name, Validator: store.Validator{ETag: held}})
		state := stateOf(bundle, err)
		if k.done.Err() != nil || state == held {
			continue
		}
		k.mu.Lock()
		k.answered.set(name, state)
		k.mu.Unlock()
		k.publish([]string{name})
	}
}
