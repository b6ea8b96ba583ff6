package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// record is a log that can be read while it is written.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(line)
}

// lines returns the lines that have all of parts.
func (r *record) lines(parts ...string) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
next:
	for line := range strings.Lines(r.text.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// script makes a command of a shell script. In it, $1 is the event, $2 the name, and $OUT the folder that is returned.
func script(t *testing.T, text string, edit func(*CommandOptions)) (c *Command, out string, log *record) {
	t.Helper()
	out, log = t.TempDir(), new(record)
	options := CommandOptions{
		Argv:    []string{"/bin/sh", "-c", "OUT=" + out + "\n" + text, "hook"},
		Timeout: 10 * time.Second,
		Log:     zerolog.New(log),
	}
	if edit != nil {
		edit(&options)
	}
	c, err := NewCommand(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, out, log
}

// ran waits until so many runs have ended.
func ran(t *testing.T, c *Command, count uint64) {
	t.Helper()
	waitFor(t, func() bool { return c.Stats().Runs >= count })
}

func read(t *testing.T, elements ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCommand: what a command is given.
func TestCommand(t *testing.T) {
	t.Setenv("HELLOGATE_STORE_TOKEN", "marker-of-the-token")
	t.Setenv("LANG", "C.UTF-8")
	c, out, log := script(t, `cat >$OUT/stdin; echo "$@" >$OUT/args; env >$OUT/env; echo done; echo '{"a":1}' >&2; exit 3`, nil)
	event := Event{Event: Renewed, Name: "a.example", Store: "s", NotAfter: time.Now().Add(time.Hour)}
	c.Publish(event)
	ran(t, c, 1)
	var got Event
	stdin := read(t, out, "stdin")
	if err := json.Unmarshal([]byte(stdin), &got); err != nil || strings.Count(stdin, "\n") != 1 {
		t.Fatalf("%v in %q", err, stdin)
	}
	if got.Event != Renewed || got.Name != "a.example" || got.Store != "s" || !got.NotAfter.Equal(event.NotAfter) || got.Time.IsZero() {
		t.Errorf("%+v", got)
	}
	if args := read(t, out, "args"); args != "renewed a.example\n" {
		t.Errorf("arguments %q", args)
	}
	var names []string
	for line := range strings.Lines(read(t, out, "env")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		names = append(names, name)
		want := map[string]string{"HELLOGATE_EVENT": "renewed", "HELLOGATE_NAME": "a.example", "LANG": "C.UTF-8"}
		if want[name] != "" && want[name] != value {
			t.Errorf("%s is %q", name, value)
		}
	}
	// The shell sets the first three itself.
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains([]string{"PWD", "SHLVL", "_", "OLDPWD", "HOME"}, name) })
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "HELLOGATE_EVENT HELLOGATE_NAME LANG PATH" {
		t.Errorf("environment of %s", got)
	}
	if got := log.lines(`"level":"warn"`, `"exit_code":3`, `"output":"\"done\\n{\\\"a\\\":1}\""`, `"name":"a.example"`, `"event":"renewed"`); len(got) != 1 {
		t.Errorf("logged %q", log.lines())
	}
	if got := c.Stats(); got != (CommandStats{Runs: 1, Failed: 1}) {
		t.Errorf("%+v", got)
	}
}

func TestCommandNames(t *testing.T) {
	many := make([]string, 2*maxNames)
	for i := range many {
		many[i] = fmt.Sprintf("n%d.example", i)
	}
	for _, test := range []struct {
		name  string
		event Event
		want  string
	}{
		{"one", Event{Event: Flushed, Name: "a.example"}, "flushed a.example 0\n"},
		{"a list of one", Event{Event: Flushed, Names: []string{"a.example"}}, "flushed a.example 1\n"},
		{"several", Event{Event: Flushed, Names: []string{"a.example", "b.example"}}, "flushed - 2\n"},
		{"very many", Event{Event: Flushed, Names: many}, "flushed - 1000\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, out, _ := script(t, `cat >$OUT/stdin; echo "$@" >$OUT/args`, nil)
			c.Publish(test.event)
			ran(t, c, 1)
			var got Event
			if err := json.Unmarshal([]byte(read(t, out, "stdin")), &got); err != nil {
				t.Fatal(err)
			}
			if told := strings.TrimSpace(read(t, out, "args")) + fmt.Sprintf(" %d\n", len(got.Names)); told != test.want {
				t.Errorf("%q, want %q", told, test.want)
			}
		})
	}
}

func TestCommandEvents(t *testing.T) {
	c, out, _ := script(t, `echo $1 $2 >>$OUT/args`, func(o *CommandOptions) { o.Events = []string{Failed, Flushed} })
	for _, kind := range Kinds() {
		c.Publish(Event{Event: kind, Name: "a.example"})
	}
	ran(t, c, 2)
	if got := read(t, out, "args"); got != "failed a.example\nflushed a.example\n" {
		t.Errorf("ran for %q", got)
	}
}

