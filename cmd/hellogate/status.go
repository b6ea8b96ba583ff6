package main

import (
	"github.com/urfave/cli/v2"

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
			if err := exactly(c, 0, ""); err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if isJSON(c) {
				return asked.Copy(c.Context, out, "/status")
			}
			status, err := asked.Status(c.Context)
			if err != nil {
				return err
			}
			return report.Status(out, status)
		},
	}
}

func backendsCommand() *cli.Command {
	return &cli.Command{
		Name:        "backends",
		Usage:       "list the backends and their servers",
		UsageText:   "hellogate backends [--json] [--control PATH]",
		Description: "Example:   hellogate backends",
		Flags:       []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			if err := exactly(c, 0, ""); err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if isJSON(c) {
				return asked.Copy(c.Context, out, "/backends")
			}
			backends, err := asked.Backends(c.Context)
			if err != nil {
				return err
			}
			return report.Backends(out, backends)
		},
	}
}
