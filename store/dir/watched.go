package dir

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Bounds on what is remembered of links.
const (
	// maxBehind is the number of names that one entry behind a link may be on the way to before all of them are taken to
	// have changed with it.
	maxBehind = 64
	// maxEntries is the number of entries behind links.
	maxEntries = 1 << 20
)

// watched is what is known of the folders below the folder, by their path in it with no link in it.
type watched struct {
	folders map[string]bool
	// containers hold folders that are watched.
	containers map[string]bool
	// behind says, of each file, folder and link that a link leads to or through, whose files are reached by it.
	behind map[string]*behind
}

type behind struct {
	bases []string
	many  bool
}

func newWatched() watched {
	return watched{folders: make(map[string]bool), containers: make(map[string]bool), behind: make(map[string]*behind)}
}

func (w *watched) add(folder string) {
	w.folders[folder] = true
	if in := path.Dir(folder); in != "." {
		w.containers[in] = true
	}
}

// holds says whether a folder holds others that are watched.
func (w *watched) holds(folder string) bool {
	held := w.behind[folder]
	return w.containers[folder] || held != nil && held.many
}

// depend notes that base is reached by an entry behind a link, and says whether that is news. full: it was not noted.
func (w *watched) depend(entry, base string) (added, full bool) {
	held := w.behind[entry]
	switch {
	case held == nil && len(w.behind) >= maxEntries:
		return false, true
	case held == nil:
		held = &behind{}
		w.behind[entry] = held
	case held.many || slices.Contains(held.bases, base):
		return false, false
	}
	held.bases = append(held.bases, base)
	if base == "" || len(held.bases) > maxBehind {
		held.bases, held.many = nil, true
	}
	return true, false
}

// trace follows p, a path below root, through the links in it. It returns the folders that it leads through, as paths
// with no link in them, and each entry from the first link's target on.
func trace(root *os.Root, p string) (folders, entries []string) {
	const maxLinks = 32
	at, links := ".", 0
	for rest := strings.Split(p, "/"); len(rest) > 0; {
		step := rest[0]
		rest = rest[1:]
		switch {
		case step == "" || step == ".":
			continue
		case step == ".." && at == ".":
			return folders, entries // out of the folder, where nothing is read
		case step == "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, step)
		if !slices.Contains(folders, at) {
			folders = append(folders, at)
		}
		if links > 0 {
			entries = append(entries, next)
		}
		info, err := root.Lstat(next)
		switch {
		case err != nil:
			return folders, entries
		case info.Mode()&fs.ModeSymlink == 0:
			at = next
			continue
		}
		target, err := root.Readlink(next)
		if links++; err != nil || path.IsAbs(target) || links > maxLinks {
			return folders, entries
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return folders, entries
}
