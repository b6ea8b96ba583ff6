package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"hellogate/control/instance"
	"hellogate/control/logging"
)

// sameSignal is how soon after the first a second signal is taken for the same one: a supervisor may send it to
// the process and to its group.
const sameSignal = 300 * time.Millisecond

// untilSignal gives a context that the first SIGINT or SIGTERM ends. The second ends the process at once.
// Call stop when neither is waited for any more.
func untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var first time.Time
		for {
			select {
			case <-signals:
				if first.IsZero() {
					first = time.Now()
					cancel()
				} else if time.Since(first) > sameSignal {
					os.Exit(1)
				}
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		<-done
		cancel()
	}
}

// foreground is what the commands that stay have alike: a log on standard error, no core dumps, and an end by signal.
func foreground(c *cli.Context, level, format string, run func(context.Context, *logging.Log) error) error {
	// Whoever reads standard error may end; the traffic goes on.
	signal.Ignore(syscall.SIGPIPE)
	log, err := logging.New(os.Stderr, level, format)
	if err != nil {
		return usage(c.Command.HelpName, "%v", err)
	}
	defer log.Close()
	if err := instance.NoCoreDumps(); err != nil {
		log.Warn().Err(err).Msg("core dumps stay on")
	}
	ctx, stop := untilSignal(c.Context)
	defer stop()
	return run(ctx, log)
}
