package instance

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// NoCoreDumps keeps the private keys in memory out of core dumps, and other processes of this user from
// attaching to read them. It is for the whole process.
func NoCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps off: setrlimit: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("core dumps off: prctl: %w", err)
	}
	return nil
}
