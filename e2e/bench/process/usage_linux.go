package process

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock reads the processor time of one process from its POSIX clock, which is exact to the nanosecond where
// /proc/PID/stat counts in hundredths of a second, and knows of threads that have ended.
func clock(id int) (time.Duration, error) {
	const schedulerTime = 2
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^id<<3|schedulerTime), &spent); err != nil {
		return 0, err
	}
	return time.Duration(spent.Nano()), nil
}
