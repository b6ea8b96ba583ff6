// Package seen tells whether files are as they were when they were read, so that those that changed are read again.
//
// The rule it guards: a file that was put in the place of another is not taken for it, though it has its size and time.
package seen

import (
	"io/fs"
	"os"
	"slices"
)

// Files is how files were. The zero value is of none that were looked at, and the same as nothing.
type Files []fs.FileInfo

// Look returns how files are, for those that have a path. It is to be called before they are read: what changes in between is
// then read again the next time. The error is that of the first that can't be looked at.
func Look(paths ...string) (Files, error) {
	files := make(Files, 0, len(paths))
	for _, path := range paths {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		files = append(files, info)
	}
	return files, nil
}

// Same reports whether the files are as they were.
func (f Files) Same(now Files) bool { return f != nil && slices.EqualFunc(f, now, same) }

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
