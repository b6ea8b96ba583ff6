package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"hellogate/control/demo"
	"hellogate/control/instance"
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
			signal.Ignore(syscall.SIGPIPE)
			log, err := logging.New(os.Stderr, c.String("log-level"), logging.Text)
			if err != nil {
				return usage(c.Command.HelpName, "%v", err)
			}
			defer log.Close()
			if err := instance.NoCoreDumps(); err != nil {
				log.Warn().Err(err).Msg("core dumps stay on")
			}
			ctx, stop := untilSignal(c.Context)
			defer stop()
			return demo.Run(ctx, demo.Options{Listen: c.String("listen"), Version: version(), Output: stdout(c), Log: log.Logger})
		},
	}
}
