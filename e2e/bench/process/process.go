// Package process starts the processes of a benchmark, on the processors they are given, and reads what they use:
// processor time and memory of a whole process tree, and what the rest of the machine does meanwhile. The rule it
// guards: none of them outlives the benchmark. It needs Linux; elsewhere everything but reading fails.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopPatience is how long a process that was told to end may take to do so.
const stopPatience = 3 * time.Second

// Process is a started program with its descendants.
type Process struct {
	command *exec.Cmd
	ended   chan struct{}
}

// Start runs command in a process group of its own, on the processors given (none: on any), and watches for its end.
// The system sends it whenOrphaned should the benchmark die. Stop it.
func Start(command *exec.Cmd, processors []int, whenOrphaned syscall.Signal) (*Process, error) {
	command.SysProcAttr = attributes(whenOrphaned)
	if err := on(processors, command.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	p := &Process{command: command, ended: make(chan struct{})}
	go func() {
		_ = command.Wait() // how it ended is asked of ProcessState
		close(p.ended)
	}()
	return p, nil
}

// ID is its process id.
func (p *Process) ID() int { return p.command.Process.Pid }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Kill ends the process at once, its descendants not. It does not wait.
func (p *Process) Kill() { _ = p.command.Process.Kill() } // it may have ended

// Stop ends the process and all of its descendants, with SIGTERM first, and returns when it is gone.
func (p *Process) Stop() {
	family := Tree(p.ID())
	_ = p.command.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(stopPatience):
	}
	for _, id := range family[1:] {
		if p.leads(id) {
			_ = syscall.Kill(id, syscall.SIGKILL)
		}
	}
	p.Kill()
	<-p.ended
}

// leads tells whether id is in the group of p still, and not somebody else's that was given the same id since.
func (p *Process) leads(id int) bool {
	fields, err := stat(id)
	return err == nil && fields[2] == strconv.Itoa(p.ID())
}

// Tree lists a process and its living descendants, itself first.
func Tree(id int) []int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{id}
	}
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if parent, err := parentOf(child); err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	tree := []int{id}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree
}

func parentOf(id int) (int, error) {
	fields, err := stat(id)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(fields[1])
}

// stat is the fields of /proc/PID/stat behind the command's name, which may hold anything: the state is the first.
func stat(id int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return nil, err
	}
	return statFields(string(text))
}

func statFields(text string) ([]string, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return nil, errors.New("stat: too few fields")
	}
	return fields, nil
}
