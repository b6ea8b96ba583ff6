package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// DefaultTimeout is how long the new process may take to be ready.
const DefaultTimeout = time.Minute

var (
	// ErrBusy is returned while an upgrade is under way.
	ErrBusy = errors.New("an upgrade is under way")
	// ErrDone is returned when a new process has taken over already.
	ErrDone = errors.New("a new process has taken over already")
)

// Options say what an Upgrader starts and hands over. Program and Release are required.
type Options struct {
	Program Program
	// Environment is that of the new process, less the variables that were about this one alone; nil: this process' own.
	Environment []string
	// Timeout is how long an upgrade may take in all; 0: DefaultTimeout.
	Timeout time.Duration
	// Sibling has the new process be a child of this one's parent: under a service manager, which is told by the kernel then
	// how its main process ends, and could not be while this one drains. It is for Linux, and passed by elsewhere.
	Sibling bool
	// Release lets go of what one process alone may have, and returns what to hand over. It is called when the new process
	// has found its configuration sound, and should end with its context.
	Release func(context.Context) (State, error)
	// Resume takes back what Release let go of. It is called when an upgrade fails after Release was called, whatever Release
	// returned, and when the new process has ended. Nil: there is nothing to take back.
	Resume func()
}

// An Upgrader hands this process' work over to a new one. It is safe for concurrent use.
type Upgrader struct {
	options Options
	running sync.Mutex // held while an upgrade is under way
	done    bool       // guarded by running
}

// NewUpgrader returns an Upgrader, which has nothing to be closed.
func NewUpgrader(options Options) *Upgrader {
	if options.Timeout <= 0 {
		options.Timeout = DefaultTimeout
	}
	if options.Environment == nil {
		options.Environment = os.Environ()
	}
	if options.Resume == nil {
		options.Resume = func() {}
	}
	return &Upgrader{options: options}
}

// Upgrade starts the program and returns its process id when it has taken over: it accepts connections then, and this process
// is to stop. With an error this process goes on as before, and the new one has ended. The end of ctx is one.
//
// It returns ErrBusy or ErrDone where those are what is wrong.
func (u *Upgrader) Upgrade(ctx context.Context) (pid int, err error) {
	if !u.running.TryLock() {
		return 0, ErrBusy
	}
	defer u.running.Unlock()
	if u.done {
		return 0, ErrDone
	}
	if err := possible(os.Getpid()); err != nil {
		return 0, fmt.Errorf("upgrade: %w", err)
	}
	if pid, err = u.upgrade(ctx); err != nil {
		return 0, fmt.Errorf("upgrade: %w", err)
	}
	u.done = true
	return pid, nil
}

// possible refuses where the end of this process would be the end of all others.
func possible(pid int) error {
	if pid == 1 {
		return errors.New("this is process 1 of its container, which ends with it: start a new container instead")
	}
	return nil
}

// upgrade goes all the way, or back to where it began.
func (u *Upgrader) upgrade(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, u.options.Timeout)
	defer cancel()
	next, err := start(&u.options)
	if err != nil {
		return 0, err
	}
	released, err := u.handOver(ctx, next)
	if err == nil {
		next.leave()
		return next.pid, nil
	}
	err = u.explain(ctx, next.abort(err))
	if released {
		u.options.Resume()
	}
	return 0, err
}

// handOver takes the steps of an upgrade, each of which ends with ctx at the latest.
func (u *Upgrader) handOver(ctx context.Context, next *process) (released bool, err error) {
	defer interrupt(ctx, next.wire)()
	if err := next.asks(); err != nil {
		return false, fmt.Errorf("%s, as it starts: %w", next, err)
	}
	state, err := u.options.Release(ctx)
	defer state.clear()
	if err != nil {
		return true, fmt.Errorf("let go of what %s needs: %w", next, err)
	}
	if err := next.wire.sendState(&state); err != nil {
		return true, fmt.Errorf("hand over to %s: %w", next, err)
	}
	if _, err := next.wire.receive(readyKind); err != nil {
		return true, fmt.Errorf("%s, as it takes over: %w", next, err)
	}
	if err := ctx.Err(); err != nil {
		return true, err
	}
	// From here on the new process accepts connections: there is no way back.
	if err := next.wire.send(goKind, nil); err != nil {
		return true, fmt.Errorf("let %s go: %w", next, err)
	}
	return true, nil
}

// asks waits until the new process wants what there is.
func (p *process) asks() error {
	content, err := p.wire.receive(askKind)
	if err != nil {
		return err
	}
	var asked asking
	if err := json.Unmarshal(content, &asked); err != nil || asked.Protocol != protocol {
		return fmt.Errorf("it does not speak version %d of the hand-over", protocol)
	}
	return nil
}

// interrupt has everything on a wire fail when ctx ends, until the function that it returns is called.
func interrupt(ctx context.Context, w *wire) (end func()) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		w.conn.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-interrupted
		}
	}
}

// explain says what a deadline that passed was about.
func (u *Upgrader) explain(ctx context.Context, err error) error {
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not done within %s: %w", u.options.Timeout, err)
	}
	return fmt.Errorf("given up: %w", err)
}
