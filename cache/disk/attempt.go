package disk

import (
	"errors"
	"fmt"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
)

// attempt does what a batch says.
func (t *Tier) attempt(b *batch) error {
	if f := t.file.Load(); b.broken != nil && b.broken.file == f {
		if err := t.replace(f, b.broken.reason); err != nil {
			return err
		}
	}
	if b.all {
		if err := t.erase(); err != nil {
			return err
		}
	}
	err := t.apply(b)
	var reason *unfit
	if !errors.As(err, &reason) {
		return err
	}
	if err := t.replace(t.file.Load(), reason); err != nil {
		return err
	}
	return t.apply(b)
}

// replace sets a file aside that turned out to be corrupted.
func (t *Tier) replace(f *file, reason error) error {
	now := time.Now()
	if ago := now.Sub(t.writer.replaced); !t.writer.replaced.IsZero() && ago < t.pace.replaceEvery {
		return fmt.Errorf("use the disk tier's file %s: %w, as was that before it", t.folder.file(), reason)
	}
	if err := t.setAside(reason); err != nil {
		return err
	}
	t.writer.replaced = now
	t.leave(f)
	return nil
}

// erase removes the file.
func (t *Tier) erase() error {
	if err := t.folder.remove(); err != nil {
		return err
	}
	t.leave(t.file.Load())
	t.writer.committed = true
	return nil
}

// leave ends the use of a file.
func (t *Tier) leave(f *file) {
	t.file.Store(nil)
	t.writer.sweep = nil
	if f != nil {
		f.close()
	}
}

// use makes an open file the one that is used.
func (t *Tier) use(f *file) {
	t.file.Store(f)
	t.measure()
}

// measure has Stats say what is in the file now.
func (t *Tier) measure() {
	var records int
	var size int64
	if f := t.file.Load(); f != nil {
		records, size = f.count, f.size()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Records, t.stats.FileBytes = records, size
}

// apply writes the changes of a batch to the file, which is opened if there is none.
func (t *Tier) apply(b *batch) error {
	f := t.file.Load()
	if f == nil {
		var err error
		if f, err = t.openFile(); err != nil {
			return err
		}
		t.use(f)
	}
	edits, err := f.edits(b)
	if err != nil {
		return err
	}
	if t.writer.sweep != nil {
		t.writer.sweep.markAll(b.puts)
	}
	committed, err := f.apply(edits)
	t.writer.committed = t.writer.committed || committed
	if errors.Is(err, bolterrors.ErrInvalidMapping) || errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		t.leave(f) // bbolt could not map the grown file; the next attempt opens it anew
	}
	if err != nil {
		return fmt.Errorf("write the disk tier's file %s: %w", t.folder.file(), err)
	}
	return nil
}
