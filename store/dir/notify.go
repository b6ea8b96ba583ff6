package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/fsnotify/fsnotify"
)

// native says whether the system tells of changes in a folder for less than an open file for each file in it, which is
// what kqueue takes.
const native = runtime.GOOS == "linux"

// newNotify is replaced by tests.
var newNotify = fsnotify.NewWatcher

var errTooManyLinks = fmt.Errorf("more than %d files behind links", maxEntries)

// watchAnew forgets what was watched, and watches the folder itself.
func (k *keeper) watchAnew() {
	k.stopWatching()
	var made *fsnotify.Watcher
	if native {
		var err error
		if made, err = newNotify(); err != nil {
			k.degrade(err)
		}
	} else {
		k.degraded.Store(true)
	}
	k.mu.Lock()
	k.notify, k.watched = made, newWatched()
	k.mu.Unlock()
	if made != nil {
		k.group.Go(func() { k.listen(made) })
	}
	k.watch(".", true)
	k.dir.forgetIssuers()
}

func (k *keeper) stopWatching() {
	k.mu.Lock()
	held := k.notify
	k.notify = nil
	k.mu.Unlock()
	if held != nil {
		held.Close()
	}
}

// listen takes note of what notify tells, until it is closed.
func (k *keeper) listen(notify *fsnotify.Watcher) {
	for {
		select {
		case event, open := <-notify.Events:
			if !open {
				return
			}
			k.note(event)
		case err, open := <-notify.Errors:
			if !open {
				return
			}
			k.trouble(err)
		}
	}
}

func (k *keeper) trouble(err error) {
	if !errors.Is(err, fsnotify.ErrEventOverflow) {
		k.degrade(err)
		return
	}
	k.dir.log.Warn().Str("store", k.dir.name).Err(err).Msg("too many changes in the certificate folder at once: all names are looked at")
	k.mu.Lock()
	k.overflowed = true
	k.mu.Unlock()
	k.rouse()
}

// note finds out what an event may have changed.
func (k *keeper) note(event fsnotify.Event) {
	at, err := filepath.Rel(k.dir.path, event.Name)
	if err != nil {
		return
	}
	moved := event.Has(fsnotify.Create | fsnotify.Remove | fsnotify.Rename)
	base, container := subject(at)
	if moved && (base == at || container) {
		k.dir.forgetIssuers()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if at == "." {
		if event.Has(fsnotify.Remove | fsnotify.Rename) {
			k.replaced = true
			k.rouse()
		}
		return
	}
	if moved {
		if container && k.watched.folders[at] {
			k.watched.containers[at] = true // which it may have been without a folder in it
		}
		delete(k.watched.folders, at)
		if container || k.watched.holds(at) {
			k.pend(change{container: at})
		}
	}
	if base != "" {
		k.pend(change{base: base})
	}
	if held := k.watched.behind[at]; held != nil {
		for _, base := range held.bases {
			k.pend(change{base: base})
		}
		if held.many {
			k.pend(change{container: at})
		}
	}
}

// sees says whether every change in a folder is seen.
func (k *keeper) sees(folder string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.notify != nil && k.watched.folders[folder] && !k.degraded.Load()
}

func (k *keeper) watching(folder string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.notify == nil || k.watched.folders[folder]
}

// follow watches the folders that the paths of base's files lead through, and says whether any was not watched before.
// there: the files are there, so that a folder that may not be watched matters.
func (k *keeper) follow(root *os.Root, base string, files []string, there bool) bool {
	news := false
	for _, file := range files {
		folders, entries := trace(root, file)
		for _, folder := range folders {
			news = k.watch(folder, there) || news
		}
		news = k.depend(entries, base) || news
	}
	return news
}

func (k *keeper) depend(entries []string, base string) bool {
	news, full := false, false
	k.mu.Lock()
	for _, entry := range entries {
		added, dropped := k.watched.depend(entry, base)
		news, full = news || added, full || dropped
	}
	k.mu.Unlock()
	if full {
		k.degrade(errTooManyLinks)
	}
	return news
}

// watch watches a folder, and says whether it does so only now.
func (k *keeper) watch(folder string, there bool) bool {
	k.mu.Lock()
	notify, held := k.notify, k.watched.folders[folder]
	k.mu.Unlock()
	if notify == nil || held {
		return false
	}
	err := notify.Add(filepath.Join(k.dir.path, folder))
	switch {
	case errors.Is(err, fsnotify.ErrClosed), missing(err), errors.Is(err, fs.ErrPermission) && !there:
		return false
	case err != nil:
		k.degrade(fmt.Errorf("watch %s: %w", folder, err))
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.notify == notify {
		k.watched.add(folder)
	}
	return true
}

// degrade says, once, that changes can't all be seen: inotify's limits are reached, as a rule. The names that were
// answered for are looked at in turn from now on, besides what can still be watched.
func (k *keeper) degrade(err error) {
	if k.degraded.Swap(true) {
		return
	}
	k.mu.Lock()
	k.limited = err
	k.mu.Unlock()
	k.dir.log.Warn().Str("store", k.dir.name).Err(err).
		Str("note", "see fs.inotify.max_user_watches and fs.inotify.max_user_instances; changes are looked for in turn instead, which is slower").
		Msg("certificate folder can't be watched")
	k.publishAll()
}
