package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"hellogate/control/config"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check a configuration file and the files that it names",
		UsageText: "hellogate check [--json] FILE",
		Description: "Example:   hellogate check /etc/hellogate/hellogate.yaml\n\n" +
			"It prints every problem with its place, and exits with 1 when there is any.",
		Flags: []cli.Flag{configFlag(), jsonFlag("as JSON")},
		Action: func(c *cli.Context) error {
			path, err := checked(c)
			if err != nil {
				return err
			}
			loaded, err := config.Load(path)
			if err == nil {
				err = loaded.CheckFiles()
			}
			if isJSON(c) {
				return printProblems(stdout(c), loaded, err)
			}
			if err != nil {
				return err
			}
			out := stdout(c)
			for _, warning := range loaded.Warnings {
				fmt.Fprintf(out, "%s: warning: %s\n", path, warning)
			}
			fmt.Fprintf(out, "%s: ok\n", path)
			return out.err
		},
	}
}

// checked is the file to check: the argument, else --config.
func checked(c *cli.Context) (string, error) {
	if c.NArg() == 0 && c.String("config") != "" {
		return c.String("config"), nil
	}
	if c.NArg() > 0 && given(c, "config") {
		return "", usage(c.Command.HelpName, "one file at a time")
	}
	return c.Args().First(), exactly(c, 1, "FILE")
}

// verdict is the outcome of check as JSON.
type verdict struct {
	Result   string    `json:"result"` // success or error
	Problems []problem `json:"problems"`
	Warnings []string  `json:"warnings"`
}

type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

// errChecked has the exit code say what has been printed already.
var errChecked = errors.New("the configuration has problems")

func printProblems(out io.Writer, loaded *config.Config, err error) error {
	result := verdict{Result: "success", Problems: []problem{}, Warnings: []string{}}
	problems, ok := errors.AsType[config.Problems](err)
	if err != nil && !ok {
		return err
	}
	for _, p := range problems {
		result.Problems = append(result.Problems, problem{File: p.File, Line: p.Line, Column: p.Column, Path: p.Path, Message: p.Message})
	}
	if loaded != nil {
		result.Warnings = append(result.Warnings, loaded.Warnings...)
	}
	if err != nil {
		result.Result, err = "error", errChecked
	}
	return errors.Join(json.NewEncoder(out).Encode(result), err)
}
