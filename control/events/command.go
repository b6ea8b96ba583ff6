package events

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store/acme/program"
)

const (
	defaultTimeout = 30 * time.Second
	// atOnce is how many commands run at once.
	atOnce = 8
	// waitingPerName and waitingAll bound the events that wait for a command.
	waitingPerName = 16
	waitingAll     = 1024
	// closeWait is how long Close lets commands go on.
	closeWait = 2 * time.Second
	// droppedEvery is how often it is logged, at most, that events found no room.
	droppedEvery = time.Minute
	// several is the name of an event that is about several.
	several = "-"
)

// CommandOptions say what is run, and for what. Only Argv is needed.
type CommandOptions struct {
	// Argv is the program and its arguments. The kind of the event and the name follow them.
	Argv []string
	// Events are the kinds that it is run for; empty: all.
	Events []string
	// Timeout is when it is killed, with its process group; 0: 30 s.
	Timeout time.Duration
	// Log takes a line for each run, with what it printed.
	Log zerolog.Logger
}

// Command runs a program for each event: ARGV... EVENT NAME, with the event as a line of JSON on its standard input, and
// HELLOGATE_EVENT and HELLOGATE_NAME in its environment, which has PATH, HOME and LANG of ours besides, and nothing else.
// NAME is - for an event of several names, which are in its JSON; they are one run.
//
// It is never run for two events of a name at once, nor for two of several names: these wait for each other, in order. At
// most 8 run at once. What finds no room to wait is dropped, counted and logged.
type Command struct {
	options CommandOptions
	life    context.Context // of the runs
	end     context.CancelCauseFunc
	workers sync.WaitGroup

	mu      sync.Mutex // never held while anything runs or is logged
	closed  bool
	running int              // workers
	waiting int              // events
	lines   map[string]*line // by name; those with an event that waits or is run
	ready   []string         // names of lines of which an event may be run, in order
	stats   CommandStats
	told    uint64    // of stats.Dropped, in the log
	tell    time.Time // when it may be told again
}

// line is the events of one name, in order.
type line struct{ events []Event }

// CommandStats count since NewCommand.
type CommandStats struct {
	// Runs are those that ended, Failed those of them that did not exit with 0, or not in time, or could not be started.
	Runs, Failed uint64
	// Dropped are the events that it was not run for.
	Dropped uint64
}

// NewCommand checks options. Whether the program is there is seen when it is run. Close it.
func NewCommand(options CommandOptions) (*Command, error) {
	if err := program.Check(options.Argv); err != nil {
		return nil, fmt.Errorf("event command: %w", err)
	}
	for _, kind := range options.Events {
		if err := CheckKind(kind); err != nil {
			return nil, err
		}
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	c := &Command{options: options, lines: make(map[string]*line)}
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
}

// Publish has the command run for an event, unless it is for others or too many wait. It does not wait for that.
func (c *Command) Publish(event Event) {
	if len(c.options.Events) > 0 && !slices.Contains(c.options.Events, event.Event) {
		return
	}
	event = event.finished(time.Now())
	c.mu.Lock()
	if !c.queue(event) {
		c.stats.Dropped++
	}
	lost := c.toTell(time.Now())
	c.mu.Unlock()
	if lost > 0 {
		c.options.Log.Warn().Uint64("count", lost).Str("command", c.options.Argv[0]).Msg("event command: events dropped")
	}
}

// queue reports whether there was room. The caller holds mu.
func (c *Command) queue(event Event) bool {
	if c.closed || c.waiting >= waitingAll {
		return false
	}
	name := nameOf(event)
	own := c.lines[name]
	if own == nil {
		own = new(line)
		c.lines[name] = own
		c.ready = append(c.ready, name)
	}
	if len(own.events) >= waitingPerName {
		return false
	}
	own.events = append(own.events, event)
	c.waiting++
	if c.running < atOnce {
		c.running++
		c.workers.Go(c.work)
	}
	return true
}

// toTell is how many events were dropped that the log does not know of, if it is time to say so. The caller holds mu.
func (c *Command) toTell(now time.Time) uint64 {
	lost := c.stats.Dropped - c.told
	if lost == 0 || now.Before(c.tell) {
		return 0
	}
	c.told, c.tell = c.stats.Dropped, now.Add(droppedEvery)
	return lost
}

// work runs the command for what waits, until nothing does.
func (c *Command) work() {
	for {
		event, found := c.next()
		if !found {
			return
		}
		ended := c.run(event)
		c.log(event, ended)
		c.done(event, ended)
	}
}

// next takes the event whose turn it is. Without one, the worker is no more.
func (c *Command) next() (event Event, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ready) == 0 {
		c.running--
		return Event{}, false
	}
	own := c.lines[c.ready[0]]
	c.ready = slices.Delete(c.ready, 0, 1)
	event = own.events[0]
	own.events = slices.Delete(own.events, 0, 1)
	c.waiting--
	return event, true
}

// done lets the next event of the same name have its turn.
func (c *Command) done(event Event, ended program.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Runs++
	if ended.Err != nil {
		c.stats.Failed++
	}
	name := nameOf(event)
	if len(c.lines[name].events) == 0 {
		delete(c.lines, name)
		return
	}
	c.ready = append(c.ready, name)
}

// Close drops what waits, lets running commands go on for two seconds, kills them, and returns when all have ended.
func (c *Command) Close() {
	c.mu.Lock()
	c.closed = true
	c.stats.Dropped += uint64(c.waiting)
	c.waiting = 0
	c.ready = nil
	for _, each := range c.lines {
		each.events = nil
	}
	lost := c.toTell(c.tell) // whatever the time
	c.mu.Unlock()
	if lost > 0 {
		c.options.Log.Warn().Uint64("count", lost).Str("command", c.options.Argv[0]).Msg("event command: events dropped")
	}
	killed := time.AfterFunc(closeWait, func() { c.end(errClosing) })
	defer killed.Stop()
	c.workers.Wait()
	c.end(errClosing)
}

// Stats returns what was counted until now.
func (c *Command) Stats() CommandStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// nameOf is the name that an event is run for.
func nameOf(event Event) string {
	switch {
	case event.Name != "":
		return event.Name
	case len(event.Names) == 1 && event.More == 0:
		return event.Names[0]
	}
	return several
}

// lineOf is the event as a line of JSON.
func lineOf(event Event) []byte {
	text, err := json.Marshal(event)
	if err != nil {
		return []byte("{}\n") // a year that JSON has no room for
	}
	return append(text, '\n')
}
