package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(script string) Command { return Command{Argv: []string{"/bin/sh", "-c", script}} }

func TestRun(t *testing.T) {
	long := strings.Repeat("x", OutputBytes)
	tests := map[string]struct {
		command Command
		code    int
		output  string
		more    int
		says    string // of Failure; "": there is none
	}{
		"exits with 0":   {command: shell("echo said; echo and >&2"), output: `"said\nand"`},
		"one line":       {command: shell("echo said"), output: "said"},
		"exits with 3":   {command: shell("echo broken; exit 3"), code: 3, output: "broken", says: "run sh: exit status 3: it printed broken"},
		"says nothing":   {command: shell("exit 1"), code: 1, says: "run sh: exit status 1"},
		"is not there":   {command: Command{Argv: []string{"/nowhere"}}, code: -1, says: "no such file"},
		"kills itself":   {command: shell("kill -9 $$"), code: -1, says: "signal: killed"},
		"prints a lot":   {command: shell("head -c 200000 /dev/zero | tr '\\0' x; exit 1"), code: 1, output: long, more: 200000 - OutputBytes, says: "195904 bytes more"},
		"escapes":        {command: shell(`printf '\033[31m\342\200\256'`), output: `"\x1b[31m\u202e"`},
		"reads":          {command: Command{Argv: []string{"/bin/cat"}, Stdin: []byte("given")}, output: "given"},
		"reads nothing":  {command: Command{Argv: []string{"/bin/cat"}}},
		"arguments stay": {command: Command{Argv: []string{"/bin/echo", "$HOME; `x` *"}}, output: "$HOME; `x` *"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := test.command.Run(context.Background())
			if got.Code != test.code || got.Output != test.output || got.More != test.more || got.Held {
				t.Errorf("%+v", got)
			}
			err := got.Failure("sh")
			if (err != nil) != (test.says != "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
}

// TestEnvironment: a program sees nothing of ours that it needn't.
func TestEnvironment(t *testing.T) {
	t.Setenv("HELLOGATE_STORE_TOKEN", "secret")
	t.Setenv("LANG", "C")
	t.Setenv("HOME", "/home/of/ours")
	command := Command{Argv: []string{"/usr/bin/env"}, Env: []string{"OWN=1"}}
	var names []string
	printed := strings.ReplaceAll(strings.Trim(command.Run(context.Background()).Output, `"`), `\n`, "\n")
	for line := range strings.Lines(printed) {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"HOME", "LANG", "OWN", "PATH"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// TestKilled: one that hangs is killed with what it started, and why is said.
func TestKilled(t *testing.T) {
	stopped := errors.New("the order ends")
	tests := map[string]struct {
		ctx  func() (context.Context, func())
		want error
	}{
		"at its deadline": {want: ErrTimeout, ctx: func() (context.Context, func()) {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			return ctx, cancel
		}},
		"called off": {want: stopped, ctx: func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(context.Background())
			timer := time.AfterFunc(300*time.Millisecond, func() { cancel(stopped) })
			return ctx, func() { timer.Stop() }
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, end := test.ctx()
			defer end()
			file := filepath.Join(t.TempDir(), "pid")
			began := time.Now()
			got := shell(fmt.Sprintf("sleep 1000 & echo $! >%s; sleep 1000", file)).Run(ctx)
			if !errors.Is(got.Err, test.want) || got.Code != -1 || time.Since(began) > 10*time.Second {
				t.Errorf("%+v", got)
			}
			wantGone(t, file)
		})
	}
}

func wantGone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || strings.Contains(string(state), ") Z ") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("process %d still runs", pid)
}

// TestHeld: what a program leaves behind may hold its output open, and delays us a little only.
func TestHeld(t *testing.T) {
	began := time.Now()
	got := shell("sleep 20 & echo printed").Run(context.Background())
	if got.Err != nil || !got.Held || got.Output != "printed" || time.Since(began) > 10*time.Second {
		t.Errorf("%+v", got)
	}
	if got.Failure("sh") != nil || !strings.Contains(fmt.Sprint(got.Reason()), "still had its output open") {
		t.Errorf("%v, %v", got.Failure("sh"), got.Reason())
	}
}

func TestCheck(t *testing.T) {
	for _, argv := range [][]string{nil, {}, {""}, {"a", "b\x00"}} {
		if Check(argv) == nil {
			t.Errorf("%q: no error", argv)
		}
	}
	if err := Check([]string{"a", ""}); err != nil {
		t.Error(err)
	}
}

func TestWithoutPath(t *testing.T) {
	t.Setenv("PATH", "")
	if got := inherited()[0]; got != "PATH="+defaultPath {
		t.Errorf("%q", got)
	}
}
