package dir

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"hellogate/store"
)

// temporary is the folder in which files are written before they are renamed. No name begins with a dot.
const temporary = ".hellogate"

// staleAfter is the age at which a temporary file is no longer anybody's.
const staleAfter = time.Hour

// Put writes NAME.crt and NAME.key for one pair, or NAME.pem for several, with mode 0600, and removes the other form. A
// file is there as a whole or not at all, whenever the machine stops; between the two renames of a pair a reader finds a
// key that is not the certificate's, which is a failure, and never another's pair. Several writers take turns.
func (d *Dir) Put(ctx context.Context, name string, pairs []store.Pair) error {
	if err := d.put(ctx, name, pairs); err != nil {
		return fmt.Errorf("store %s: put %q: %w", d.name, name, err)
	}
	return nil
}

func (d *Dir) put(ctx context.Context, name string, pairs []store.Pair) error {
	if err := checkName(name); err != nil {
		return err
	}
	files, obsolete, err := encode(name, pairs)
	if err != nil {
		return err
	}
	select {
	case d.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.writing }()
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return err
	}
	defer root.Close()
	return write(ctx, root, files, obsolete)
}

// output is a file to be written.
type output struct {
	path, temporary string
	text            []byte
}

// encode makes the files in the order in which they are to be put into place. obsolete are those of the other form, in
// the order in which they are to be removed.
func encode(name string, pairs []store.Pair) (files []output, obsolete []string, err error) {
	texts := make([][2][]byte, len(pairs))
	var all []byte
	for i, pair := range pairs {
		if texts[i], err = encodePair(pair); err != nil {
			return nil, nil, fmt.Errorf("pair %d of %d: %w", i+1, len(pairs), err)
		}
		all = slices.Concat(all, texts[i][0], texts[i][1])
	}
	switch {
	case len(pairs) == 0:
		return nil, nil, errors.New("no pairs")
	case len(all) > maxFile:
		return nil, nil, fmt.Errorf("%d bytes: at most %d allowed", len(all), maxFile)
	}
	// What is written must be what Fetch can read.
	if _, err := store.DecodePEM(all); err != nil {
		return nil, nil, err
	}
	if len(pairs) == 1 {
		files = []output{{path: name + ".key", text: texts[0][1]}, {path: name + ".crt", text: texts[0][0]}}
		return files, []string{name + ".pem", name + ".pem.rsa", name + ".pem.ecdsa"}, nil
	}
	// With the key gone the certificate is half a pair, which lets the other form answer.
	obsolete = []string{name + ".key", name + ".crt", name + ".pem.rsa", name + ".pem.ecdsa"}
	return []output{{path: name + ".pem", text: all}}, obsolete, nil
}

// encodePair returns the chain and the key of a pair as PEM.
func encodePair(pair store.Pair) ([2][]byte, error) {
	if _, err := leafOf(pair); err != nil {
		return [2][]byte{}, err
	}
	signer, err := store.ParseKey(pair.Key)
	if err != nil {
		return [2][]byte{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return [2][]byte{}, fmt.Errorf("private key: %w", err)
	}
	var chain []byte
	for _, certificate := range pair.Chain {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})...)
	}
	return [2][]byte{chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}, nil
}

// write puts files into place, and removes those that are obsolete then.
func write(ctx context.Context, root *os.Root, files []output, obsolete []string) error {
	defer func() {
		for _, file := range files {
			if file.temporary != "" {
				root.Remove(file.temporary) // gone already, unless something went wrong
			}
		}
	}()
	for i := range files {
		if err := writeTemporary(root, &files[i]); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, file := range files {
		if err := root.Rename(file.temporary, file.path); err != nil {
			return err
		}
	}
	if err := syncFolder(root, "."); err != nil {
		return err
	}
	return removeAll(root, obsolete)
}

func writeTemporary(root *os.Root, file *output) error {
	if info, err := root.Lstat(file.path); err == nil && info.IsDir() {
		return fmt.Errorf("%s: a folder", file.path)
	}
	if err := root.Mkdir(temporary, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	path := temporary + "/" + rand.Text() + ".tmp"
	opened, err := root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	file.temporary = path
	_, err = opened.Write(file.text)
	return errors.Join(err, opened.Sync(), opened.Close())
}

func removeAll(root *os.Root, paths []string) error {
	removed := false
	for _, path := range paths {
		err := root.Remove(path)
		if err != nil && !missing(err) {
			return err
		}
		removed = removed || err == nil
	}
	if !removed {
		return nil
	}
	return syncFolder(root, ".")
}

// syncFolder makes what was renamed or removed in a folder last.
func syncFolder(root *os.Root, at string) error {
	opened, err := root.Open(at)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}

// removeLeftovers removes temporary files of writers that were stopped. One that can't be removed does no harm.
func removeLeftovers(root *os.Root) {
	_ = forEach(root, temporary, func(entry fs.DirEntry) {
		info, err := entry.Info()
		if err == nil && strings.HasSuffix(entry.Name(), ".tmp") && time.Since(info.ModTime()) > staleAfter {
			root.Remove(temporary + "/" + entry.Name())
		}
	})
}
