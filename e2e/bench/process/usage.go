package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc: the kernel's USER_HZ, which is 100 on all architectures that matter here.
const tick = 10 * time.Millisecond

// Time is the processor time, user and system, that the process id and its descendants have used so far, including
// descendants that have ended and been waited for.
func Time(id int) (time.Duration, error) {
	total, err := clock(id)
	if err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", id, err)
	}
	for i, member := range Tree(id) {
		if spent, err := clock(member); err == nil && i > 0 {
			total += spent
		}
		total += waitedFor(member)
	}
	return total, nil
}

// waitedFor is what the children of a process used that have ended.
func waitedFor(id int) time.Duration {
	fields, err := stat(id)
	if err != nil {
		return 0
	}
	return ticks(fields[13]) + ticks(fields[14])
}

func ticks(text string) time.Duration {
	count, _ := strconv.ParseInt(text, 10, 64)
	return time.Duration(count) * tick
}

// Foreign is the processor time that everything on this machine has used so far but this process and its descendants.
// The kernel samples it, so that over a short time it may be off by some hundredths of a second.
func Foreign() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	busy, err := busyTime(string(text))
	if err != nil {
		return 0, err
	}
	own, err := Time(os.Getpid())
	return busy - own, err
}

// busyTime adds what the first line of /proc/stat says of user, nice, system, irq and softirq.
func busyTime(text string) (busy time.Duration, err error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for _, column := range []int{1, 2, 3, 6, 7} {
		busy += ticks(fields[column])
	}
	return busy, nil
}

// Memory is the resident memory of the process id and its descendants, in bytes. What they share counts for each.
func Memory(id int) (bytes int64, err error) {
	for _, member := range Tree(id) {
		own, err := memoryOf(member)
		if err != nil && member == id {
			return 0, fmt.Errorf("memory of process %d: %w", id, err)
		}
		bytes += own
	}
	return bytes, nil
}

// Anonymous is the part of the resident memory of one process that is no file's, in bytes.
func Anonymous(id int) (bytes int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", id, err)
	}
	return labelled(string(text), "\nRssAnon:")
}

// memoryOf reads smaps_rollup, which is exact, or where that is kept from us status, which may lag by some pages.
func memoryOf(id int) (int64, error) {
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", id)); err == nil {
		return labelled(string(text), "\nRss:")
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
	if err != nil {
		return 0, err
	}
	return labelled(string(text), "\nVmRSS:")
}

// labelled is the number of KiB behind label, in bytes.
func labelled(text, label string) (int64, error) {
	_, rest, found := strings.Cut(text, label)
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, fmt.Errorf("no %q", strings.TrimSpace(label))
	}
	kibibytes, err := strconv.ParseInt(fields[0], 10, 64)
	return kibibytes << 10, err
}
