package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// memory is what the process holds, peakMemory the most it ever held, in bytes.
func (g *gate) memory() int64     { g.t.Helper(); return g.proc("status", "VmRSS:") << 10 }
func (g *gate) peakMemory() int64 { g.t.Helper(); return g.proc("status", "VmHWM:") << 10 }

// proc reads the number behind a label in a file of /proc; where there is none the test is skipped.
func (g *gate) proc(file, label string) int64 {
	g.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", g.pid(), file))
	if err != nil {
		g.t.Skip(err)
	}
	_, rest, found := strings.Cut(string(text), label)
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		g.t.Fatalf("no %s in %s", label, text)
	}
	number, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		g.t.Fatal(err)
	}
	return number
}

// descriptors counts the open files of the process.
func (g *gate) descriptors() int {
	g.t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.pid()))
	if err != nil {
		g.t.Skip(err)
	}
	return len(files)
}

// processorTime is what the process has used so far.
func (g *gate) processorTime() time.Duration {
	g.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.pid()))
	if err != nil {
		g.t.Skip(err)
	}
	// Behind the name, which may hold anything, utime and stime are fields 12 and 13, in hundredths of a second.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
