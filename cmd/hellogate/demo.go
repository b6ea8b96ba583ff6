package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"hellogate/control/demo"
	"hellogate/control/logging"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:      "demo",
		Usage:     "try it: a certificate server, a backend and the load balancer, all on loopback",
		UsageText: "hellogate demo [--listen ADDRESS]",
		Description: "Example:   hellogate demo\n\n" +
			"It needs nothing, prints the commands to try, and removes its files when Ctrl-C ends it.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` of the load balancer (default: " + demo.DefaultAddress + ", or a free port)"},
			&cli.StringFlag{Name: "log-level", Value: "info", Usage: "`LEVEL` of the least that is logged"},
		},
		Action: func(c *cli.Context) error {
			if err := exactly(c, 0, ""); err != nil {
				return err
			}
			return foreground(c, c.String("log-level"), logging.Text, func(ctx context.Context, log *logging.Log) error {
				return demo.Run(ctx, demo.Options{Listen: c.String("listen"), Version: version(), Output: stdout(c), Log: log.Logger})
			})
		},
	}
}
