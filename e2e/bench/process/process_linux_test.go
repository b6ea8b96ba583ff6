package process

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A process that is stopped takes its descendants along, also those that do not hear.
func TestStop(t *testing.T) {
	command := exec.Command("sh", "-c", `sh -c 'trap "" TERM; while :; do sleep 0.1; done' & wait`)
	p, err := Start(command, nil, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	family := Tree(p.ID())
	for deadline := time.Now().Add(10 * time.Second); len(family) < 3 && time.Now().Before(deadline); family = Tree(p.ID()) {
		time.Sleep(10 * time.Millisecond)
	}
	if len(family) < 3 {
		t.Errorf("its tree is %v", family)
	}
	p.Stop()
	for deadline := time.Now().Add(10 * time.Second); slices.ContainsFunc(family, lives) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if slices.ContainsFunc(family, lives) {
		t.Errorf("of %v some live on", family)
	}
}

func lives(id int) bool {
	fields, err := stat(id)
	return err == nil && fields[0] != "Z" // nobody may have waited for it yet
}

// What a process is bound to, its children are, and what started it is not.
func TestStartOnProcessor(t *testing.T) {
	before := Processors()
	if len(before) == 0 {
		t.Skip("processes can't be bound to processors here")
	}
	command := exec.Command("sleep", "60")
	p, err := Start(command, before[:1], syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if after := Processors(); !slices.Equal(after, before) {
		t.Errorf("bound to %v, before it was %v", after, before)
	}
	if got := allowed(t, p.ID()); !slices.Equal(got, before[:1]) {
		t.Errorf("started on %v, want %v", got, before[:1])
	}
}

// Time counts what the process does, its children too, and Foreign does not.
func TestTime(t *testing.T) {
	began, err := Time(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	ended, err := Time(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	used := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	if ended-began < used-2*tick {
		t.Errorf("%v, and the child alone used %v", ended-began, used)
	}
	if _, err := Foreign(); err != nil {
		t.Error(err)
	}
	if _, err := Time(1 << 22); err == nil {
		t.Error("a process that is not there has used time")
	}
}

func TestMemory(t *testing.T) {
	bytes, err := Memory(os.Getpid())
	if err != nil || bytes < 1<<20 || bytes > 1<<34 {
		t.Errorf("%d, %v", bytes, err)
	}
	if _, err := Memory(1 << 22); err == nil {
		t.Error("a process that is not there has memory")
	}
}
