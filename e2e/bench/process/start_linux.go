package process

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

func attributes(whenOrphaned syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: whenOrphaned}
}

// on runs start with its thread bound to processors, which what it starts inherits.
func on(processors []int, start func() error) (err error) {
	if len(processors) == 0 {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	for _, processor := range processors {
		set.Set(processor)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("sched_setaffinity %v: %w", processors, err)
	}
	defer func() {
		if failed := unix.SchedSetaffinity(0, &before); failed != nil && err == nil {
			err = fmt.Errorf("sched_setaffinity back: %w", failed)
		}
	}()
	return start()
}

// Processors lists those that this process may run on, as far as it can bind others to them.
func Processors() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil || unix.SchedSetaffinity(0, &set) != nil {
		return nil
	}
	var processors []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			processors = append(processors, i)
		}
	}
	return processors
}
