package main

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"hellogate/store"
)

func certPutCommand() *cli.Command {
	return &cli.Command{
		Name:      "put",
		Usage:     "put a certificate under a name by hand, until it is removed or expires",
		UsageText: "hellogate cert put NAME --cert FILE --key FILE [--ephemeral] [--control PATH]",
		Description: "Example:   hellogate cert put www.example.com --cert fullchain.pem --key privkey.pem\n\n" +
			"It goes before whatever a store says of the name, and no flush takes it. It survives a restart where cache.dir is\n" +
			"set; elsewhere it needs --ephemeral.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "cert", Usage: "the chain, in PEM, the leaf first, from `FILE`"},
			&cli.StringFlag{Name: "key", Usage: "its private key, in PEM, from `FILE`"},
			&cli.BoolFlag{Name: "ephemeral", Usage: "although it will be lost with the process"},
			controlFlag(),
		},
		Action: func(c *cli.Context) error {
			name, err := hostName(c)
			if err != nil {
				return err
			}
			if c.String("cert") == "" || c.String("key") == "" {
				return usage(c.Command.HelpName, "both --cert and --key are needed")
			}
			return putCert(c, name)
		},
	}
}

func putCert(c *cli.Context, name string) error {
	chain, err := readPEM(c.String("cert"))
	if err == nil {
		err = holdsChain(c.String("cert"), chain)
	}
	if err != nil {
		return fmt.Errorf("--cert: %w", err)
	}
	key, err := readPEM(c.String("key"))
	if err == nil {
		err = holdsKey(c.String("key"), key)
	}
	if err != nil {
		return fmt.Errorf("--key: %w", err)
	}
	asked := client(c)
	defer asked.Close()
	if err := asked.Put(c.Context, name, chain, key, c.Bool("ephemeral")); err != nil {
		return err
	}
	out := stdout(c)
	fmt.Fprintf(out, "pinned %s\n", name)
	return out.err
}

// readPEM reads a file that is no larger than a store's answer may be.
func readPEM(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, store.MaxBody/2+1))
	if err != nil {
		return nil, err
	}
	if len(text) > store.MaxBody/2 {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, store.MaxBody/2)
	}
	return text, nil
}

func certRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:        "rm",
		Usage:       "remove a certificate that was put under a name by hand",
		UsageText:   "hellogate cert rm NAME [--control PATH]",
		Description: "Example:   hellogate cert rm www.example.com",
		Flags:       []cli.Flag{controlFlag()},
		Action: func(c *cli.Context) error {
			name, err := hostName(c)
			if err != nil {
				return err
			}
			asked, out := client(c), stdout(c)
			defer asked.Close()
			if err := asked.Remove(c.Context, name); err != nil {
				return err
			}
			fmt.Fprintf(out, "removed %s\n", name)
			return out.err
		},
	}
}
