package dir

import (
	"io/fs"
	"syscall"
	"time"
)

// changeTime is when the file was changed in any way. Unlike the time of its last modification it can't be set, as
// cp -p does.
func changeTime(info fs.FileInfo) time.Time {
	if status, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(status.Ctim.Unix())
	}
	return info.ModTime()
}
