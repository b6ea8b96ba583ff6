package server

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// index says which certificate has which SAN. It is immutable: a change in the
// directory makes a new one.
type index struct {
	files map[string]entry    // of every pair, by its files' name
	names map[string][]string // the names of pairs' files by SAN, the one to take first
	begun time.Time           // when the directory was looked at
	due   time.Time           // when to look at it again
}

// entry is what the index holds of a certificate.
type entry struct {
	chain    stamp
	names    []string
	notAfter time.Time
	problem  string // why names are not of this version, "" when they are
}

const (
	scanEvery   = time.Second
	scanAtLeast = 10 * time.Second // often, however slow the disk is
)

// indexed returns the index, made anew by this caller when it is due and nobody
// else is at it.
func (f *folder) indexed(root *os.Root) *index {
	held := f.index.Load()
	if time.Now().Before(held.due) || !f.scanning.TryLock() {
		return held
	}
	defer f.scanning.Unlock()
	return f.renew(root)
}

// rescanned returns an index that was begun after since.
func (f *folder) rescanned(root *os.Root, since time.Time) *index {
	f.scanning.Lock()
	defer f.scanning.Unlock()
	if held := f.index.Load(); held.begun.After(since) {
		return held
	}
	return f.renew(root)
}

// renew makes the index anew. The caller holds f.scanning.
func (f *folder) renew(root *os.Root) *index {
	held := f.index.Load()
	made, err := f.scan(root, held)
	if err != nil {
		f.log.Error().Err(err).Msg("certificate directory not readable")
		made = &index{files: held.files, names: held.names, begun: time.Now(), due: time.Now().Add(scanEvery)}
	}
	f.index.Store(made)
	return made
}

// scan makes an index. It reads the files that changed since the one before.
func (f *folder) scan(root *os.Root, before *index) (*index, error) {
	started := time.Now()
	files, err := listPairs(root)
	if err != nil {
		return nil, err
	}
	made := &index{files: make(map[string]entry, len(files)), names: before.names, begun: started}
	changed := len(files) != len(before.files) || before.names == nil
	for _, file := range files {
		held := before.files[file]
		info, err := root.Stat(file + ".crt")
		if err != nil || !held.chain.is(info) {
			held, changed = f.readEntry(root, file, held), true
		}
		made.files[file] = held
	}
	if changed {
		made.names = made.bySAN()
	}
	f.forget(func(file string) bool { _, there := made.files[file]; return there })
	made.due = time.Now().Add(pause(time.Since(started), before.names == nil))
	return made, nil
}

// pause is how long to leave the directory alone after a scan. A large one on a
// slow disk must not keep a core busy; the first scan, which reads every file,
// says nothing of how long the next one takes.
func pause(took time.Duration, first bool) time.Duration {
	if first {
		return scanEvery
	}
	return min(max(scanEvery, 20*took), scanAtLeast)
}

// listPairs returns the names, without suffix, that have a .crt and a .key.
func listPairs(root *os.Root) ([]string, error) {
	directory, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer directory.Close()
	names, err := directory.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]bool)
	for _, name := range names {
		if file, found := strings.CutSuffix(name, ".key"); found {
			keys[file] = true
		}
	}
	var pairs []string
	for _, name := range names {
		if file, found := strings.CutSuffix(name, ".crt"); found && keys[file] && file != "" {
			pairs = append(pairs, file)
		}
	}
	return pairs, nil
}

// readEntry reads a certificate. What was held of one that cannot be read, or
// is half written, stays; of one that is gone, or a link to nothing, it does not.
func (f *folder) readEntry(root *os.Root, file string, held entry) entry {
	text, version, err := readFile(root, file+".crt")
	if err == nil {
		certificate, parseErr := firstCertificate(text)
		if parseErr == nil {
			return entry{chain: version, names: certNames(certificate), notAfter: certificate.NotAfter}
		}
		err = fmt.Errorf("%s.crt: %w", file, parseErr)
	}
	problem := err.Error()
	if problem != held.problem {
		f.log.Warn().Str("error", problem).Msg("certificate not indexed")
	}
	if errors.Is(err, fs.ErrNotExist) {
		held.names = nil
	}
	held.chain, held.problem = version, problem
	return held
}

// bySAN returns the files to take for each SAN: those of the certificate that is
// valid longest first, by name among equals. The others are for when the first
// cannot be served.
func (i *index) bySAN() map[string][]string {
	names := make(map[string][]string)
	files := slices.Sorted(maps.Keys(i.files))
	slices.SortStableFunc(files, func(a, b string) int { return i.files[b].notAfter.Compare(i.files[a].notAfter) })
	for _, file := range files {
		for _, name := range i.files[file].names {
			if held := names[name]; len(held) == 0 || held[len(held)-1] != file {
				names[name] = append(held, file)
			}
		}
	}
	return names
}
