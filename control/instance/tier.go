package instance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"hellogate/cache/disk"
)

// errLetGo is what is read of a disk tier that another process has.
var errLetGo = errors.New("disk tier: another process is to have it")

// tier is a cache.Disk that can be let go of for another process, and taken back. What is written meanwhile is lost, which
// costs a fetch; what is removed is removed later.
type tier struct {
	options disk.Options
	at      atomic.Pointer[disk.Tier] // nil: it was let go of
	trouble atomic.Pointer[error]     // why it could not be taken back

	mutex  sync.Mutex
	missed []string // keys that were to be removed meanwhile
}

// missedMost is how many keys are remembered that were to be removed. A few names go in the time that an upgrade takes.
const missedMost = 4096

func openTier(options disk.Options) (*tier, error) {
	opened, err := disk.Open(options)
	if err != nil {
		return nil, err
	}
	t := &tier{options: options}
	t.at.Store(opened)
	return t, nil
}

// let closes the tier. What is queued for it is written, in bounded time.
func (t *tier) let() error {
	if open := t.at.Swap(nil); open != nil {
		return open.Close()
	}
	return nil
}

// take opens it again.
func (t *tier) take() error {
	opened, err := disk.Open(t.options)
	if err != nil {
		t.trouble.Store(&err)
		return err
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	opened.Delete(t.missed...)
	t.missed = nil
	t.at.Store(opened)
	return nil
}

func (t *tier) Get(ctx context.Context, key string) (record disk.Record, there bool, err error) {
	if open := t.at.Load(); open != nil {
		return open.Get(ctx, key)
	}
	return record, false, errLetGo
}

func (t *tier) Put(record disk.Record) {
	if open := t.at.Load(); open != nil {
		open.Put(record)
	}
}

func (t *tier) Delete(keys ...string) (all bool) {
	if open := t.at.Load(); open != nil {
		return open.Delete(keys...)
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if open := t.at.Load(); open != nil { // taken back just now
		return open.Delete(keys...)
	}
	t.missed = append(t.missed, keys[:min(len(keys), missedMost-len(t.missed))]...)
	return false
}

func (t *tier) DeleteAll() {
	if open := t.at.Load(); open != nil {
		open.DeleteAll()
	}
}

func (t *tier) Sync(ctx context.Context) error {
	if open := t.at.Load(); open != nil {
		return open.Sync(ctx)
	}
	return errLetGo
}

func (t *tier) Tagged(ctx context.Context, tag [32]byte) ([]string, error) {
	if open := t.at.Load(); open != nil {
		return open.Tagged(ctx, tag)
	}
	return nil, errLetGo
}

func (t *tier) Keys(ctx context.Context, after string, most int) ([]string, error) {
	if open := t.at.Load(); open != nil {
		return open.Keys(ctx, after, most)
	}
	return nil, errLetGo
}

// stats are the tier's, with the reason in LastError where it was let go of and could not be taken back.
func (t *tier) stats() (stats disk.Stats) {
	if open := t.at.Load(); open != nil {
		return open.Stats()
	}
	if trouble := t.trouble.Load(); trouble != nil {
		stats.Failing, stats.LastError = true, (*trouble).Error()
	}
	return stats
}
