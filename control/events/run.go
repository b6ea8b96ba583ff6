package events

import (
	"context"
	"errors"
	"slices"

	"github.com/rs/zerolog"

	"hellogate/store/acme/program"
)

// errClosing is why a command is killed by Close.
var errClosing = errors.New("the process ends")

// run runs the command for an event, and waits for it.
func (c *Command) run(event Event) program.Outcome {
	ctx, cancel := context.WithTimeout(c.life, c.options.Timeout)
	defer cancel()
	name := nameOf(event)
	return program.Command{
		Argv:  slices.Concat(c.options.Argv, []string{event.Event, name}),
		Env:   []string{"HELLOGATE_EVENT=" + event.Event, "HELLOGATE_NAME=" + name},
		Stdin: lineOf(event),
	}.Run(ctx)
}

func (c *Command) log(event Event, ended program.Outcome) {
	level := zerolog.InfoLevel
	if ended.Err != nil {
		level = zerolog.WarnLevel
	}
	line := c.options.Log.WithLevel(level).Str("event", event.Event).Str("name", nameOf(event))
	ended.Log(line, c.options.Argv[0]).Msg("event command")
}
