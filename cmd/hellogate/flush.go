package main

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
)

func flushCommand() *cli.Command {
	return &cli.Command{
		Name:      "flush",
		Usage:     "remove certificates from the cache, so that they are fetched again",
		UsageText: "hellogate flush NAME|PATTERN... [--json] [--control PATH]\nhellogate flush --all\nhellogate flush --cert FINGERPRINT",
		Description: "Examples:  hellogate flush www.example.com\n" +
			"           hellogate flush '*.example.com'        names with one label in front of example.com\n" +
			"           hellogate flush '.example.com'         names with any number of labels in front\n" +
			"           hellogate flush --cert 9f86d081...     a certificate under all its names, as when its key leaked\n\n" +
			"A name goes with its aliases, and with what is remembered of it: that it is unknown, that it failed.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "everything"},
			&cli.StringFlag{Name: "cert", Usage: "the certificate with this SHA-256 `FINGERPRINT`"},
			controlFlag(), jsonFlag("as the control API says it"),
		},
		Action: flush,
	}
}

func flush(c *cli.Context) error {
	if c.Bool("all") && c.NArg() > 0 {
		return usage(c.Command.HelpName, "--all goes without names: it takes every one")
	}
	requests, err := flushRequests(c)
	if err != nil {
		return err
	}
	if len(requests) == 0 {
		return usage(c.Command.HelpName, "nothing to flush: give names, a pattern, --cert or --all")
	}
	asked, out := client(c), stdout(c)
	defer asked.Close()
	total := control.FlushResult{Result: "success", Flushed: []string{}, Pinned: []string{}}
	var failed error // the first that did; what can be flushed is
	for _, request := range requests {
		result, err := asked.Flush(c.Context, request)
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		total.Flushed = append(total.Flushed, result.Flushed...)
		total.Pinned = append(total.Pinned, result.Pinned...)
	}
	slices.Sort(total.Flushed)
	total.Flushed = slices.Compact(total.Flushed)
	if failed != nil && len(total.Flushed) == 0 {
		return failed
	}
	if isJSON(c) {
		return cmp.Or(failed, json.NewEncoder(out).Encode(total))
	}
	return cmp.Or(failed, report.Flushed(out, total))
}

// flushRequests are one request for the names and the flags, and one for each further pattern.
func flushRequests(c *cli.Context) (requests []control.FlushRequest, err error) {
	first := control.FlushRequest{All: c.Bool("all"), Fingerprint: c.String("cert")}
	if given(c, "cert") {
		if _, err := control.ParseFingerprint(first.Fingerprint); err != nil {
			return nil, usage(c.Command.HelpName, "--cert: %v", err)
		}
	}
	for _, argument := range c.Args().Slice() {
		if !strings.HasPrefix(argument, ".") && !strings.Contains(argument, "*") {
			first.Names = append(first.Names, argument)
			continue
		}
		pattern, err := namePattern(c, argument)
		if err != nil {
			return nil, err
		}
		requests = append(requests, control.FlushRequest{Pattern: pattern})
	}
	if first.Names, err = hostNames(c, first.Names); err != nil {
		return nil, err
	}
	if first.All || first.Fingerprint != "" || len(first.Names) > 0 {
		requests = append([]control.FlushRequest{first}, requests...)
	}
	return requests, nil
}
