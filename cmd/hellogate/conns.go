package main

import (
	"encoding/json"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
)

func connsCommand() *cli.Command {
	return &cli.Command{
		Name:  "conns",
		Usage: "list the open connections, the oldest first",
		UsageText: "hellogate conns [--name PATTERN] [--client RANGE] [--server ADDRESS] [--backend NAME]\n" +
			"                [--route PATTERN] [--listener NAME] [--stage STAGE] [--json] [--control PATH]",
		Description: "Examples:  hellogate conns\n" +
			"           hellogate conns --client 192.0.2.0/24 --backend mail\n" +
			"           hellogate conns --name '*.example.com' --stage splice\n" +
			"           hellogate conns --json | jq -r '.connections[].id'\n\n" +
			"All filters that are given must hold. The stages are proxy, preamble, hello, route, cert, handshake, startup, connect and splice.",
		Flags: append(connectionFlags(), controlFlag(), jsonFlag("as the control API says it")),
		Action: func(c *cli.Context) error {
			if err := exactly(c, 0, ""); err != nil {
				return err
			}
			wanted, err := wantedConnections(c)
			if err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if isJSON(c) {
				return asked.Copy(c.Context, out, wanted.Path())
			}
			return listConnections(c, asked, out, wanted)
		},
	}
}

func connectionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "those that asked for a name that matches this `PATTERN`"},
		&cli.StringFlag{Name: "client", Usage: "those of this address, or of this `RANGE` of them, such as 192.0.2.0/24"},
		&cli.StringFlag{Name: "server", Usage: "those to the server with this `ADDRESS`, as configured"},
		&cli.StringFlag{Name: "backend", Usage: "those to the backend of this `NAME`"},
		&cli.StringFlag{Name: "route", Usage: "those of the route that has this `PATTERN`, also when it was removed since"},
		&cli.StringFlag{Name: "listener", Usage: "those that came in at the listener of this `NAME`"},
		&cli.StringFlag{Name: "stage", Usage: "those in this `STAGE`"},
	}
}

// wantedConnections are those that the filters take.
func wantedConnections(c *cli.Context) (control.ConnectionsRequest, error) {
	wanted := control.ConnectionsRequest{
		Name: c.String("name"), Client: c.String("client"), Server: c.String("server"), Backend: c.String("backend"),
		Route: c.String("route"), Listener: c.String("listener"), Stage: c.String("stage"),
	}
	for _, flag := range connectionFlags() {
		if name := flag.Names()[0]; given(c, name) && c.String(name) == "" {
			return wanted, usage(c.Command.HelpName, "--%s needs a value", name)
		}
	}
	return checkedConnections(c, wanted)
}

func checkedConnections(c *cli.Context, wanted control.ConnectionsRequest) (control.ConnectionsRequest, error) {
	checked, err := wanted.Check()
	if err != nil {
		return checked, usage(c.Command.HelpName, "%v", err)
	}
	return checked, nil
}

func listConnections(c *cli.Context, asked *control.Client, out *output, wanted control.ConnectionsRequest) error {
	return list(out, asked.Connections(c.Context, wanted), report.ConnectionsHead, report.ConnectionLine)
}

func killCommand() *cli.Command {
	return &cli.Command{
		Name:  "kill",
		Usage: "reset open connections",
		UsageText: "hellogate kill ID...\n" +
			"hellogate kill [--name PATTERN] [--client RANGE] [--server ADDRESS] [--backend NAME] [--route PATTERN]\n" +
			"               [--listener NAME] [--stage STAGE]\n" +
			"hellogate kill --all",
		Description: "Examples:  hellogate kill 7f3a90c1000000000000002a\n" +
			"           hellogate kill --client 192.0.2.7\n" +
			"           hellogate kill --route '*.old.example.com'      those of a route that a reload removed\n\n" +
			"'hellogate conns' with the same filters shows which they are.",
		Flags: append([]cli.Flag{&cli.BoolFlag{Name: "all", Usage: "every connection"}},
			append(connectionFlags(), controlFlag(), jsonFlag("as the control API says it"))...),
		Action: func(c *cli.Context) error {
			wanted, err := wantedConnections(c)
			if err != nil {
				return err
			}
			wanted.IDs = c.Args().Slice()
			request := control.KillRequest{ConnectionsRequest: wanted, All: c.Bool("all")}
			if _, err := request.Check(); err != nil {
				return usage(c.Command.HelpName, "%v", err)
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			result, err := asked.Kill(c.Context, request)
			if err != nil {
				return err
			}
			if isJSON(c) {
				return json.NewEncoder(out).Encode(result)
			}
			return report.Killed(out, result)
		},
	}
}