// TestCommandOneAtATime: never two at once for a name, and in order; others meanwhile, so many at once.
func TestCommandOneAtATime(t *testing.T) {
	// The lock of a name, and a place for each that runs.
	c, out, _ := script(t, `mkdir $OUT/lock-$2 || echo $2 >>$OUT/twice
		: >$OUT/place-$$; ls $OUT | grep -c place- >>$OUT/counts
		cat >>$OUT/stdin-$2; sleep 0.05; rm $OUT/place-$$; rmdir $OUT/lock-$2`, nil)
	const names, each = 12, 4
	for i := range each {
		for n := range names {
			c.Publish(Event{Event: Fetched, Name: fmt.Sprintf("n%d.example", n), Count: i + 1})
		}
	}
	ran(t, c, names*each)
	if _, err := os.Stat(filepath.Join(out, "twice")); err == nil {
		t.Errorf("twice at once: %s", read(t, out, "twice"))
	}
	most := 0
	for line := range strings.Lines(read(t, out, "counts")) {
		count, _ := strconv.Atoi(strings.TrimSpace(line))
		most = max(most, count)
	}
	if most > atOnce || most < 2 {
		t.Errorf("%d at once", most)
	}
	for n := range names {
		decoder := json.NewDecoder(strings.NewReader(read(t, out, fmt.Sprintf("stdin-n%d.example", n))))
		for i := range each {
			var event Event
			if err := decoder.Decode(&event); err != nil || event.Count != i+1 {
				t.Fatalf("name %d, run %d: %+v, %v", n, i, event, err)
			}
		}
	}
	if got := c.Stats(); got != (CommandStats{Runs: names * each}) {
		t.Errorf("%+v", got)
	}
}

// TestCommandQueue: what finds no room is dropped, counted and logged, and publishing does not wait.
func TestCommandQueue(t *testing.T) {
	c, out, log := script(t, `while [ ! -e $OUT/go ]; do sleep 0.02; done`, nil)
	const published = 5000
	for range published {
		c.Publish(Event{Event: Failed, Name: "a.example"})
	}
	waitFor(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.lines["a.example"].events) <= waitingPerName
	})
	for i := range published {
		c.Publish(Event{Event: Failed, Name: fmt.Sprintf("n%d.example", i)})
	}
	c.mu.Lock()
	waiting, running := c.waiting, c.running
	c.mu.Unlock()
	if waiting > waitingAll || waiting < waitingAll-atOnce || running != atOnce {
		t.Errorf("%d wait, %d run", waiting, running)
	}
	if dropped := c.Stats().Dropped; dropped < 2*published-waitingAll-waitingPerName-2*atOnce {
		t.Errorf("%d dropped", dropped)
	}
	if got := log.lines("events dropped", `"count":1`); len(got) != 1 {
		t.Errorf("logged %q", log.lines("dropped"))
	}
	if err := os.WriteFile(filepath.Join(out, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Close()
	stats := c.Stats()
	if stats.Runs+stats.Dropped != 2*published || stats.Failed != 0 {
		t.Errorf("%+v", stats)
	}
	if got := log.lines("events dropped"); len(got) != 2 {
		t.Errorf("logged %q", got)
	}
}

// TestCommandClose: what runs may end, for a while, then it is killed; nothing is run afterwards.
func TestCommandClose(t *testing.T) {
	c, out, log := script(t, `echo $$ >$OUT/part-$2; mv $OUT/part-$2 $OUT/pid-$2
		[ $2 = a.example ] && { sleep 0.5; exit 0; }; sleep 1000`, func(o *CommandOptions) { o.Timeout = time.Minute })
	for _, name := range []string{"a.example", "b.example", "b.example"} {
		c.Publish(Event{Event: Fetched, Name: name})
	}
	for _, name := range []string{"pid-a.example", "pid-b.example"} {
		waitFor(t, func() bool { _, err := os.Stat(filepath.Join(out, name)); return err == nil })
	}
	began := time.Now()
	c.Close()
	if took := time.Since(began); took > closeWait+10*time.Second {
		t.Errorf("took %s", took)
	}
	c.Publish(Event{Event: Fetched, Name: "c.example"})
	if got := c.Stats(); got != (CommandStats{Runs: 2, Failed: 1, Dropped: 2}) {
		t.Errorf("%+v", got)
	}
	if len(log.lines(`"name":"a.example"`, `"exit_code":0`)) != 1 || len(log.lines(`"name":"b.example"`, errClosing.Error())) != 1 {
		t.Errorf("logged %q", log.lines())
	}
	if alive(t, read(t, out, "pid-b.example")) {
		t.Error("it was not killed")
	}
}

func TestCommandOptions(t *testing.T) {
	for _, options := range []CommandOptions{
		{},
		{Argv: []string{""}},
		{Argv: []string{"true", "a\x00b"}},
		{Argv: []string{"true"}, Events: []string{"gone"}},
	} {
		if _, err := NewCommand(options); err == nil {
			t.Errorf("%+v: no error", options)
		}
	}
}
