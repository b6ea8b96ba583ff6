package tickets

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hellogate/terminate/seen"
)

// lookEvery is how often a key file is looked at, and keys that are made here.
const lookEvery = time.Second

// Run rotates keys, or reads the file again when it has changed, until ctx is done.
func (k *Keys) Run(ctx context.Context) {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			k.look()
		}
	}
}

func (k *Keys) look() {
	if k.file == "" {
		k.turn(time.Now())
		return
	}
	changed, err := k.reread()
	switch {
	case err != nil:
		k.say(err)
	case changed:
		k.report(nil)
	}
}

// say reports that the file can't be used, unless that was what was said last.
func (k *Keys) say(err error) {
	if text := err.Error(); text != k.said {
		k.said = text
		k.report(fmt.Errorf("%w: the keys before stay in use", err))
	}
}

// reread reads the file if it has changed, or could not be used, and reports whether it holds other keys than before or
// what was said of it is over.
func (k *Keys) reread() (changed bool, err error) {
	now, err := seen.Look(k.file)
	if err != nil {
		k.seen = nil
		return false, fmt.Errorf("read the session ticket keys: %w", err)
	}
	if k.seen.Same(now) {
		return false, nil
	}
	keys, err := readKeys(k.file)
	if err != nil {
		k.seen = nil
		return false, err
	}
	changed = k.said != "" || !slices.Equal(keys, k.held())
	k.seen, k.said = now, ""
	k.use(keys)
	return changed, nil
}
