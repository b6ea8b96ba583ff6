package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
)

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:      "reload",
		Usage:     "have a running hellogate read its configuration file again",
		UsageText: "hellogate reload [--json] [--control PATH]",
		Description: "Example:   hellogate reload\n\n" +
			"The whole file is checked first. When anything is wrong with it, every problem is printed with its place, as\n" +
			"'hellogate check' does, and everything stays as it was. No connection is dropped. SIGHUP does the same.",
		Flags: []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			return command(c, (*control.Client).Reload, report.Reloaded)
		},
	}
}

func upgradeCommand() *cli.Command {
	return &cli.Command{
		Name:      "upgrade",
		Usage:     "have a new process take over, from the program that is installed now",
		UsageText: "hellogate upgrade [--json] [--control PATH]",
		Description: "Example:   hellogate upgrade\n\n" +
			"It returns when the new process accepts connections. The old one lets those that are open end, for as long as\n" +
			"limits.upgrade_drain_timeout. When the new process does not start, the old one goes on. SIGUSR2 does the same.",
		Flags: []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			return command(c, (*control.Client).Upgrade, func(out io.Writer, result control.UpgradeResult) error {
				_, err := fmt.Fprintf(out, "upgraded: process %d has taken over\n", result.PID)
				return err
			})
		},
	}
}

// command asks for something without arguments and prints what came of it, for people or as JSON.
func command[T any](c *cli.Context, ask func(*control.Client, context.Context) (T, error), print func(io.Writer, T) error) error {
	if err := exactly(c, 0, ""); err != nil {
		return err
	}
	asked, out := client(c), stdout(c)
	defer asked.Close()
	answer, err := ask(asked, c.Context)
	if err != nil {
		return err
	}
	if isJSON(c) {
		return json.NewEncoder(out).Encode(answer)
	}
	return print(out, answer)
}
