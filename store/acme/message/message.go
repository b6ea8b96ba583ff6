// Package message tells the operator's program of the life of a certificate, as Apache's mod_md tells its MDMessageCmd, so
// that scripts written for that work as they are.
//
// The rule it guards: the program is asked before and told after, in order for each name, and what it answers counts.
package message

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store/acme/program"
)

// What the program is told. See also ChallengeSetup.
const (
	// Renewing: a certificate is about to be ordered. Other than 0 forbids it, for now.
	Renewing = "renewing"
	// Renewed: the new certificate and its key are in the storage. Other than 0: it is to be told again.
	Renewed = "renewed"
	// Installed: new handshakes get it.
	Installed = "installed"
	// Expiring: the certificate has a tenth of its lifetime left, and no other is there.
	Expiring = "expiring"
	// Errored: a renewal failed.
	Errored = "errored"
)

const (
	challengeSetup = "challenge-setup"
	defaultTimeout = 5 * time.Minute
	// atOnce is how many runs there are at once.
	atOnce = 8
)

// ChallengeSetup is the reason that says that the answer to a challenge is in place, and the authority about to be told so.
// Other than 0 aborts the order.
func ChallengeSetup(kind, dnsName string) string {
	return challengeSetup + ":" + kind + ":" + dnsName
}

// Options say what is run. Only Argv is needed.
type Options struct {
	// Argv is the program and its arguments; reason and name follow them.
	Argv []string
	// Timeout is when it is killed, with its process group; 0: 5 minutes.
	Timeout time.Duration
	// Env ("K=V") is in its environment, beside PATH, HOME and LANG of ours, HELLOGATE_EVENT and HELLOGATE_NAME.
	Env []string
	// Log takes a line for each run that exited with 0, with what it printed.
	Log zerolog.Logger
}

// Command runs a program as ARGV... REASON NAME: never twice at once for a name, at most 8 times at once. A nil one runs
// nothing and agrees to everything. It is safe for concurrent use.
type Command struct {
	options Options
	running chan struct{} // one for each run

	mu    sync.Mutex // never held while anything runs
	names map[string]*turn
}

// turn is whose turn it is for one name.
type turn struct {
	taken chan struct{} // one while it runs
	users int           // that wait or run
}

// New checks options. Whether the program is there is seen when it is run.
func New(options Options) (*Command, error) {
	if err := program.Check(options.Argv); err != nil {
		return nil, fmt.Errorf("message command: %w", err)
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	return &Command{options: options, running: make(chan struct{}, atOnce), names: make(map[string]*turn)}, nil
}

// Send runs the program for a reason and a name, and waits for it. nil is its yes: it exited with 0, which is noted in sent,
// or sent says that it did so a short time ago: mod_md too runs it no more than once an hour, or a day, in that case. Else
// the error says how it ended, and what it printed. When ctx is done it is killed.
//
// sent is the name's; nil limits nothing. One sent must not be in two calls at once.
func (c *Command) Send(ctx context.Context, reason, name string, sent *Sent) error {
	if c == nil || !sent.due(reason, time.Now()) {
		return nil
	}
	end, err := c.begin(ctx, name)
	if err != nil {
		return fmt.Errorf("message command: wait to run it for %s %s: %w", reason, name, err)
	}
	defer end()
	if err := c.run(ctx, reason, name); err != nil {
		return fmt.Errorf("message command: %s %s: %w", reason, name, err)
	}
	sent.note(reason, time.Now())
	return nil
}

func (c *Command) run(ctx context.Context, reason, name string) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	ended := program.Command{
		Argv: slices.Concat(c.options.Argv, []string{reason, name}),
		Env:  slices.Concat([]string{"HELLOGATE_EVENT=" + reason, "HELLOGATE_NAME=" + name}, c.options.Env),
	}.Run(ctx)
	if ended.Err == nil {
		ended.Log(c.options.Log.Info(), c.options.Argv[0]).Str("reason", reason).Str("name", name).Msg("message command")
	}
	return ended.Failure(c.options.Argv[0])
}

// begin waits for the turn of a name, and for one of the runs that there may be at once. end has to be called.
func (c *Command) begin(ctx context.Context, name string) (end func(), err error) {
	own := c.join(name)
	if err := take(ctx, own.taken); err != nil {
		c.leave(name, own)
		return nil, err
	}
	if err := take(ctx, c.running); err != nil {
		<-own.taken
		c.leave(name, own)
		return nil, err
	}
	return func() {
		<-c.running
		<-own.taken
		c.leave(name, own)
	}, nil
}

func take(ctx context.Context, place chan<- struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case place <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Command) join(name string) *turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.names[name]
	if own == nil {
		own = &turn{taken: make(chan struct{}, 1)}
		c.names[name] = own
	}
	own.users++
	return own
}

func (c *Command) leave(name string, own *turn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if own.users--; own.users == 0 {
		delete(c.names, name)
	}
}
