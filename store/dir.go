package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxFile bounds a file of a directory store, in bytes. It leaves room for the text that tools write around a pair.
const maxFile = 4 * MaxPairBytes

// Dir is a store of files: NAME.crt holds the chain and NAME.key its key, both in PEM. There is nothing to configure and
// nothing is kept: files may be added, replaced and removed at any time. Nothing outside of the directory is read, not
// through a symbolic link either, though the directory itself may be one.
type Dir struct {
	name, path string
}

// NewDir returns the store of the directory at path, which must be there. name is what it is called in errors; empty: its
// path.
func NewDir(name, path string) (*Dir, error) {
	if name == "" {
		name = path
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", name, err)
	}
	root, err := os.OpenRoot(absolute)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", name, err)
	}
	return &Dir{name: name, path: absolute}, root.Close()
}

// Name is what the store is called in errors and in its bundles.
func (d *Dir) Name() string { return d.name }

// Fetch reads the pair of request.Name. It is a no when both files are missing; one without the other, or a key that is
// not the certificate's, is a failure of that name alone: somebody is writing them just now, or made a mistake. The
// bundle has no freshness, and a validator made of both files' times, sizes and inodes.
func (d *Dir) Fetch(ctx context.Context, request Request) (*Bundle, error) {
	bundle, err := d.fetch(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("store %s: get %q: %w", d.name, request.Name, err)
	}
	bundle.Store = d.name
	return bundle, nil
}

func (d *Dir) fetch(ctx context.Context, request Request) (*Bundle, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Failure{Err: err}
	}
	if err := checkName(request.Name); err != nil {
		return nil, &Failure{Err: err, Exempt: true}
	}
	// Opened anew each time: the directory may be replaced as a whole.
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, &Failure{Err: err, Unreachable: true}
	}
	defer root.Close()
	bundle, err := readPair(root, request)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return nil, &Failure{Err: err, Exempt: true}
	}
	return bundle, err
}

func readPair(root *os.Root, request Request) (*Bundle, error) {
	chain, chainErr := openFile(root, request.Name+".crt")
	if chainErr == nil {
		defer chain.Close()
	}
	key, keyErr := openFile(root, request.Name+".key")
	if keyErr == nil {
		defer key.Close()
	}
	if missing(chainErr) && missing(keyErr) {
		return nil, ErrUnknown
	}
	if err := cmp.Or(chainErr, keyErr); err != nil {
		return nil, err
	}
	validator := Validator{ETag: chain.stamp + key.stamp}
	if validator == request.Validator {
		return &Bundle{NotModified: true, Validator: validator}, nil
	}
	pair, err := decodeFiles(chain, key)
	if err != nil {
		return nil, err
	}
	return &Bundle{Pairs: []Pair{pair}, Validator: validator}, nil
}

// file is an open regular file, and its stamp from before anything was read of it.
type file struct {
	*os.File
	stamp string
}

func openFile(root *os.Root, name string) (*file, error) {
	// O_NONBLOCK: opening a named pipe would wait for its writer.
	opened, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s: not a regular file", name)
	case info.Size() > maxFile:
		err = fmt.Errorf("%s: %d bytes: at most %d allowed", name, info.Size(), maxFile)
	default:
		return &file{File: opened, stamp: stamp(info)}, nil
	}
	return nil, errors.Join(err, opened.Close())
}

// missing reports that there can be no such file. A name of 253 bytes makes a file name longer than there may be.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG)
}

// decodeFiles decodes the two files as the two members of an answer, and makes sure that they belong together.
func decodeFiles(chain, key *file) (Pair, error) {
	var texts [2]string
	for i, file := range []*file{chain, key} {
		text, err := readFile(file, file.Name(), maxFile)
		if err != nil {
			return Pair{}, err
		}
		texts[i] = string(text)
	}
	pair, err := pairText{cert: &texts[0], key: &texts[1]}.decode()
	if err != nil {
		return Pair{}, err
	}
	certificates, err := parseChain(pair.Chain)
	if err != nil {
		return Pair{}, err
	}
	signer, err := ParseKey(pair.Key)
	if err != nil {
		return Pair{}, err
	}
	_, err = order(certificates, signer.Public())
	return pair, err
}
