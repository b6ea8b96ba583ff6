// Command hellogate is an L4 load balancer that terminates TLS with certificates fetched on demand.
//
// It holds the command line and nothing else: every verb is a file that reads its flags and calls the package
// that does the work. Exit codes: 0 done, 1 failed (one line on standard error says why), 2 used wrongly.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hellogate/control/config"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// execute runs the command line and gives the exit code.
func execute(arguments []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	words, given, err := arrange(app, arguments)
	if err == nil {
		app.Metadata = map[string]any{givenKey: given}
		err = app.Run(append([]string{app.Name}, words...))
	}
	return conclude(stderr, err)
}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "hellogate",
		Usage:     "an L4 load balancer that terminates TLS with certificates fetched on demand",
		UsageText: "hellogate COMMAND [flags] [names]",
		Description: "Try it:    hellogate demo\n" +
			"Run it:    hellogate run --listen :443 --store https://127.0.0.1:8888/certs --backend 127.0.0.1:9000\n" +
			"           hellogate run --config /etc/hellogate/hellogate.yaml\n" +
			"Ask it:    hellogate status",
		Version:         version(),
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main exits
		Commands: []*cli.Command{
			runCommand(), checkCommand(), demoCommand(), certserverCommand(),
			statusCommand(), flushCommand(), certCommand(), acmeCommand(), prefetchCommand(), explainCommand(),
			backendsCommand(), drainCommand(), enableCommand(), disableCommand(), weightCommand(), connsCommand(), killCommand(),
			reloadCommand(), upgradeCommand(), shutdownCommand(), versionCommand(),
		},
	}
	for _, command := range app.Commands {
		complete(command)
	}
	cli.VersionPrinter = func(*cli.Context) { fmt.Fprintln(stdout, describeVersion()) }
	return app
}

// complete sets what all commands have alike.
func complete(command *cli.Command) {
	command.HideHelpCommand = true
	command.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return usage(command.HelpName, "%v", err)
	}
	for _, below := range command.Subcommands {
		complete(below)
	}
}

// usageError is an error of whoever typed the command line.
type usageError struct {
	command string // empty: hellogate itself
	reason  string
}

func usage(command, format string, arguments ...any) error {
	return &usageError{command: strings.TrimSpace(strings.TrimPrefix(command, "hellogate")), reason: fmt.Sprintf(format, arguments...)}
}

func (u *usageError) Error() string {
	command := strings.TrimSpace("hellogate " + u.command)
	return fmt.Sprintf("%s (see %s --help)", u.reason, command)
}

// conclude prints an error, on one line but for the problems of a configuration file, and gives the exit code.
func conclude(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if problems, ok := errors.AsType[config.Problems](err); ok && problems[0].File != "" {
		fmt.Fprintln(stderr, problems)
	} else {
		fmt.Fprintf(stderr, "hellogate: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return 2
	}
	return 1
}
