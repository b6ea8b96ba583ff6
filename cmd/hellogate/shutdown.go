package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func shutdownCommand() *cli.Command {
	return &cli.Command{
		Name:      "shutdown",
		Usage:     "end a running hellogate as SIGTERM does, letting open connections end",
		UsageText: "hellogate shutdown [--control PATH]",
		Description: "Example:   hellogate shutdown\n\n" +
			"It returns at once; connections that are open have limits.drain_timeout to end.",
		Flags: []cli.Flag{controlFlag()},
		Action: func(c *cli.Context) error {
			if err := exactly(c, 0, ""); err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if err := asked.Shutdown(c.Context); err != nil {
				return err
			}
			fmt.Fprintln(out, "shutting down")
			return out.err
		},
	}
}
