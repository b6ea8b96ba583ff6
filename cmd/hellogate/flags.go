package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/config"
	"hellogate/sni"
)

// givenKey finds, in the app's metadata, the flags that stood on the command line.
const givenKey = "given"

func given(c *cli.Context, flag string) bool {
	flags, _ := c.App.Metadata[givenKey].(map[string]bool)
	return flags[flag]
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "HELLOGATE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func textFlag(name, usage string) *cli.StringFlag {
	return &cli.StringFlag{Name: name, Usage: usage, EnvVars: []string{variable(name)}}
}

func listFlag(name, usage string) *cli.StringSliceFlag {
	return &cli.StringSliceFlag{Name: name, Usage: usage, EnvVars: []string{variable(name)}}
}

func controlFlag() cli.Flag {
	return textFlag("control", "`PATH` of the control socket (default: "+config.DefaultSocket()+")")
}

func configFlag() cli.Flag {
	flag := textFlag("config", "configuration `FILE`")
	flag.Aliases = []string{"c"}
	return flag
}

func jsonFlag(usage string) cli.Flag { return &cli.BoolFlag{Name: "json", Usage: usage} }

func isJSON(c *cli.Context) bool { return c.Bool("json") }

// client makes the client for a command. The command closes it.
func client(c *cli.Context) *control.Client {
	path := c.String("control")
	if path == "" {
		path = config.DefaultSocket()
	}
	return control.NewClient(path)
}

// exactly refuses too few and too many names.
func exactly(c *cli.Context, count int, what string) error {
	if c.NArg() == count {
		return nil
	}
	if c.NArg() > count {
		return usage(c.Command.HelpName, "%q is one argument too many", c.Args().Get(count))
	}
	return usage(c.Command.HelpName, "%s is missing", what)
}

// hostNames reads names as people write them. What is no name never becomes a part of a request.
func hostNames(c *cli.Context, texts []string) ([]string, error) {
	names := make([]string, 0, len(texts))
	for _, text := range texts {
		name, err := sni.Parse(text)
		if err != nil {
			return nil, usage(c.Command.HelpName, "%v", err)
		}
		names = append(names, name)
	}
	return names, nil
}

// hostName is the one argument of a command, which is a name.
func hostName(c *cli.Context) (string, error) {
	if err := exactly(c, 1, "NAME"); err != nil {
		return "", err
	}
	names, err := hostNames(c, c.Args().Slice())
	if err != nil {
		return "", err
	}
	return names[0], nil
}

// namePattern reads a pattern of names.
func namePattern(c *cli.Context, text string) (string, error) {
	pattern, err := sni.ParsePattern(text)
	if err != nil {
		return "", usage(c.Command.HelpName, "%v", err)
	}
	return pattern.String(), nil
}

// output is a command's standard output. It remembers that it could not be written: a full disk is a failure too.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(text []byte) (int, error) {
	n, err := o.Writer.Write(text)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("standard output: %w", err)
	}
	return n, err
}

func stdout(c *cli.Context) *output { return &output{Writer: c.App.Writer} }

// setVariables are those of the flags whose variables are set.
func setVariables(flags []string) []string {
	var set []string
	for _, flag := range flags {
		if os.Getenv(variable(flag)) != "" {
			set = append(set, variable(flag))
		}
	}
	return set
}
