package folder

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// random is a name that nobody else takes.
func random() string { return rand.Text() }

// walk calls each with the keys in a folder and below it.
func (f *Folder) walk(ctx context.Context, elements []string, each func(key string)) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	at, err := f.enter(elements, false)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := at.entries()
	at.close()
	if err != nil {
		return err
	}
	for _, entry := range entries {
		below := append(elements[:len(elements):len(elements)], entry.Name())
		switch {
		case !isKey(below):
		case entry.Type().IsRegular():
			each(path.Join(below...))
		case entry.IsDir() && len(below) < maxElements:
			if err := f.walk(ctx, below, each); err != nil {
				return err
			}
		}
	}
	return nil
}

// isKey says whether the last of elements may be one, where the others are.
func isKey(elements []string) bool {
	last := elements[len(elements)-1]
	return checkElement(last) == nil && (len(elements) > 1 || last != locks)
}

// sweep removes what a killed process was about to write. That it can't is no matter.
func (f *Folder) sweep(top *place) {
	aside, err := top.enter(temporary, false)
	if err != nil {
		return
	}
	defer aside.close()
	entries, err := aside.entries()
	if err != nil {
		return
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || time.Since(info.ModTime()) < abandoned {
			continue
		}
		aside.discard(entry)
		f.options.Log.Info().Str("path", aside.path(entry.Name())).Time("since", info.ModTime()).
			Msg("acme folder: left by a killed process, removed")
	}
}

// discard removes a temporary file, or the folder of a lock that was about to be taken.
func (p *place) discard(entry fs.DirEntry) {
	name := entry.Name()
	if !entry.IsDir() {
		_ = unix.Unlinkat(p.descriptor(), name, 0)
		return
	}
	p.discardFolder(name)
}

func (p *place) discardFolder(name string) {
	inside, err := p.enter(name, false)
	if err != nil {
		return
	}
	entries, _ := inside.entries()
	for _, each := range entries {
		_ = unix.Unlinkat(inside.descriptor(), each.Name(), 0)
	}
	inside.close()
	_ = unix.Unlinkat(p.descriptor(), name, unix.AT_REMOVEDIR)
}
