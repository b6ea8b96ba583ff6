// Package program runs the programs that an operator configured: they are given nothing but their arguments and a small
// environment, and have a limited time.
//
// The rule it guards: a program that hangs, floods its output or leaves others behind holds nothing up, and no secret of
// ours is in its environment.
package program

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

const (
	// OutputBytes is how much of what a program prints is kept.
	OutputBytes = 4 << 10
	// pipeWait is how long the pipes of a program may be held open by others after it has ended.
	pipeWait = time.Second

	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// ErrTimeout is wrapped by the error of a program that was killed at the deadline of its context.
var ErrTimeout = errors.New("killed, it took too long")

// Command is what is run. Only Argv is needed.
type Command struct {
	// Argv is the program and its arguments.
	Argv []string
	// Env ("K=V") is in its environment, beside PATH, HOME and LANG of ours.
	Env []string
	// Stdin is what it reads; nil: nothing.
	Stdin []byte
}

// Check says what can't be run. Whether the program is there is seen when it is run.
func Check(argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return errors.New("no program")
	}
	for _, argument := range argv {
		if strings.ContainsRune(argument, 0) {
			return errors.New("an argument with a NUL")
		}
	}
	return nil
}

// Outcome is how a run ended.
type Outcome struct {
	// Err is nil if the program exited with 0.
	Err error
	// Code is its exit code; -1: it was killed, or not even started.
	Code int
	// Held: it exited, and something that it started still had its output open a second later.
	Held bool
	// Output is the beginning of what it printed on both streams, as one line of ASCII; More counts the bytes that are not in it.
	Output string
	More   int
	Took   time.Duration
}

// Run runs the program, and waits for it. When ctx is done it is killed, with its process group.
func (c Command) Run(ctx context.Context) Outcome {
	command := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	command.Env = append(inherited(), c.Env...)
	if c.Stdin != nil {
		command.Stdin = bytes.NewReader(c.Stdin)
	}
	printed := new(head)
	command.Stdout, command.Stderr = printed, printed
	// In a process group of its own, so that what it started is killed with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return killGroup(command.Process) }
	command.WaitDelay = pipeWait
	began := time.Now()
	err := command.Run()
	ended := Outcome{Err: err, Code: -1, Output: printable(printed.kept.String()), More: printed.more, Took: time.Since(began)}
	if command.ProcessState != nil {
		ended.Code = command.ProcessState.ExitCode()
	}
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		ended.Err, ended.Held = nil, true
	case err != nil && ctx.Err() != nil:
		ended.Err = why(ctx)
	}
	return ended
}

// why says why a program was killed.
func why(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrTimeout
	}
	return fmt.Errorf("killed, %w", context.Cause(ctx))
}

// Failure returns Err with the program's name and what it printed; nil if Err is.
func (o Outcome) Failure(name string) error {
	switch {
	case o.Err == nil:
		return nil
	case o.Output == "":
		return fmt.Errorf("run %s: %w", name, o.Err)
	case o.More > 0:
		return fmt.Errorf("run %s: %w: it printed %s and %d bytes more", name, o.Err, o.Output, o.More)
	}
	return fmt.Errorf("run %s: %w: it printed %s", name, o.Err, o.Output)
}

// Log adds to a line how the run of a program ended.
func (o Outcome) Log(line *zerolog.Event, name string) *zerolog.Event {
	line = line.Str("command", name).Int("exit_code", o.Code).Dur("took_ms", o.Took)
	if o.Output != "" {
		line = line.Str("output", o.Output)
	}
	if o.More > 0 {
		line = line.Int("output_more_bytes", o.More)
	}
	return line.AnErr("reason", o.Reason())
}

// Reason is what Code does not say of how the run ended.
func (o Outcome) Reason() error {
	if _, exited := errors.AsType[*exec.ExitError](o.Err); exited && o.Code > 0 {
		return nil
	}
	if o.Held {
		return fmt.Errorf("something that it started still had its output open %s after its end", pipeWait)
	}
	return o.Err
}

func killGroup(leader *os.Process) error {
	err := syscall.Kill(-leader.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// inherited is all that a program gets of our environment: there may be a token in it.
func inherited() []string {
	list := []string{"PATH=" + cmp.Or(os.Getenv("PATH"), defaultPath)}
	for _, kept := range []string{"HOME", "LANG"} {
		if value, set := os.LookupEnv(kept); set {
			list = append(list, kept+"="+value)
		}
	}
	return list
}

// printable is what a program printed, as it is where that is one line of ASCII, else quoted.
func printable(text string) string {
	text = strings.TrimRight(text, "\n")
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return strconv.QuoteToASCII(text)
	}
	return text
}

// head keeps the beginning of what is written to it and counts the rest.
type head struct {
	kept bytes.Buffer // no ReadFrom of it may be seen: it would take everything
	more int
}

func (h *head) Write(text []byte) (int, error) {
	fits := min(len(text), OutputBytes-h.kept.Len())
	h.more += len(text) - fits
	h.kept.Write(text[:fits])
	return len(text), nil
}
