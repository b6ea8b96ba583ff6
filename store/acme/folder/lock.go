package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLost is the cause of the end of what Lock returned when the lock was lost.
var ErrLost = errors.New("the lock was lost: it could not be shown in time that its holder lives, or others took it")

const (
	// staleBeats is after how many beats without a sign of life, as an observer's own clock counts them, a lock is taken
	// over; lostBeats is after how many its holder gives up by itself.
	staleBeats = 3
	lostBeats  = 2

	// looksPerBeat is how often one who waits looks, and slowestLook the longest pause between two looks.
	looksPerBeat = 10
	slowestLook  = 500 * time.Millisecond
)

// Lock waits for the lock of a name, of all locks in the folder, until ctx is done. It returns a context that is a child of
// ctx and ends, with ErrLost as its cause, before anybody can take the lock over: what the lock guards has to stop then.
// release gives the lock back and ends that context; it has to be called, once or more often.
//
// A lock is the folder locks/NAME with the one file in it that its holder put there, under a name that is never used again.
// It is taken by renaming a folder with that file to locks/NAME, which succeeds for one alone, and only if there is none or
// an empty one. It is taken from a holder that is dead by removing that file, which can't be that of the next holder. No
// two machines' clocks are compared.
//
// A holder writes to its file on each beat. It is dead when the file has been the same for three beats, or, seen from the
// same machine, as soon as the system has released the file's flock. A process that is stopped for three beats and goes on
// learns within moments that it has lost its locks, not before it does anything else.
func (f *Folder) Lock(ctx context.Context, name string) (held context.Context, release func(), err error) {
	if err := checkElement(name); err != nil {
		return nil, nil, fmt.Errorf("lock %q in %s: %w", name, f.options.Path, err)
	}
	watched := observer{folder: f, name: name, seen: make(map[string]sign)}
	for {
		taken, err := watched.try(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("lock %q in %s%s: %w", name, f.options.Path, watched.holder(), err)
		}
		if taken != nil {
			held, release := taken.hold(ctx)
			return held, release, nil
		}
		f.pause(ctx)
	}
}

// pause waits until it is time to look again.
func (f *Folder) pause(ctx context.Context) {
	most := max(min(f.options.Beat/looksPerBeat, slowestLook), time.Millisecond)
	select {
	case <-ctx.Done():
	case <-time.After(most/2 + rand.N(most/2+1)):
	}
}

// observer is one who waits for a lock.
type observer struct {
	folder *Folder
	name   string
	seen   map[string]sign // by the name of the file
}

// sign is what was in a holder's file, and since when, by our clock.
type sign struct {
	content string
	since   time.Time
}

// try takes the lock if it is free, or if its holder is dead. It returns nil if it isn't.
func (o *observer) try(ctx context.Context) (*lease, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	above, err := o.folder.enter([]string{locks}, true)
	if err != nil {
		return nil, err
	}
	defer above.close()
	at, err := above.enter(o.name, false)
	if errors.Is(err, unix.ENOENT) {
		return o.claim(above)
	}
	if err != nil {
		return nil, err
	}
	defer at.close()
	free, err := o.look(at)
	if err != nil || !free {
		return nil, err
	}
	return o.claim(above)
}

// look says whether nobody who lives holds the lock. It removes the files of the dead.
func (o *observer) look(at *place) (bool, error) {
	owners, err := at.entries()
	if err != nil {
		return false, err
	}
	free := true
	for _, owner := range owners {
		dead, err := o.dead(at, owner.Name())
		if err != nil {
			return false, err
		}
		free = free && dead
	}
	return free, nil
}

// dead says whether a holder is, and if so takes the lock from it.
func (o *observer) dead(at *place, owner string) (bool, error) {
	file, err := at.open(owner)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
		return true, nil // released since
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, noteBytes))
	if err != nil {
		return false, err
	}
	before, known := o.seen[owner]
	if !known || before.content != string(content) {
		before = sign{content: string(content), since: time.Now()}
		o.seen[owner] = before
	}
	gone := ended(file, content)
	if !gone && time.Since(before.since) < staleBeats*o.folder.options.Beat {
		return false, nil
	}
	return true, o.bury(at, owner, gone)
}

// ended says whether the process that wrote the note of a lock on this machine has ended, or has given it back.
func ended(file *os.File, content []byte) bool {
	made := readNote(content)
	if made.Boot == "" || made.Boot != boot() {
		return false
	}
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// bury removes the file of a holder that is dead.
func (o *observer) bury(at *place, owner string, gone bool) error {
	err := unix.Unlinkat(at.descriptor(), owner, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // by another observer, or the holder
	}
	if err != nil {
		return at.wrap("remove", owner, err)
	}
	made := readNote([]byte(o.seen[owner].content))
	o.folder.options.Log.Warn().Str("lock", o.name).Str("host", made.Host).Int("pid", made.PID).Bool("ended", gone).
		Msg("acme folder: the lock of a process that is gone was taken over")
	return nil
}

// claim takes the lock if nobody has it. It returns nil if somebody has.
func (o *observer) claim(above *place) (*lease, error) {
	aside, err := o.folder.enter([]string{temporary}, true)
	if err != nil {
		return nil, err
	}
	defer aside.close()
	taken, err := o.folder.prepare(aside, o.name)
	if err != nil {
		return nil, err
	}
	// There are file systems that rename a folder to no other, not even to an empty one.
	_ = unix.Unlinkat(above.descriptor(), o.name, unix.AT_REMOVEDIR)
	err = unix.Renameat(aside.descriptor(), taken.owner, above.descriptor(), o.name)
	if err == nil {
		return taken, nil
	}
	taken.file.Close()
	aside.discardFolder(taken.owner)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) {
		return nil, nil
	}
	return nil, above.wrap("rename", o.name, err)
}

// holder tells people who has the lock.
func (o *observer) holder() string {
	var text string
	var last time.Time
	for _, each := range o.seen {
		if made := readNote([]byte(each.content)); made.PID != 0 && !each.since.Before(last) {
			last = each.since
			text = fmt.Sprintf(", which process %d of %q holds", made.PID, made.Host)
		}
	}
	return text
}
