// Package folder keeps what an ACME store needs in a folder on a disk that several processes and machines may share:
// accounts, certificates with their keys, pending challenges, and locks.
//
// The rule it guards: nothing is ever read half written, no key leaves the folder, whatever stands in it, and nobody but
// its owner can read it. Of two that want a lock, one gets it, and it knows in time when it has lost it.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

const (
	// MaxSize bounds the content of a key.
	MaxSize = 1 << 20

	defaultPoll = 2 * time.Second
	defaultBeat = 5 * time.Second

	// temporary is where files are written before they get their name, and locks the folder of the locks.
	temporary = ".tmp"
	locks     = "locks"

	// abandoned is how old a temporary file is that nobody works on any more.
	abandoned = time.Hour
	// probeBytes is more than one order writes.
	probeBytes = 32 << 10
	saveTries  = 4
)

// Options say where the folder is. Only Path is needed.
type Options struct {
	Path string
	// Poll is how often Watch looks; 0: 2 s.
	Poll time.Duration
	// Beat is how often the holder of a lock shows that it lives; 0: 5 s. It has to be the same for all who share the folder.
	Beat time.Duration
	// Log takes a line for what was mended: modes that were too wide, files of a killed process, locks of one.
	Log zerolog.Logger
}

// Folder is a storage. It holds no open file: a folder that is mounted anew goes on being used. It is safe for concurrent
// use.
//
// Keys are paths with slashes: up to 8 elements of up to 255 letters, digits and -_.*~+=@, none of which begins with a dot,
// the first of which is not "locks". A context that is done is seen before anything begins; a read or write itself goes on
// for as long as the file system lets it.
type Folder struct{ options Options }

// Open makes the folder if it is missing, with the mode 0700, and removes what a killed process left in it. A folder that
// others may read is narrowed. One that others may write to, that belongs to another user or is a symbolic link is refused:
// what is in it may be anybody's. A read-only folder can be opened: see Writable.
func Open(options Options) (*Folder, error) {
	if options.Path == "" {
		return nil, errors.New("open the acme folder: no path")
	}
	path, err := filepath.Abs(options.Path)
	if err != nil {
		return nil, fmt.Errorf("open the acme folder: %w", err)
	}
	options.Path = path
	if options.Poll <= 0 {
		options.Poll = defaultPoll
	}
	if options.Beat <= 0 {
		options.Beat = defaultBeat
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the acme folder: %w", err)
	}
	f := &Folder{options: options}
	top, err := f.top()
	if err != nil {
		return nil, fmt.Errorf("open the acme folder: %w", err)
	}
	defer top.close()
	f.sweep(top)
	return f, nil
}

// Path returns where the folder is, absolute.
func (f *Folder) Path() string { return f.options.Path }

// Load returns the content of a key. For one that isn't there the error wraps fs.ErrNotExist.
func (f *Folder) Load(ctx context.Context, key string) ([]byte, error) {
	content, err := f.load(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("load %q from %s: %w", key, f.options.Path, err)
	}
	return content, nil
}

func (f *Folder) load(ctx context.Context, key string) ([]byte, error) {
	above, base, err := f.split(ctx, key)
	if err != nil {
		return nil, err
	}
	at, err := f.enter(above, false)
	if err != nil {
		return nil, err
	}
	defer at.close()
	file, err := at.open(base)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err == nil && len(content) > MaxSize {
		err = fmt.Errorf("more than %d bytes", MaxSize)
	}
	return content, err
}

// Save gives a key a content: at once, as seen by anybody, and for good, whatever happens to the machine, when it has
// returned nil. Else the key has the content that it had, or none.
func (f *Folder) Save(ctx context.Context, key string, content []byte) error {
	above, base, err := f.split(ctx, key)
	if err == nil && len(content) > MaxSize {
		err = fmt.Errorf("%d bytes, of at most %d", len(content), MaxSize)
	}
	if err == nil {
		err = f.saveAgain(above, base, content)
	}
	if err != nil {
		return fmt.Errorf("save %q in %s: %w", key, f.options.Path, err)
	}
	return nil
}

// saveAgain starts over when Remove takes the folder away under it, which was empty.
func (f *Folder) saveAgain(above []string, base string, content []byte) error {
	for tries := 1; ; tries++ {
		err := f.save(above, base, content)
		if tries == saveTries || !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
}

func (f *Folder) save(above []string, base string, content []byte) error {
	at, err := f.enter(above, true)
	if err != nil {
		return err
	}
	defer at.close()
	aside, err := f.enter([]string{temporary}, true)
	if err != nil {
		return err
	}
	defer aside.close()
	name := random()
	if err = aside.write(name, content); err == nil {
		err = unix.Renameat(aside.descriptor(), name, at.descriptor(), base)
	}
	if err != nil {
		_ = unix.Unlinkat(aside.descriptor(), name, 0)
		return err
	}
	return at.sync()
}

// Remove removes a key, and the folders above it that are empty then. It is no error if it isn't there.
func (f *Folder) Remove(ctx context.Context, key string) error {
	above, base, err := f.split(ctx, key)
	if err == nil {
		err = f.remove(above, base)
	}
	if err != nil {
		return fmt.Errorf("remove %q from %s: %w", key, f.options.Path, err)
	}
	return nil
}

func (f *Folder) remove(above []string, base string) error {
	at, err := f.enter(above, false)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer at.close()
	switch err := unix.Unlinkat(at.descriptor(), base, 0); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	}
	if err := at.sync(); err != nil {
		return err
	}
	f.prune(above)
	return nil
}

// prune removes folders that are empty, from the lowest up. That it can't is no matter.
func (f *Folder) prune(elements []string) {
	for ; len(elements) > 0; elements = elements[:len(elements)-1] {
		last := len(elements) - 1
		at, err := f.enter(elements[:last], false)
		if err != nil {
			return
		}
		err = unix.Unlinkat(at.descriptor(), elements[last], unix.AT_REMOVEDIR)
		at.close()
		if err != nil {
			return
		}
	}
}

// List returns the keys in the folder that prefix names and below it, in order; "" is the folder itself. A folder that
// isn't there has none. What can be no key, and what is neither a folder nor a file, is left out.
func (f *Folder) List(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	elements, err := f.below(ctx, prefix)
	if err == nil {
		err = f.walk(ctx, elements, func(key string) { keys = append(keys, key) })
	}
	if err != nil {
		return nil, fmt.Errorf("list %q in %s: %w", prefix, f.options.Path, err)
	}
	slices.Sort(keys)
	return keys, nil
}

// Writable tries whether there is room to write what an order does: an error says why not, before anything is ordered.
func (f *Folder) Writable(context.Context) error {
	aside, err := f.enter([]string{temporary}, true)
	if err == nil {
		defer aside.close()
		name := random()
		err = aside.write(name, make([]byte, probeBytes))
		_ = unix.Unlinkat(aside.descriptor(), name, 0)
	}
	if err != nil {
		return fmt.Errorf("write to the acme folder %s: %w", f.options.Path, reasonOf(err))
	}
	return nil
}

// reasonOf leaves out the name of a temporary file, which tells nobody anything.
func reasonOf(err error) error {
	if reason, found := errors.AsType[syscall.Errno](err); found {
		return reason
	}
	return err
}
