package main

import (
	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
	"hellogate/sni"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "say what a client that asks for a name would get, and why",
		UsageText: "hellogate explain NAME [--fetch] [--alpn PROTOCOL] [--client ADDRESS] [--listener NAME] [--json] [--control PATH]",
		Description: "Examples:  hellogate explain www.example.com\n" +
			"           hellogate explain www.example.com --fetch      really look it up\n" +
			"           hellogate explain www.example.com --client 192.0.2.7 --listener :443 --alpn imap",
		Flags: append([]cli.Flag{&cli.BoolFlag{Name: "fetch", Usage: "ask the store if the name is not in the cache"}},
			append(clientFlags(), controlFlag(), jsonFlag("as the control API says it"))...),
		Action: func(c *cli.Context) error {
			name, err := hostName(c)
			if err != nil {
				return err
			}
			if _, err := clientQuery(c, name); err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			options := control.ExplainOptions{
				Fetch: c.Bool("fetch"), ALPN: c.StringSlice("alpn"), Client: c.String("client"), Listener: c.String("listener"),
			}
			if isJSON(c) {
				return asked.ExplainJSON(c.Context, out, name, options)
			}
			explanation, err := asked.Explain(c.Context, name, options)
			if err != nil {
				return err
			}
			return report.Explanation(out, explanation)
		},
	}
}

// clientFlags say more of the client that an explanation is for.
func clientFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "alpn", Usage: "`PROTOCOL` that the client offers; may be repeated"},
		&cli.StringFlag{Name: "client", Usage: "`ADDRESS` of the client"},
		&cli.StringFlag{Name: "listener", Usage: "`NAME` of the listener that it comes in at, by default its address"},
	}
}

// clientQuery is the client that clientFlags tell of.
func clientQuery(c *cli.Context, name string) (sni.Query, error) {
	query, err := control.ClientQuery(name, c.StringSlice("alpn"), c.String("client"), c.String("listener"))
	if err != nil {
		return query, usage(c.Command.HelpName, "--%v", err)
	}
	return query, nil
}
