package dir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"

	"hellogate/store"
)

// maxFile bounds a file, in bytes. It leaves room for the text that tools write around a pair.
const maxFile = 4 * store.MaxPairBytes

// tick is how finely file systems tell times, with room: what was written twice within it may bear the same time.
const tick = 20 * time.Millisecond

// file is an open regular file, and what it looked like before anything was read of it.
type file struct {
	*os.File
	path string
	info fs.FileInfo
}

func openFile(root *os.Root, path string) (*file, error) {
	// O_NONBLOCK: opening a named pipe would wait for its writer.
	opened, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s: not a regular file", path)
	case info.Size() > maxFile:
		err = fmt.Errorf("%s: %d bytes: at most %d allowed", path, info.Size(), maxFile)
	default:
		return &file{File: opened, path: path, info: info}, nil
	}
	return nil, errors.Join(err, opened.Close())
}

// missing reports that there can be no such file. A name of 253 bytes makes a file name longer than there may be.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.ENOTDIR)
}

func (f *file) text() ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, fmt.Errorf("%s: larger than %d bytes", f.path, maxFile)
	case len(text) == 0:
		return nil, fmt.Errorf("%s: empty", f.path)
	}
	return text, nil
}

// stamp tells one version of a file from another: by its times, its size and which file it is.
func stamp(info fs.FileInfo) string {
	var inode uint64
	if status, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = status.Ino
	}
	return fmt.Sprintf("%x-%x-%x-%x.", info.ModTime().UnixNano(), changeTime(info).UnixNano(), info.Size(), inode)
}

// validator names the version of files. One of files that changed just now is never given twice: they could change again
// and look the same.
func validator(files []*file) store.Validator {
	sum := sha256.New()
	now := time.Now()
	for _, file := range files {
		file.addTo(sum)
		if age := now.Sub(changeTime(file.info)); age > -tick && age < tick {
			io.WriteString(sum, strconv.FormatInt(now.UnixNano(), 16))
		}
	}
	return store.Validator{ETag: hex.EncodeToString(sum.Sum(nil)[:16])}
}

func (f *file) addTo(sum hash.Hash) { fmt.Fprintf(sum, "%s\x00%s", f.path, stamp(f.info)) }
