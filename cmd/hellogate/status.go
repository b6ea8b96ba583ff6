package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "say how a running hellogate is doing",
		UsageText: "hellogate status [--json] [--control PATH]",
		Description: "Examples:  hellogate status\n" +
			"           hellogate status --json | jq .connections.active\n\n" +
			"What is wrong comes first: an open breaker, servers that are down, certificates that can't be renewed.",
		Flags: []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			return show(c, "/status", (*control.Client).Status, report.Status)
		},
	}
}

// show asks for what a path of the control API has, and prints it for people, or with --json as it came.
func show[T any](c *cli.Context, path string, ask func(*control.Client, context.Context) (T, error), print func(io.Writer, T) error) error {
	if err := exactly(c, 0, ""); err != nil {
		return err
	}
	asked, out := client(c), stdout(c)
	defer asked.Close()
	if isJSON(c) {
		return asked.Copy(c.Context, out, path)
	}
	answer, err := ask(asked, c.Context)
	if err != nil {
		return err
	}
	return print(out, answer)
}
