package dir

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"hellogate/store"
)

// look is one look into the folder: all that it finds is of the same root.
type look struct {
	dir    *Dir
	root   *os.Root
	keeper *keeper // nil: nobody is told of changes
}

func (d *Dir) look(root *os.Root) *look { return &look{dir: d, root: root, keeper: d.kept()} }

// place is where a certificate is: its layout and the name that its files are called by.
type place struct {
	layout int
	base   string
}

// byFile answers with the files of bases, in the first layout in which there are any. A file without its other half lets
// another layout answer, and is a failure only when none does: Put goes through such a state.
func (l *look) byFile(held store.Validator, bases ...string) (*store.Bundle, error) {
	var half error
	for layout := range layouts {
		for _, base := range bases {
			bundle, err := l.byPlace(held, place{layout, base}, "")
			switch {
			case errors.As(err, new(halfError)):
				half = cmp.Or(half, err)
			case !errors.Is(err, store.ErrUnknown):
				return bundle, err
			}
		}
	}
	return nil, cmp.Or(half, store.ErrUnknown)
}

// byPlace answers with what is in one place. Of a place that the index named, only pairs that have the san are given,
// and it is a failure when there are none any more.
func (l *look) byPlace(held store.Validator, at place, san string) (*store.Bundle, error) {
	found, err := l.find(at)
	if err != nil {
		return nil, err
	}
	if found == nil {
		if san != "" {
			return nil, fmt.Errorf("%s: %w", at.base, errChanging)
		}
		return nil, store.ErrUnknown
	}
	defer found.close()
	now := validator(found.files())
	if now == held {
		return &store.Bundle{NotModified: true, Validator: now}, nil
	}
	pairs, err := found.read(san)
	if err != nil {
		return nil, err
	}
	return &store.Bundle{Pairs: pairs, Validator: now}, nil
}

// find opens what is in a place, or returns nil. The caller closes it.
func (l *look) find(at place) (*found, error) {
	found, err := l.open(at)
	if l.keeper == nil || found == nil || !l.keeper.follow(l.root, at.base, found.unwatched(l), true) {
		return found, err
	}
	// It is watched from now on, but what was opened may have been replaced before that.
	found.close()
	return l.open(at)
}

// files are the paths at which there may be files of a place.
func (l *look) files(at place) []string {
	var files []string
	for _, where := range layouts[at.layout].paths(l, at.base) {
		files = append(files, where.chain)
		if where.key != "" {
			files = append(files, where.key)
		}
	}
	return files
}

func (l *look) open(at place) (*found, error) {
	layout := layouts[at.layout]
	result := &found{either: layout.either}
	var half error
	for _, where := range layout.paths(l, at.base) {
		part, err := l.openPart(where)
		switch {
		case err != nil && layout.either && errors.As(err, new(halfError)):
			half = cmp.Or(half, err)
		case err != nil:
			result.close()
			return nil, err
		case part.chain != nil:
			result.parts = append(result.parts, part)
		}
	}
	if len(result.parts) == 0 {
		return nil, half
	}
	return result, nil
}

// openPart returns a part without files when there are none.
func (l *look) openPart(where paths) (part, error) {
	chain, chainErr := openFile(l.root, where.chain)
	if where.key == "" {
		if missing(chainErr) {
			return part{}, nil
		}
		return part{chain: chain}, chainErr
	}
	key, keyErr := openFile(l.root, where.key)
	if missing(chainErr) && missing(keyErr) {
		return part{}, nil
	}
	if chainErr == nil && keyErr == nil {
		return part{chain: chain, key: key}, nil
	}
	(part{chain: chain, key: key}).close()
	err := cmp.Or(chainErr, keyErr)
	if missing(err) {
		err = halfError{err}
	}
	return part{}, err
}

// halfError says that one file of a pair is there and the other is not.
type halfError struct{ error }

func (e halfError) Unwrap() error { return e.error }

// sans returns the SANs of the certificates in a place but for its own name, sorted, and when the first of them ends.
func (l *look) sans(at place) (names []string, notAfter time.Time, err error) {
	found, err := l.open(at)
	if err != nil || found == nil {
		return nil, notAfter, err
	}
	defer found.close()
	for _, part := range found.parts {
		text, err := part.chain.text()
		if err != nil {
			return nil, notAfter, err
		}
		more, ends := sans(text, part.key == nil)
		if len(names) == 0 || len(more) > 0 && ends.Before(notAfter) {
			notAfter = ends
		}
		names = append(names, more...)
	}
	own := unspell(at.base)
	names = slices.DeleteFunc(names, func(san string) bool { return san == own })
	slices.Sort(names)
	return slices.Compact(names), notAfter, nil
}
