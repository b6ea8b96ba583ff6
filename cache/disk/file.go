package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// file is an open database. One goroutine writes; any number reads, past bbolt, what the last transaction left.
type file struct {
	db     *bbolt.DB
	handle *os.File
	seal   sealer
	begun  atomic.Uint64 // transactions
	view   atomic.Pointer[view]

	// The writer's alone:
	count  int  // of records
	wedged bool // bbolt panicked and holds locks that nobody will give back
}

// openFile opens the database of the folder as far as it can be used. One that can't is set aside, and a new one begun.
func (t *Tier) openFile() (*file, error) {
	opened, err := t.tryFile()
	var reason *unfit
	if !errors.As(err, &reason) {
		return opened, err
	}
	if err := t.setAside(reason); err != nil {
		return nil, err
	}
	return t.tryFile()
}

func (t *Tier) setAside(reason error) error {
	name, err := t.folder.setAside(time.Now())
	if err != nil {
		return err
	}
	t.log.Error().Str("file", t.folder.file()).Str("renamed_to", name).AnErr("reason", reason).
		Msg("disk tier: its file can't be used, set aside and begun anew")
	return nil
}

// tryFile opens the database, empty or not. The error is an *unfit if that should be set aside.
func (t *Tier) tryFile() (*file, error) {
	handle, err := t.folder.open()
	if err != nil {
		return nil, err
	}
	opened, err := t.load(handle)
	if err != nil {
		return nil, err
	}
	if err := t.unlock(opened); err != nil {
		opened.close()
		return nil, err
	}
	return opened, nil
}

// load has bbolt open a file that was looked at before. It closes it if it can't.
func (t *Tier) load(handle *os.File) (*file, error) {
	if err := inspect(handle); err != nil {
		handle.Close()
		return nil, err
	}
	opened := &file{handle: handle}
	var err error
	if opened.db, err = openBolt(handle); err != nil {
		handle.Close() // bbolt has closed it, unless it panicked
		return nil, err
	}
	if err := opened.refresh(); err != nil {
		opened.close()
		return nil, err
	}
	return opened, nil
}

// inspect looks at what bbolt reads without care when it opens a file.
func inspect(handle *os.File) error {
	info, err := handle.Stat()
	if err != nil {
		return readError(err)
	}
	if info.Size() == 0 {
		return nil
	}
	v, err := readView(handle, 0)
	if err != nil {
		return err
	}
	if v.meta.freelist == noFreelist {
		return corrupt("it has no list of free pages")
	}
	list, err := v.readRun(v.meta.freelist, nil)
	if err != nil {
		return err
	}
	return list.checkFreelist(v.meta.limit)
}

// openBolt opens a database on an open file.
func openBolt(handle *os.File) (db *bbolt.DB, err error) {
	// The file may be cut off while bbolt reads its map of it.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if problem := recover(); problem != nil {
			db, err = nil, corrupt("bbolt: %v", problem)
		}
	}()
	db, err = bbolt.Open(handle.Name(), 0o600, &bbolt.Options{
		Timeout: lockWait,
		// The list of free pages is written with every transaction: without, opening a file takes a walk through all of it.
		NoFreelistSync: false,
		FreelistType:   bbolt.FreelistMapType,
		NoStatistics:   true,
		OpenFile:       func(string, int, os.FileMode) (*os.File, error) { return handle, nil },
	})
	return db, boltError(handle.Name(), err)
}

// boltError sorts the errors of bbolt.Open: somebody else has the file, it is corrupted, or it can't be read or written.
func boltError(name string, err error) error {
	var path *fs.PathError
	var number unix.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("lock the disk tier's file %s: %w", name, ErrInUse)
	case errors.As(err, &path), errors.As(err, &number):
		return fmt.Errorf("open the disk tier's file %s: %w", name, err)
	}
	return corrupt("bbolt: %v", err)
}

// unlock checks that a file is one of ours, of this version and of this key. It makes an empty one that.
func (t *Tier) unlock(f *file) error {
	if f.view.Load().blank {
		if err := t.begin(f); err != nil {
			return err
		}
	}
	v := f.view.Load()
	record, err := v.value(metaBucket, formatKey)
	if err != nil {
		return err
	}
	read, err := decodeFormat(record)
	if err != nil {
		return err
	}
	if f.seal, err = read.unlock(t.secret); err != nil {
		return err
	}
	sealed, err := v.value(metaBucket, countKey)
	f.count = decodeCount(f.seal, sealed)
	return err
}

// begin writes what an empty file begins with.
func (t *Tier) begin(f *file) error {
	made, err := newFormat(t.secret)
	if err != nil {
		return err
	}
	err = f.update(func(tx *bbolt.Tx) error {
		for _, name := range bucketNames {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketNames[metaBucket]).Put(formatKey, made.encode())
	})
	if err != nil {
		return fmt.Errorf("begin the disk tier's file %s: %w", f.handle.Name(), err)
	}
	return t.folder.sync()
}

// update changes the file in one transaction. The error is an *unfit if the file turned out to be corrupted.
func (f *file) update(change func(*bbolt.Tx) error) error {
	f.begun.Add(1)
	err := f.commit(change)
	if refreshed := f.refresh(); err == nil {
		err = refreshed
	}
	return err
}

// refresh has readers see what the last transaction left.
func (f *file) refresh() error {
	v, err := readView(f.handle, f.begun.Load())
	if err != nil {
		return err
	}
	f.view.Store(v)
	return nil
}

// stands reports whether what was read of a view was in the file all the time.
func (f *file) stands(v *view) bool { return f.begun.Load() <= v.number+1 }

// commit is bbolt's Update, whose own way out of a panic can panic.
func (f *file) commit(change func(*bbolt.Tx) error) (err error) {
	if f.wedged {
		return corrupt("bbolt gave up")
	}
	var tx *bbolt.Tx
	defer func() {
		if problem := recover(); problem != nil {
			err = corrupt("bbolt: %v", problem)
			f.rollBack(tx)
		}
	}()
	f.wedged = true // should Begin panic, it does with its locks held
	tx, err = f.db.Begin(true)
	f.wedged = false
	if err != nil {
		return err
	}
	if err := change(tx); err != nil {
		f.rollBack(tx)
		return err
	}
	if err := tx.Commit(); err != nil {
		f.rollBack(tx)
		return err
	}
	return nil
}

// rollBack ends a transaction that may have ended already.
func (f *file) rollBack(tx *bbolt.Tx) {
	defer func() {
		if problem := recover(); problem != nil {
			f.wedged = true
		}
	}()
	if tx != nil {
		_ = tx.Rollback()
	}
}

// close ends the use of the file. What bbolt can't be made to give back, after a panic, is a map of the file.
func (f *file) close() {
	defer func() {
		if problem := recover(); problem != nil {
			f.handle.Close()
		}
	}()
	if f.wedged {
		_ = unix.Flock(int(f.handle.Fd()), unix.LOCK_UN)
		f.handle.Close()
		return
	}
	_ = f.db.Close()
}
