package main

import (
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"hellogate/control/report"
)

func prefetchCommand() *cli.Command {
	return &cli.Command{
		Name:      "prefetch",
		Usage:     "fetch certificates before the first client asks for them",
		UsageText: "hellogate prefetch NAME... [--json] [--control PATH]",
		Description: "Example:   hellogate prefetch www.example.com shop.example.com\n\n" +
			"The store is asked even about names that are remembered as unknown: this is how a new customer is brought\n" +
			"in. It exits with 1 when one could not be had.",
		Flags: []cli.Flag{controlFlag(), jsonFlag("one line of JSON a name")},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return exactly(c, 1, "NAME")
			}
			return prefetch(c)
		},
	}
}

func prefetch(c *cli.Context) error {
	names, err := hostNames(c, c.Args().Slice())
	if err != nil {
		return err
	}
	asked, out := client(c), stdout(c)
	defer asked.Close()
	missed := 0
	for result, err := range asked.Prefetch(c.Context, names) {
		if err != nil {
			return err
		}
		if result.Result != "fetched" && result.Result != "cached" {
			missed++
		}
		if isJSON(c) {
			err = json.NewEncoder(out).Encode(result)
		} else {
			err = report.Prefetched(out, result)
		}
		if err != nil {
			return out.err
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d names could not be had", missed, len(names))
	}
	return nil
}
