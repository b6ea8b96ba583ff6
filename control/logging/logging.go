// Package logging makes the process's logger: zerolog, one line an event, on standard error.
//
// The rule it guards: a log that can't be written never holds up traffic. Lines are handed to a bounded
// queue; what doesn't fit, or can't be written, is dropped and counted. And nothing that a peer sent can
// play tricks on a terminal: only ASCII leaves this package.
package logging

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// The formats that New takes.
const (
	JSON = "json"
	Text = "text"
)

// flushWait is how long Close waits for the last lines.
const flushWait = time.Second

func init() {
	// zerolog has these as globals only.
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
}

// Log is a logger and the queue behind it. Close it to have the last lines written.
type Log struct {
	zerolog.Logger
	queue *queue
	least *least
}

// least is the level from which on lines are written. It is a sampler, since a logger's own level is in every copy of it.
type least struct{ level atomic.Int32 }

// Sample is zerolog.Sampler's.
func (l *least) Sample(level zerolog.Level) bool { return int32(level) >= l.level.Load() }

// New makes a Log that writes to output lines of at least the given level (trace, debug, info, warn, error,
// or off) in the given format (JSON or Text). The caller closes the Log; output stays open.
func New(output io.Writer, level, format string) (*Log, error) {
	minimum, err := parseLevel(level)
	if err != nil {
		return nil, err
	}
	queue := newQueue(output, queueBytes)
	writer, err := formatter(queue, format, colours(output))
	if err != nil {
		return nil, err
	}
	from := new(least)
	from.level.Store(int32(minimum))
	logger := zerolog.New(writer).Level(zerolog.TraceLevel).Sample(from).With().Timestamp().Logger()
	queue.start(func(lines uint64) { logger.Warn().Uint64("lines", lines).Msg("log lines dropped") })
	return &Log{Logger: logger, queue: queue, least: from}, nil
}

// Relevel has lines written from another level on, by every logger that was made of this one and has no level of its own.
func (l *Log) Relevel(level string) error {
	minimum, err := parseLevel(level)
	if err == nil {
		l.least.level.Store(int32(minimum))
	}
	return err
}

// Dropped is the number of lines lost since the start.
func (l *Log) Dropped() uint64 { return l.queue.dropped.Load() }

// Close waits up to a second for the queue to be written. Lines logged later are dropped.
func (l *Log) Close() { l.queue.close(flushWait) }

func parseLevel(text string) (zerolog.Level, error) {
	switch text {
	case "trace", "debug", "info", "warn", "error":
		return zerolog.ParseLevel(text)
	case "off":
		return zerolog.Disabled, nil
	}
	return 0, fmt.Errorf("log level %+q: not one of trace, debug, info, warn, error, off", text)
}

func formatter(queue io.Writer, format string, colours bool) (io.Writer, error) {
	switch format {
	case JSON:
		return ascii{queue}, nil
	case Text:
		// The console writer's own colour codes are ASCII; what it prints of a value is filtered after it.
		return zerolog.ConsoleWriter{Out: ascii{queue}, NoColor: !colours, TimeFormat: "15:04:05.000"}, nil
	}
	return nil, fmt.Errorf("log format %+q: not one of json, text", format)
}

func colours(output io.Writer) bool {
	file, ok := output.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && isatty.IsTerminal(file.Fd())
}
