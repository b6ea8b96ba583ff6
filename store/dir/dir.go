// Package dir is the store that is a folder of PEM files, laid out as the usual tools lay them out: see layouts.
//
// The rule it guards: it answers from what is on the disk at that moment, and nothing outside of the folder is ever read.
// A pair that is half there or half written is a failure of its name, never a no.
package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"hellogate/sni"
	"hellogate/store"
)

// Options say which folder to take.
type Options struct {
	// Name is what the store is called in errors and in its bundles; empty: Path.
	Name string
	// Path is the folder. It must be there when the store is opened, and may be replaced as a whole later. It may be a
	// symbolic link, but no link in it leads out of it.
	Path string
	// Log is told of what nobody asks for: certificates that were staged and never activated, and limits that were
	// reached. The zero value: nothing is logged.
	Log zerolog.Logger
}

// Dir is a store of files. Nothing of them is kept: they may be added, replaced and removed at any time. It is a
// store.Watcher and a store.Writer.
type Dir struct {
	name, path string
	log        zerolog.Logger

	writing chan struct{} // holds a token while somebody writes

	mu     sync.Mutex // guards what follows; never held while a file is touched
	closed bool
	keeper *keeper
	listed map[string]listing
	events int // that may have changed what is listed
	staged map[string]string
}

// Open returns the store of the folder at options.Path. It reads none of the files; what a crash left behind of Put is
// removed. The caller closes it.
func Open(options Options) (*Dir, error) {
	if options.Name == "" {
		options.Name = options.Path
	}
	path, err := filepath.Abs(options.Path)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", options.Name, err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", options.Name, err)
	}
	removeLeftovers(root)
	return &Dir{
		name:    options.Name,
		path:    path,
		log:     options.Log,
		writing: make(chan struct{}, 1),
		listed:  make(map[string]listing),
		staged:  make(map[string]string),
	}, root.Close()
}

// Name is what the store is called in errors and in its bundles.
func (d *Dir) Name() string { return d.name }

// Close ends the work in the background and waits for it. A Watch that is under way returns. A Fetch that needs the SANs
// of all certificates is a failure from then on.
func (d *Dir) Close() {
	d.mu.Lock()
	d.closed = true
	held := d.keeper
	d.mu.Unlock()
	if held != nil {
		held.close()
	}
}

// Fetch reads the pairs of request.Name: the files of that name, else a certificate with that SAN, else the files of the
// wildcard above it, else a certificate with the wildcard as a SAN. It is a no when nothing of that is there; a file
// without its other half, or a key that is not the certificate's, is a failure of that name alone: somebody is writing
// them just now, or made a mistake. The bundle has no freshness, and a validator that changes with any of its files.
//
// The first request that needs the SANs of all certificates begins to read them, and waits for that as long as ctx lets
// it; then it is a failure.
func (d *Dir) Fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	bundle, err := d.fetch(ctx, request)
	d.remember(request.Name, bundle, err)
	if err != nil {
		return nil, fmt.Errorf("store %s: get %q: %w", d.name, request.Name, err)
	}
	bundle.Store = d.name
	return bundle, nil
}

func (d *Dir) fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	if err := ctx.Err(); err != nil {
		return nil, &store.Failure{Err: err}
	}
	if err := checkName(request.Name); err != nil {
		return nil, &store.Failure{Err: err, Exempt: true}
	}
	// Opened anew each time: the folder may be replaced as a whole.
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, &store.Failure{Err: err, Unreachable: true}
	}
	defer root.Close()
	if request.From != "" && request.From != d.name {
		request.Validator = store.Validator{}
	}
	bundle, err := d.resolve(ctx, d.look(root), request)
	if err != nil && !errors.Is(err, store.ErrUnknown) {
		return nil, &store.Failure{Err: err, Exempt: true}
	}
	return bundle, err
}

// resolve goes through the ways in which there may be a certificate for a name. The first that there is decides.
func (d *Dir) resolve(ctx context.Context, l *look, request store.Request) (*store.Bundle, error) {
	name := request.Name
	bundle, err := l.byFile(request.Validator, name)
	if !errors.Is(err, store.ErrUnknown) {
		return bundle, err
	}
	if bundle, err := d.bySAN(ctx, l, request.Validator, name); !errors.Is(err, store.ErrUnknown) {
		return bundle, err
	}
	_, parent, below := strings.Cut(name, ".")
	if !below {
		return nil, store.ErrUnknown
	}
	if bundle, err := l.byFile(request.Validator, wildcards(parent)...); !errors.Is(err, store.ErrUnknown) {
		return bundle, err
	}
	return d.bySAN(ctx, l, request.Validator, "*."+parent)
}

// bySAN answers with the first certificate of those with the SAN that can be used, or else with what is wrong with the
// first of them.
func (d *Dir) bySAN(ctx context.Context, l *look, held store.Validator, san string) (*store.Bundle, error) {
	keeper := d.keep()
	if keeper == nil {
		return nil, errClosed
	}
	l.keeper = keeper
	places, err := keeper.lookup(ctx, san)
	if err != nil {
		return nil, err
	}
	result := store.ErrUnknown
	for _, place := range places {
		bundle, err := l.byPlace(held, place, san)
		if err == nil {
			return bundle, nil
		}
		if errors.Is(result, store.ErrUnknown) {
			result = err
		}
	}
	return nil, result
}

var errClosed = errors.New("the store is closed")

// keep returns the keeper, which it starts if there is none yet; nil once the store is closed.
func (d *Dir) keep() *keeper {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keeper == nil && !d.closed {
		d.keeper = startKeeper(d)
	}
	if d.closed {
		return nil
	}
	return d.keeper
}

// kept returns the keeper if there is one.
func (d *Dir) kept() *keeper {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keeper
}

// checkName refuses what sni.Normalize would not have returned: it is the last look before a name becomes a file's.
func checkName(name string) error {
	normal, err := sni.Normalize(name)
	if err != nil {
		return err
	}
	if normal != name {
		return fmt.Errorf("name %q is not normalised", name)
	}
	return nil
}
