package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hellogate/store/acme/program"
)

// TestCommandTimeout: one that hangs is killed with what it started, and the next of its name is run.
func TestCommandTimeout(t *testing.T) {
	c, out, log := script(t, `[ -e $OUT/pids ] && exit 0
		sleep 1000 & echo $! >$OUT/part; mv $OUT/part $OUT/pids; sleep 1000`, func(o *CommandOptions) { o.Timeout = 500 * time.Millisecond })
	began := time.Now()
	c.Publish(Event{Event: Fetched, Name: "a.example"})
	c.Publish(Event{Event: Renewed, Name: "a.example"})
	ran(t, c, 2)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if got := log.lines(`"level":"warn"`, `"event":"fetched"`, `"exit_code":-1`, program.ErrTimeout.Error()); len(got) != 1 {
		t.Errorf("logged %q", log.lines())
	}
	if got := log.lines(`"level":"info"`, `"event":"renewed"`, `"exit_code":0`); len(got) != 1 {
		t.Errorf("logged %q", log.lines())
	}
	waitFor(t, func() bool { return !alive(t, read(t, out, "pids")) })
}

// alive reports whether a process still runs; one that nobody waited for does not.
func alive(t *testing.T, pid string) bool {
	t.Helper()
	number, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil {
		t.Fatal(err)
	}
	if errors.Is(syscall.Kill(number, 0), syscall.ESRCH) {
		return false
	}
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", number))
	return err != nil || !strings.Contains(string(state), ") Z ")
}

// TestCommandHeldPipe: what a command leaves behind may hold its output open, and delays the next a little only.
func TestCommandHeldPipe(t *testing.T) {
	c, out, log := script(t, `sleep 1000 & echo $! >$OUT/pids; echo printed`, nil)
	began := time.Now()
	c.Publish(Event{Event: Fetched, Name: "a.example"})
	ran(t, c, 1)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, out, "pids")))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	if got := log.lines(`"exit_code":0`, `"output":"printed"`, "had its output open"); len(got) != 1 {
		t.Errorf("logged %q", log.lines())
	}
	if !alive(t, fmt.Sprint(pid)) {
		t.Error("what it left behind was killed")
	}
	if got := c.Stats(); got != (CommandStats{Runs: 1}) {
		t.Errorf("%+v", got)
	}
}

// TestCommandOutput: a megabyte of output, on both streams, is read to its end, and a little of it logged.
func TestCommandOutput(t *testing.T) {
	c, _, log := script(t, `head -c 500000 /dev/zero | tr '\0' 'x'; head -c 548576 /dev/zero >&2`, nil)
	c.Publish(Event{Event: Fetched, Name: "a.example"})
	ran(t, c, 1)
	got := log.lines(`"exit_code":0`, strings.Repeat("x", program.OutputBytes), fmt.Sprintf(`"output_more_bytes":%d`, 1<<20-program.OutputBytes))
	if len(got) != 1 || len(got[0]) > program.OutputBytes+500 {
		t.Errorf("logged %.500q", log.lines())
	}
}

// TestCommandHostileOutput: nothing that it prints reaches a terminal as it is.
func TestCommandHostileOutput(t *testing.T) {
	c, _, log := script(t, `printf 'a\033[31m\342\200\256\377"\n{'`, nil)
	c.Publish(Event{Event: Fetched, Name: "a.example"})
	ran(t, c, 1)
	got := log.lines(`"exit_code":0`)
	if len(got) != 1 {
		t.Fatalf("logged %q", log.lines())
	}
	var line struct{ Output string }
	if err := json.Unmarshal([]byte(got[0]), &line); err != nil || line.Output != `"a\x1b[31m\u202e\xff\"\n{"` {
		t.Errorf("%v, %s", err, line.Output)
	}
}

// TestCommandIgnoresInput: one that does not read its standard input ends all the same.
func TestCommandIgnoresInput(t *testing.T) {
	c, _, log := script(t, `exit 0`, nil)
	many := make([]string, maxNames)
	for i := range many {
		many[i] = strings.Repeat("n", 200) + ".example"
	}
	c.Publish(Event{Event: Flushed, Names: many})
	ran(t, c, 1)
	if got := log.lines(`"level":"info"`, `"exit_code":0`); len(got) != 1 {
		t.Errorf("logged %q", log.lines())
	}
}

func TestCommandMissing(t *testing.T) {
	folder := t.TempDir()
	for _, file := range []string{"hellogate-no-such-program", filepath.Join(folder, "missing"), folder} {
		c, _, log := script(t, "", func(o *CommandOptions) { o.Argv = []string{file} })
		c.Publish(Event{Event: Fetched, Name: "a.example"})
		ran(t, c, 1)
		if got := log.lines(`"level":"warn"`, `"exit_code":-1`, `"reason"`, file); len(got) != 1 {
			t.Errorf("logged %q", log.lines())
		}
		if c.Stats().Failed != 1 {
			t.Errorf("%+v", c.Stats())
		}
	}
}
