package main

import (
	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "say what a client that asks for a name would get, and why",
		UsageText: "hellogate explain NAME [--fetch] [--alpn PROTOCOL] [--json] [--control PATH]",
		Description: "Examples:  hellogate explain www.example.com\n" +
			"           hellogate explain www.example.com --fetch      really look it up",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "fetch", Usage: "ask the store if the name is not in the cache"},
			&cli.StringSliceFlag{Name: "alpn", Usage: "`PROTOCOL` that the client offers; may be repeated"},
			controlFlag(), jsonFlag("as the control API says it"),
		},
		Action: func(c *cli.Context) error {
			name, err := hostName(c)
			if err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			options := control.ExplainOptions{Fetch: c.Bool("fetch"), ALPN: c.StringSlice("alpn")}
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
