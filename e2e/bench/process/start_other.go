//go:build !linux

package process

import (
	"errors"
	"syscall"
	"time"
)

func attributes(syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func on(_ []int, start func() error) error { return start() }

// Processors lists those that this process may run on, as far as it can bind others to them: none here.
func Processors() []int { return nil }

func clock(int) (time.Duration, error) {
	return 0, errors.New("processor time of other processes is read on Linux alone")
}
