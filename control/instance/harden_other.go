//go:build !linux

package instance

import (
	"fmt"
	"syscall"
)

// NoCoreDumps keeps the private keys in memory out of core dumps. It is for the whole process.
func NoCoreDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps off: setrlimit: %w", err)
	}
	return nil
}
