package folder

import (
	"context"
	"errors"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// fullLooks is how often, in looks, every file is looked at: else the folders only, which tell of all that Save and Remove
// do but not of a file that somebody writes to where it is.
const fullLooks = 15

// Watch calls changed, from this goroutine, with the keys below prefix that were added, given another content or removed
// since its last look, whoever did it, in order. Its first call, with nil, says that what changes from then on will be told;
// what has changed before may have been missed. It returns when ctx is done. No content is read.
func (f *Folder) Watch(ctx context.Context, prefix string, changed func(keys []string)) {
	elements, err := f.below(ctx, prefix)
	if err != nil {
		return // done, or a prefix that no key has
	}
	w := watcher{folder: f, elements: elements, root: newBranch()}
	ticker := time.NewTicker(f.options.Poll)
	defer ticker.Stop()
	for looks := 0; ; looks++ {
		keys, err := w.look(looks%fullLooks == 0)
		w.tell(err)
		switch {
		case ctx.Err() != nil:
			return
		case looks == 0:
			changed(nil)
		case len(keys) > 0:
			slices.Sort(keys)
			changed(keys)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

type watcher struct {
	folder   *Folder
	elements []string
	root     *branch
	failing  bool
	full     bool
	changed  []string
}

// mark is what is different of a file that was written anew.
type mark struct {
	inode    uint64
	size     int64
	modified unix.Timespec
}

func markOf(stat unix.Stat_t) mark {
	return mark{inode: stat.Ino, size: stat.Size, modified: stat.Mtim}
}

// branch is a folder as it was when it was last looked at.
type branch struct {
	mark mark
	// settled: it had the same mark twice, so that no change can hide behind the coarseness of its file system's clock.
	settled bool
	folders map[string]*branch
	files   map[string]mark
}

func newBranch() *branch {
	return &branch{folders: make(map[string]*branch), files: make(map[string]mark)}
}

// look returns what has changed. After an error, what could not be looked at counts as it was.
func (w *watcher) look(full bool) ([]string, error) {
	w.full, w.changed = full, nil
	at, err := w.folder.enter(w.elements, false)
	if errors.Is(err, unix.ENOENT) {
		w.drop(w.root, path.Join(w.elements...))
		w.root = newBranch()
		return w.changed, nil
	}
	if err != nil {
		return nil, err
	}
	defer at.close()
	var stat unix.Stat_t
	if err := unix.Fstat(at.descriptor(), &stat); err != nil {
		return nil, err
	}
	err = w.visit(at, w.elements, w.root, markOf(stat))
	return w.changed, err
}

// visit looks at an open folder, whose mark is now as given.
func (w *watcher) visit(at *place, elements []string, known *branch, now mark) error {
	if w.full || !known.settled || known.mark != now {
		if err := w.read(at, elements, known); err != nil {
			known.settled = false
			return err
		}
	}
	known.settled = known.mark == now
	known.mark = now
	var failed error
	for name, below := range known.folders {
		failed = errors.Join(failed, w.descend(at, append(elements[:len(elements):len(elements)], name), below))
	}
	return failed
}

// descend looks at a folder in an open one; at its mark alone if that says all.
func (w *watcher) descend(above *place, elements []string, known *branch) error {
	name := elements[len(elements)-1]
	var stat unix.Stat_t
	err := unix.Fstatat(above.descriptor(), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && !w.full && known.settled && known.mark == markOf(stat) && len(known.folders) == 0 {
		return nil
	}
	if err == nil {
		var at *place
		if at, err = above.enter(name, false); err == nil {
			defer at.close()
			return w.visit(at, elements, known, markOf(stat))
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return nil // gone since its name was read: the next look sees that
	}
	return err
}

// read looks at all that is in an open folder.
func (w *watcher) read(at *place, elements []string, known *branch) error {
	entries, err := at.entries()
	if err != nil {
		return err
	}
	folders, files := make(map[string]bool), make(map[string]mark)
	for _, entry := range entries {
		below := append(elements[:len(elements):len(elements)], entry.Name())
		if !isKey(below) {
			continue
		}
		var stat unix.Stat_t
		if err := unix.Fstatat(at.descriptor(), entry.Name(), &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue
		}
		switch stat.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			files[entry.Name()] = markOf(stat)
		case unix.S_IFDIR:
			folders[entry.Name()] = len(below) < maxElements
		}
	}
	w.compare(elements, known, folders, files)
	return nil
}

// compare notes what is different in a folder now.
func (w *watcher) compare(elements []string, known *branch, folders map[string]bool, files map[string]mark) {
	for name, now := range files {
		if before, there := known.files[name]; !there || before != now {
			w.changed = append(w.changed, path.Join(path.Join(elements...), name))
		}
	}
	for name := range known.files {
		if _, there := files[name]; !there {
			w.changed = append(w.changed, path.Join(path.Join(elements...), name))
		}
	}
	known.files = files
	for name, below := range known.folders {
		if !folders[name] {
			w.drop(below, path.Join(path.Join(elements...), name))
			delete(known.folders, name)
		}
	}
	for name, follow := range folders {
		if known.folders[name] == nil && follow {
			known.folders[name] = newBranch()
		}
	}
}

// drop notes that all of a folder is gone.
func (w *watcher) drop(known *branch, at string) {
	for name := range known.files {
		w.changed = append(w.changed, path.Join(at, name))
	}
	for name, below := range known.folders {
		w.drop(below, path.Join(at, name))
	}
}

// tell logs, once, that changes can't be seen.
func (w *watcher) tell(err error) {
	if err != nil && !w.failing {
		w.folder.options.Log.Warn().Err(err).Str("path", w.folder.options.Path).Msg("acme folder: changes by others can't be seen for now")
	}
	w.failing = err != nil
}
