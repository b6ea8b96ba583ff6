package events

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

const (
	// outputBytes is how much of what a command prints is logged.
	outputBytes = 4 << 10
	// pipeWait is how long the pipes of a command may be held open by others after it has ended.
	pipeWait = time.Second

	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

var (
	errTimeout = errors.New("killed, it took too long")
	errClosing = errors.New("killed, the process ends")
)

// outcome is how a run ended.
type outcome struct {
	err    error // nil: it exited with 0
	code   int   // -1: it was killed, or not even started
	held   bool  // its output was still open when it had ended
	output string
	more   int // bytes that are not in output
	took   time.Duration
}

// run runs the command for an event, and waits for it.
func (c *Command) run(event Event) outcome {
	ctx, cancel := context.WithTimeout(c.life, c.options.Timeout)
	defer cancel()
	name := nameOf(event)
	arguments := append(append([]string(nil), c.options.Argv[1:]...), event.Event, name)
	command := exec.CommandContext(ctx, c.options.Argv[0], arguments...)
	command.Env = environment(event.Event, name)
	command.Stdin = bytes.NewReader(lineOf(event))
	printed := new(head)
	command.Stdout, command.Stderr = printed, printed
	// In a process group of its own, so that what it started is killed with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return killGroup(command.Process) }
	command.WaitDelay = pipeWait
	began := time.Now()
	err := command.Run()
	ended := outcome{err: err, code: -1, output: printed.kept.String(), more: printed.more, took: time.Since(began)}
	if command.ProcessState != nil {
		ended.code = command.ProcessState.ExitCode()
	}
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		ended.err, ended.held = nil, true
	case err != nil && ctx.Err() != nil:
		ended.err = why(c.life)
	}
	return ended
}

// why says why a command was killed.
func why(life context.Context) error {
	if life.Err() != nil {
		return errClosing
	}
	return errTimeout
}

func killGroup(leader *os.Process) error {
	err := syscall.Kill(-leader.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// environment is all that a command gets of ours: there may be a token in it.
func environment(event, name string) []string {
	list := []string{
		"PATH=" + cmp.Or(os.Getenv("PATH"), defaultPath),
		"HELLOGATE_EVENT=" + event,
		"HELLOGATE_NAME=" + name,
	}
	for _, kept := range []string{"HOME", "LANG"} {
		if value, set := os.LookupEnv(kept); set {
			list = append(list, kept+"="+value)
		}
	}
	return list
}

func (c *Command) log(event Event, ended outcome) {
	level := zerolog.InfoLevel
	if ended.err != nil {
		level = zerolog.WarnLevel
	}
	line := c.options.Log.WithLevel(level).Str("command", c.options.Argv[0]).Str("event", event.Event).
		Str("name", nameOf(event)).Int("exit_code", ended.code).Dur("took_ms", ended.took)
	if ended.output != "" {
		line = line.Str("output", printable(ended.output))
	}
	if ended.more > 0 {
		line = line.Int("output_more_bytes", ended.more)
	}
	line.AnErr("reason", ended.reason()).Msg("event command")
}

// reason is what the exit code does not say.
func (o outcome) reason() error {
	if _, exited := errors.AsType[*exec.ExitError](o.err); exited && o.code > 0 {
		return nil
	}
	if o.held {
		return fmt.Errorf("something that it started still had its output open %s after its end", pipeWait)
	}
	return o.err
}

// printable is what a command printed as a field of the log: as it is where that is one line of ASCII, else quoted.
func printable(text string) string {
	text = strings.TrimRight(text, "\n")
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return quote(text, outputBytes)
	}
	return text
}

// head keeps the beginning of what is written to it and counts the rest.
type head struct {
	kept bytes.Buffer // no ReadFrom of it may be seen: it would take everything
	more int
}

func (h *head) Write(text []byte) (int, error) {
	fits := min(len(text), outputBytes-h.kept.Len())
	h.more += len(text) - fits
	h.kept.Write(text[:fits])
	return len(text), nil
}
