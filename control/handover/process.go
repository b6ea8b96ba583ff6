package handover

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

const (
	// failedWait is how long a process that said that it failed may take to end by itself.
	failedWait = 2 * time.Second
	// killedWait is how long one that was killed is waited for.
	killedWait = 5 * time.Second
)

// descriptor is what the new process' end of the wire is there: the first after standard error.
const descriptor = 3

// process is the one that was started.
type process struct {
	pid     int
	command *exec.Cmd
	sibling *sibling // nil: it is a child
	wire    *wire
}

// start starts the program.
func start(options *Options) (*process, error) {
	ours, theirs, err := newPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	command := &exec.Cmd{
		Path: options.Program.Path, Args: options.Program.Args,
		Env:   inherit(options.Environment, descriptor),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		ExtraFiles: []*os.File{theirs},
	}
	var sibling *sibling
	if options.Sibling {
		sibling = makeSibling(command)
	}
	if err := command.Start(); err != nil {
		ours.close()
		return nil, fmt.Errorf("start %s: %w", options.Program.Path, err)
	}
	return &process{pid: command.Process.Pid, command: command, sibling: sibling, wire: ours}, nil
}

func (p *process) String() string { return fmt.Sprintf("new process %d", p.pid) }

// leave lets the process live on by itself.
func (p *process) leave() {
	p.wire.close()
	p.sibling.close()
	_ = p.command.Process.Release()
}

// abort makes sure that the process has ended, and with it what it had open, and adds to the reason how it did.
func (p *process) abort(reason error) error {
	defer p.wire.close()
	exited := make(chan struct{})
	go func() { // ends with the process: abort waits for it but for one that can't be killed
		defer close(exited)
		p.wait()
	}()
	_, said := errors.AsType[*reported](reason)
	ends := said || errors.Is(reason, errEnded)
	if !ends || !within(failedWait, exited) {
		_ = p.command.Process.Kill()
		if !within(killedWait, exited) {
			return fmt.Errorf("%w; and it can't be killed", reason)
		}
	}
	_ = p.command.Process.Release()
	if status := p.command.ProcessState; status != nil && errors.Is(reason, errEnded) {
		return fmt.Errorf("%w: %s", reason, status)
	}
	return reason
}

func within(wait time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// wait returns when the process has ended.
func (p *process) wait() {
	if p.sibling == nil {
		_ = p.command.Wait()
		return
	}
	defer p.sibling.close()
	if !p.sibling.wait() {
		_ = p.wire.conn.SetDeadline(time.Time{})
		_, _ = io.Copy(io.Discard, p.wire) // until its end is closed, which is the next best
	}
}
