package process

import (
	"testing"

	"golang.org/x/sys/unix"
)

// allowed lists the processors that a process may run on.
func allowed(t *testing.T, id int) (processors []int) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(id, &set); err != nil {
		t.Fatal(err)
	}
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			processors = append(processors, i)
		}
	}
	return processors
}
