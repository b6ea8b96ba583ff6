package main

import (
	"io"
	"iter"
	"time"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/config"
	"hellogate/control/report"
)

func certCommand() *cli.Command {
	return &cli.Command{
		Name:        "cert",
		Usage:       "look at the certificates in the cache, and put some there by hand",
		UsageText:   "hellogate cert ls [PATTERN]\nhellogate cert show NAME\nhellogate cert put NAME --cert FILE --key FILE\nhellogate cert rm NAME",
		Description: "Example:   hellogate cert ls '*.example.com'",
		Subcommands: []*cli.Command{certListCommand(), certShowCommand(), certPutCommand(), certRemoveCommand()},
	}
}

func certListCommand() *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list the certificates in the cache",
		UsageText: "hellogate cert ls [PATTERN] [--expiring DURATION] [--json] [--control PATH]",
		Description: "Examples:  hellogate cert ls\n" +
			"           hellogate cert ls '.example.com'       names with any number of labels in front\n" +
			"           hellogate cert ls --expiring 7d        those that expire within a week\n" +
			"           hellogate cert ls --json | jq -r '.certs[].name'",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "expiring", Usage: "only those that expire within this `DURATION`, such as 7d or 12h"},
			controlFlag(), jsonFlag("as the control API says it"),
		},
		Action: func(c *cli.Context) error {
			wanted, err := wantedCerts(c)
			if err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if isJSON(c) {
				return asked.Copy(c.Context, out, wanted.Path())
			}
			return listCerts(c, asked, out, wanted)
		},
	}
}

// wantedCerts is what a list is asked for: a pattern, and how soon they expire.
func wantedCerts(c *cli.Context) (wanted control.CertsRequest, err error) {
	if c.NArg() > 1 {
		return wanted, exactly(c, 1, "")
	}
	if c.NArg() == 1 {
		if wanted.Pattern, err = namePattern(c, c.Args().First()); err != nil {
			return wanted, err
		}
	}
	if given(c, "expiring") {
		if wanted.Expiring, err = config.ParseDuration(c.String("expiring")); err != nil || wanted.Expiring < time.Second {
			return wanted, usage(c.Command.HelpName, "--expiring %q: a duration of 1s or more expected, such as 7d", c.String("expiring"))
		}
	}
	return wanted, nil
}

func listCerts(c *cli.Context, asked *control.Client, out *output, wanted control.CertsRequest) error {
	return list(out, asked.Certs(c.Context, wanted), report.CertsHead, report.CertLine)
}

// list writes a line for each of a stream, as they come; above them, if there are any, a head.
func list[T any](out *output, all iter.Seq2[T, error], head func(io.Writer) error, line func(io.Writer, T) error) error {
	first := true
	for each, err := range all {
		if err != nil {
			return err
		}
		if first {
			_ = head(out) // out keeps its error
			first = false
		}
		if err := line(out, each); err != nil {
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
