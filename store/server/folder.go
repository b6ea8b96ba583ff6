package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

var (
	errUnknown  = errors.New("unknown name")
	errOpenKey  = errors.New("others than its owner may open it: chmod 600 it, or allow open keys")
	errChanging = errors.New("its files are being replaced")
	errGone     = errors.New("it was removed")
)

// folder finds pairs in a directory. The directory is opened anew for each
// look, so that one that was replaced is seen, and through os.Root, so that no
// link in it leads out.
type folder struct {
	path     string
	openKeys bool
	log      zerolog.Logger

	mu   sync.Mutex // guards read; never held while a file is touched
	read map[string]version

	index    atomic.Pointer[index]
	scanning sync.Mutex // held by whoever makes the next index; those wait for it whose pair is gone
}

// version is what was made of a pair's files as they were last read.
type version struct {
	chain, key stamp
	pair       *pair // possibly of a version before
	err        error // why pair is not of this version
}

func newFolder(path string, openKeys bool, log zerolog.Logger) (*folder, error) {
	made := &folder{path: path, openKeys: openKeys, log: log, read: make(map[string]version)}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	first, err := made.scan(root, &index{})
	if err != nil {
		return nil, err
	}
	made.index.Store(first)
	log.Info().Int("certificates", len(first.files)).Int("names", len(first.names)).Msg("certificate directory read")
	return made, nil
}

// find returns the pair for name, or an error that is errUnknown when there is
// none.
func (f *folder) find(name string) (*pair, error) {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if found, err := f.load(root, name); !errors.Is(err, fs.ErrNotExist) {
		return found, err
	}
	if found, err := f.findSAN(root, name); !errors.Is(err, errUnknown) {
		return found, err
	}
	_, parent, below := strings.Cut(name, ".")
	if !below {
		return nil, errUnknown
	}
	for _, file := range []string{"*." + parent, "_." + parent} {
		if found, err := f.load(root, file); !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
	}
	return f.findSAN(root, "*."+parent)
}

// findSAN returns a pair that has the SAN. When the index names one that is
// gone, the directory is looked at once more.
func (f *folder) findSAN(root *os.Root, san string) (*pair, error) {
	asked := time.Now()
	found, err := f.loadFirst(root, f.indexed(root).names[san], san)
	if errors.Is(err, errGone) {
		found, err = f.loadFirst(root, f.rescanned(root, asked).names[san], san)
	}
	return found, err
}

// loadFirst returns the first usable pair of those that the index says have the
// SAN, or else what is wrong with the first of them. That some are gone is told
// only when nothing else is wrong.
func (f *folder) loadFirst(root *os.Root, files []string, san string) (*pair, error) {
	result := errUnknown
	for _, file := range files {
		found, err := f.loadFor(root, file, san)
		if err == nil {
			return found, nil
		}
		if result == errUnknown || errors.Is(result, errGone) {
			result = err
		}
	}
	return nil, result
}

// loadFor returns the pair of files if it has the SAN.
func (f *folder) loadFor(root *os.Root, file, san string) (*pair, error) {
	found, err := f.load(root, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s.crt: %w", file, errGone)
	case err == nil && !found.holds(san):
		return nil, fmt.Errorf("%s.crt and %s.key: %w", file, file, errChanging)
	}
	return found, err
}

// load returns the pair of files, or an error that is fs.ErrNotExist when there
// is no such certificate.
func (f *folder) load(root *os.Root, file string) (*pair, error) {
	chain, err := root.Stat(file + ".crt")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	key, err := root.Stat(file + ".key")
	if err != nil {
		return nil, notNoPair(file, err)
	}
	held := f.held(file)
	if !held.chain.is(chain) || !held.key.is(key) {
		held = f.reload(root, file, held)
	}
	if held.pair == nil {
		return nil, held.err
	}
	return held.pair, nil
}

// notNoPair keeps the error of a missing key from being taken for an unknown
// name.
func notNoPair(file string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s.crt has no %s.key", file, file)
	}
	return err
}

func (f *folder) held(file string) version {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read[file]
}

// reload reads a pair. One that does not fit together is taken to be half
// written: what was held before stays in use.
func (f *folder) reload(root *os.Root, file string, before version) version {
	chain, chainStamp, err := readFile(root, file+".crt")
	if err != nil {
		return version{err: notNoPair(file, err)}
	}
	key, keyStamp, err := readFile(root, file+".key")
	if err != nil {
		return version{err: notNoPair(file, err)}
	}
	now := version{chain: chainStamp, key: keyStamp}
	if keyStamp.info.Mode().Perm()&0o077 != 0 && !f.openKeys {
		now.err = fmt.Errorf("%s.key has mode %04o: %w", file, keyStamp.info.Mode().Perm(), errOpenKey)
	} else if now.pair, err = parsePair(file, chain, key); err != nil {
		now.pair, now.err = before.pair, fmt.Errorf("%s.crt and %s.key: %w", file, file, err)
	}
	f.mu.Lock()
	f.read[file] = now
	f.mu.Unlock()
	if now.err != nil && now.pair != nil && before.err == nil {
		f.log.Warn().Err(now.err).Msg("certificate not usable, the one before it stays in use")
	}
	return now
}

// forget drops what is held of files that are gone.
func (f *folder) forget(exists func(file string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for file := range f.read {
		if !exists(file) {
			delete(f.read, file)
		}
	}
}
