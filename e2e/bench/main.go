// Command bench measures what hellogate costs beside HAProxy, hitch and nginx: the processor time of each one's own
// processes for an operation, and their resident memory for an idle connection.
//
//	go run ./e2e/bench [flags]               measures, prints a table, writes every run as JSON
//	go run ./e2e/bench report FILE...        prints the table of such files again
//
// It needs Linux. The peers that are not installed are left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"hellogate/e2e/bench/result"
)

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit code: 0 done, 1 failed or some run did, 2 used wrongly.
func run(arguments []string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := dispatch(ctx, arguments)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		return 2
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func dispatch(ctx context.Context, arguments []string) error {
	if len(arguments) > 0 {
		if serve, found := children[arguments[0]]; found {
			return serve(os.Stdin, os.Stdout)
		}
		if arguments[0] == "report" {
			return printAgain(arguments[1:])
		}
	}
	options, err := parse(arguments)
	if err != nil {
		return err
	}
	report, err := measure(ctx, options)
	if report == nil || len(report.Runs) == 0 {
		return err
	}
	if printed := report.Print(os.Stdout, options.markdown); err == nil {
		err = printed
	}
	if failed := report.Failed(); err == nil && failed > 0 {
		err = fmt.Errorf("%d runs failed", failed)
	}
	return err
}

func printAgain(arguments []string) error {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	markdown := flags.Bool("markdown", false, "print the tables as Markdown")
	if err := flags.Parse(arguments); err != nil {
		return usage(err)
	}
	if flags.NArg() == 0 {
		return fmt.Errorf("%w: report needs files", errUsage)
	}
	report, err := result.Read(flags.Args()...)
	if err != nil {
		return err
	}
	return report.Print(os.Stdout, *markdown)
}
