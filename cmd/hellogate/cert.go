package main

import (
	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
)

func certCommand() *cli.Command {
	return &cli.Command{
		Name:        "cert",
		Usage:       "look at the certificates in the cache",
		UsageText:   "hellogate cert ls [PATTERN]\nhellogate cert show NAME",
		Description: "Example:   hellogate cert ls '*.example.com'",
		Subcommands: []*cli.Command{certListCommand(), certShowCommand()},
	}
}

func certListCommand() *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list the certificates in the cache",
		UsageText: "hellogate cert ls [PATTERN] [--json] [--control PATH]",
		Description: "Examples:  hellogate cert ls\n" +
			"           hellogate cert ls '.example.com'       names with any number of labels in front\n" +
			"           hellogate cert ls --json | jq -r '.certs[].name'",
		Flags: []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return exactly(c, 1, "")
			}
			pattern := ""
			if c.NArg() == 1 {
				var err error
				if pattern, err = namePattern(c, c.Args().First()); err != nil {
					return err
				}
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if isJSON(c) {
				return asked.Copy(c.Context, out, control.CertsPath(pattern))
			}
			return listCerts(c, asked, out, pattern)
		},
	}
}

func listCerts(c *cli.Context, asked *control.Client, out *output, pattern string) error {
	first := true
	for cert, err := range asked.Certs(c.Context, pattern) {
		if err != nil {
			return err
		}
		if first {
			report.CertsHead(out)
			first = false
		}
		if err := report.CertLine(out, cert); err != nil {
			return out.err
		}
	}
	return out.err
}

func certShowCommand() *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show what is known of a name's certificate",
		UsageText:   "hellogate cert show NAME [--json] [--control PATH]",
		Description: "Example:   hellogate cert show www.example.com",
		Flags:       []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			name, err := hostName(c)
			if err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if isJSON(c) {
				return asked.Copy(c.Context, out, control.CertPath(name))
			}
			cert, err := asked.Cert(c.Context, name)
			if err != nil {
				return err
			}
			return report.Cert(out, cert)
		},
	}
}
