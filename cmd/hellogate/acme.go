package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
)

func acmeCommand() *cli.Command {
	return &cli.Command{
		Name:        "acme",
		Usage:       "look at the certificates that are ordered from a CA, renew and revoke them",
		UsageText:   "hellogate acme ls [PATTERN]\nhellogate acme show NAME\nhellogate acme renew NAME [--force]\nhellogate acme revoke NAME [--reason REASON]",
		Description: "Example:   hellogate acme show www.example.com",
		Subcommands: []*cli.Command{acmeListCommand(), acmeShowCommand(), acmeRenewCommand(), acmeRevokeCommand()},
	}
}

func acmeListCommand() *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list the names that certificates are ordered for",
		UsageText: "hellogate acme ls [PATTERN] [--json] [--control PATH]",
		Description: "Examples:  hellogate acme ls\n" +
			"           hellogate acme ls '.example.com'       names with any number of labels in front\n" +
			"           hellogate acme ls --json | jq -r '.acme[].names[] | select(.errors > 0) | .name'",
		Flags: []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) (err error) {
			pattern := ""
			if c.NArg() > 1 {
				return exactly(c, 1, "")
			}
			if c.NArg() == 1 {
				if pattern, err = namePattern(c, c.Args().First()); err != nil {
					return err
				}
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if isJSON(c) {
				return asked.Copy(c.Context, out, control.ACMEPath(pattern))
			}
			return list(out, acmeNames(c, asked, pattern), report.ACMEHead, report.ACMELine)
		},
	}
}

// acmeNames are those of all stores.
func acmeNames(c *cli.Context, asked *control.Client, pattern string) func(yield func(control.ACMEName, error) bool) {
	return func(yield func(control.ACMEName, error) bool) {
		for store, err := range asked.ACME(c.Context, pattern) {
			if err != nil {
				yield(control.ACMEName{}, err)
				return
			}
			for _, name := range store.Names {
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}

func acmeShowCommand() *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show when a name is renewed, and what the last try did, step by step",
		UsageText:   "hellogate acme show NAME [--json] [--control PATH]",
		Description: "Examples:  hellogate acme show www.example.com\n           hellogate acme show '*.example.com'",
		Flags:       []cli.Flag{controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			name, err := acmeName(c)
			if err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if isJSON(c) {
				return asked.Copy(c.Context, out, control.ACMENamePath(name))
			}
			found, err := asked.ACMEName(c.Context, name)
			if err != nil {
				return err
			}
			return report.ACMEName(out, found)
		},
	}
}

// acmeName is the one argument of a command, which is a name or a wildcard.
func acmeName(c *cli.Context) (string, error) {
	if err := exactly(c, 1, "NAME"); err != nil {
		return "", err
	}
	name, err := control.ParseACMEName(c.Args().First())
	if err != nil {
		return "", usage(c.Command.HelpName, "%v", err)
	}
	return name, nil
}

func acmeRenewCommand() *cli.Command {
	return &cli.Command{
		Name:      "renew",
		Usage:     "order a certificate anew now, if it is due",
		UsageText: "hellogate acme renew NAME [--force] [--json] [--control PATH]",
		Description: "Examples:  hellogate acme renew www.example.com             also while it waits after an error\n" +
			"           hellogate acme renew www.example.com --force     although it is not due\n\n" +
			"It waits until that has come to its end, and exits with 1 when there is no new certificate to show for it. The old\n" +
			"one is served until there is a new one.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Usage: "although it is not due"}, controlFlag(), jsonFlag("as the control API says it")},
		Action: func(c *cli.Context) error {
			name, err := acmeName(c)
			if err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			renewal, err := asked.Renew(c.Context, name, c.Bool("force"))
			if err != nil {
				return err
			}
			if isJSON(c) {
				return json.NewEncoder(out).Encode(renewal)
			}
			return report.Renewed(out, name, renewal)
		},
	}
}

func acmeRevokeCommand() *cli.Command {
	reasons := strings.Join(slices.Sorted(maps.Keys(control.RevokeReasons)), ", ")
	return &cli.Command{
		Name:      "revoke",
		Usage:     "have the CA revoke a name's certificate, as when its key leaked",
		UsageText: "hellogate acme revoke NAME [--reason REASON] [--control PATH]",
		Description: "Example:   hellogate acme revoke www.example.com --reason key_compromise\n\n" +
			"Reasons: " + reasons + ".",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "`REASON` that the CA is told", Value: "unspecified"},
			controlFlag(),
		},
		Action: func(c *cli.Context) error {
			name, err := acmeName(c)
			if err != nil {
				return err
			}
			reason := c.String("reason")
			if _, known := control.RevokeReasons[reason]; !known {
				return usage(c.Command.HelpName, "--reason %q is not one of %s", reason, reasons)
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if err := asked.Revoke(c.Context, name, reason); err != nil {
				return err
			}
			fmt.Fprintf(out, "revoked %s\n", name)
			return out.err
		},
	}
}
