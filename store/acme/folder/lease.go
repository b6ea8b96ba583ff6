package folder

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// noteBytes is the size of a note, which is written over again and again: always all of it.
const noteBytes = 1024

// note is what is in the file of a lock. Only Beat changes.
type note struct {
	// Owner is the file's name. PID, Host and Since are for people.
	Owner string `json:"owner"`
	PID   int    `json:"pid"`
	Host  string `json:"host"`
	Since string `json:"since"`
	// Boot tells the systems apart that the flock of the file is of, each time one is started. "": it has none.
	Boot string `json:"boot,omitempty"`
	Beat uint64 `json:"beat"`
}

// readNote returns as much of a note as can be read.
func readNote(content []byte) note {
	var made note
	_ = json.Unmarshal(content, &made)
	return made
}

// bytes is the note as it is written.
func (n note) bytes() ([]byte, error) {
	text, err := json.Marshal(n)
	if err != nil || len(text) >= noteBytes {
		return nil, errors.Join(err, errors.New("write the note of a lock: it is too long"))
	}
	padded := make([]byte, noteBytes)
	for i := copy(padded, text); i < noteBytes-1; i++ {
		padded[i] = ' '
	}
	padded[noteBytes-1] = '\n'
	return padded, nil
}

// lease is a lock that is ours.
type lease struct {
	folder      *Folder
	name, owner string
	file        *os.File // open as long as we hold it: so is its flock
	note        note
}

// prepare makes the folder, under a name that is never used again, that is to become the lock.
func (f *Folder) prepare(aside *place, name string) (*lease, error) {
	host, _ := os.Hostname()
	l := &lease{folder: f, name: name, owner: random()}
	l.note = note{Owner: l.owner, PID: os.Getpid(), Host: host, Since: time.Now().UTC().Format(time.RFC3339)}
	inside, err := aside.enter(l.owner, true)
	if err != nil {
		return nil, err
	}
	defer inside.close()
	if err := l.begin(inside); err != nil {
		aside.discardFolder(l.owner)
		return nil, err
	}
	return l, nil
}

func (l *lease) begin(inside *place) error {
	file, err := inside.openAt(l.owner, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	l.file = file
	// Without it, others wait for three beats when this process is killed.
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		l.note.Boot = boot()
	}
	if err := l.write(); err != nil {
		file.Close()
		return err
	}
	return nil
}

// write shows that we live.
func (l *lease) write() error {
	content, err := l.note.bytes()
	if err != nil {
		return err
	}
	if _, err := l.file.WriteAt(content, 0); err != nil {
		return err
	}
	return l.file.Sync()
}

// hold keeps the lease up until release is called or it is lost.
func (l *lease) hold(ctx context.Context) (held context.Context, release func()) {
	held, end := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	var keeper sync.WaitGroup
	keeper.Go(func() { l.keep(end, stop) })
	return held, sync.OnceFunc(func() {
		end(context.Canceled)
		close(stop)
		keeper.Wait()
		l.giveBack()
	})
}

// keep beats until stop. That held is done does not end the lease: what it guards may still be cleaned up after.
func (l *lease) keep(end context.CancelCauseFunc, stop <-chan struct{}) {
	beat := l.folder.options.Beat
	// It fires whatever a write is waiting for.
	late := time.AfterFunc(lostBeats*beat, func() { end(ErrLost) })
	defer late.Stop()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		began := time.Now()
		switch err := l.beat(); {
		case errors.Is(err, ErrLost):
			end(ErrLost)
			return
		case err != nil:
			l.folder.options.Log.Warn().Err(err).Str("lock", l.name).Msg("acme folder: a lock could not be kept up, it is tried again")
		default:
			late.Reset(lostBeats*beat - time.Since(began))
		}
	}
}

// beat shows that we live, if the lock is still ours.
func (l *lease) beat() error {
	if err := l.ours(); err != nil {
		return err
	}
	l.note.Beat++
	if err := l.write(); errors.Is(err, unix.ESTALE) {
		return ErrLost
	} else if err != nil {
		return err
	}
	return l.ours()
}

// ours returns ErrLost if the file in the folder of the lock is no more the one that we have open.
func (l *lease) ours() error {
	at, err := l.folder.enter([]string{locks, l.name}, false)
	if err == nil {
		defer at.close()
		err = at.same(l.owner, l.file)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
		return ErrLost
	}
	return err
}

// same returns ErrLost if a name isn't that of an open file.
func (p *place) same(name string, file *os.File) error {
	var there, open unix.Stat_t
	if err := unix.Fstatat(p.descriptor(), name, &there, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Fstat(int(file.Fd()), &open); err != nil {
		return err
	}
	if there.Ino != open.Ino || there.Dev != open.Dev {
		return ErrLost
	}
	return nil
}

// giveBack lets others have the lock. Where it can't, they have it after three beats, or at once on this machine.
func (l *lease) giveBack() {
	l.file.Close()
	above, err := l.folder.enter([]string{locks}, false)
	if err != nil {
		return
	}
	defer above.close()
	at, err := above.enter(l.name, false)
	if err != nil {
		return
	}
	_ = unix.Unlinkat(at.descriptor(), l.owner, 0)
	at.close()
	_ = unix.Unlinkat(above.descriptor(), l.name, unix.AT_REMOVEDIR)
}
