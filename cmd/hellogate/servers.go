package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
	"hellogate/terminate/pool"
)

func backendsCommand() *cli.Command {
	return &cli.Command{
		Name:      "backends",
		Usage:     "list the backends and their servers",
		UsageText: "hellogate backends [--json] [--control PATH]",
		Description: "Examples:  hellogate backends\n" +
			"           hellogate backends --json | jq '.backends[].servers[] | select(.state != \"up\")'",
		Flags: []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			return show(c, "/backends", (*control.Client).Backends, report.Backends)
		},
	}
}

func drainCommand() *cli.Command {
	return &cli.Command{
		Name:      "drain",
		Usage:     "give a server no new connections, and let the open ones go on",
		UsageText: "hellogate drain BACKEND SERVER [--json] [--control PATH]",
		Description: "Example:   hellogate drain mail 10.0.0.5:143\n\n" +
			"The server is named as the configuration names it. It holds through reloads, until 'hellogate enable'.",
		Flags:  []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: changeServer((*control.Client).Drain),
	}
}

func enableCommand() *cli.Command {
	return &cli.Command{
		Name:        "enable",
		Usage:       "end what drain or disable began",
		UsageText:   "hellogate enable BACKEND SERVER [--json] [--control PATH]",
		Description: "Example:   hellogate enable mail 10.0.0.5:143",
		Flags:       []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action:      changeServer((*control.Client).Enable),
	}
}

func disableCommand() *cli.Command {
	kill := &cli.BoolFlag{Name: "kill", Usage: "reset the connections that are open, too"}
	return &cli.Command{
		Name:      "disable",
		Usage:     "give a server no new connections, whatever happens to the others",
		UsageText: "hellogate disable BACKEND SERVER [--kill] [--json] [--control PATH]",
		Description: "Examples:  hellogate disable mail 10.0.0.5:143\n" +
			"           hellogate disable mail 10.0.0.5:143 --kill\n\n" +
			"It holds through reloads, until 'hellogate enable'.",
		Flags: []cli.Flag{kill, controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			return changeServer(func(asked *control.Client, ctx context.Context, backend, server string) (control.ServerChange, error) {
				return asked.Disable(ctx, backend, server, c.Bool("kill"))
			})(c)
		},
	}
}

func weightCommand() *cli.Command {
	return &cli.Command{
		Name:      "weight",
		Usage:     "show or set the weight of a server",
		UsageText: "hellogate weight BACKEND SERVER [N] [--reset] [--json] [--control PATH]",
		Description: "Examples:  hellogate weight mail 10.0.0.5:143        say what it is\n" +
			"           hellogate weight mail 10.0.0.5:143 10     from 0, which gives it no new connections, to " + strconv.Itoa(pool.MaxWeight) + "\n" +
			"           hellogate weight mail 10.0.0.5:143 --reset\n\n" +
			"It holds until it is set again, or a reload changes the configured weight.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "reset", Usage: "have the weight that is configured again"},
			controlFlag(), jsonFlag("as the control API says it"),
		},
		Action: func(c *cli.Context) error {
			switch {
			case c.Bool("reset"):
				return changeServer(setWeight(asConfigured))(c)
			case c.NArg() == 2:
				return showServer(c)
			}
			if err := exactly(c, 3, "BACKEND SERVER"); err != nil {
				return err
			}
			weight, err := strconv.Atoi(c.Args().Get(2))
			if err != nil || weight < 0 || weight > pool.MaxWeight {
				return usage(c.Command.HelpName, "%q: a weight from 0 to %d expected", c.Args().Get(2), pool.MaxWeight)
			}
			return change(c, setWeight(weight))
		},
	}
}

// asConfigured is the weight that ends what was set.
const asConfigured = -1

// serverChange asks for a change of a backend's server.
type serverChange func(asked *control.Client, ctx context.Context, backend, server string) (control.ServerChange, error)

func setWeight(weight int) serverChange {
	return func(asked *control.Client, ctx context.Context, backend, server string) (control.ServerChange, error) {
		return asked.SetWeight(ctx, backend, server, weight)
	}
}

// changeServer asks for a change of the server that the two arguments name.
func changeServer(do serverChange) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := exactly(c, 2, "BACKEND SERVER"); err != nil {
			return err
		}
		return change(c, do)
	}
}

func change(c *cli.Context, do serverChange) error {
	asked, out := client(c), stdout(c)
	defer asked.Close()
	changed, err := do(asked, c.Context, c.Args().Get(0), c.Args().Get(1))
	if err != nil {
		return err
	}
	if isJSON(c) {
		return json.NewEncoder(out).Encode(changed)
	}
	if err := report.ServerChanged(out, changed); err != nil {
		return err
	}
	return out.err
}

// showServer prints what a server is now.
func showServer(c *cli.Context) error {
	return change(c, func(asked *control.Client, ctx context.Context, backend, address string) (control.ServerChange, error) {
		shown := control.ServerChange{Result: "success", Backend: backend}
		backends, err := asked.Backends(ctx)
		if err != nil {
			return shown, err
		}
		for _, found := range backends {
			for _, server := range found.Servers {
				if found.Name == backend && server.Address == address {
					shown.Servers = append(shown.Servers, server)
				}
			}
		}
		if len(shown.Servers) == 0 {
			return shown, fmt.Errorf("no server %q in a backend %q: 'hellogate backends' lists them", address, backend)
		}
		return shown, nil
	})
}
