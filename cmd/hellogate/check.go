package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/config"
	"hellogate/control/report"
	"hellogate/sni"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check a configuration file and the files that it names",
		UsageText: "hellogate check [--json] FILE\nhellogate check FILE --explain NAME [--alpn PROTOCOL] [--client ADDRESS] [--listener NAME]",
		Description: "Examples:  hellogate check /etc/hellogate/hellogate.yaml\n" +
			"           hellogate check /etc/hellogate/hellogate.yaml --explain www.example.com --client 192.0.2.7\n\n" +
			"It prints every problem with its place, and exits with 1 when there is any. --explain says which route a client\n" +
			"that asks for a name would take, and why, without a running hellogate.",
		Flags: append([]cli.Flag{
			configFlag(), jsonFlag("as JSON"),
			&cli.StringFlag{Name: "explain", Usage: "say which route a client that asks for this `NAME` would take"},
		}, clientFlags()...),
		Action: check,
	}
}

func check(c *cli.Context) error {
	path, err := checked(c)
	if err != nil {
		return err
	}
	query, err := checkQuery(c)
	if err != nil {
		return err
	}
	loaded, err := config.Load(path)
	if err == nil {
		err = loaded.CheckFiles()
	}
	var explanation *control.Explanation
	if err == nil && given(c, "explain") {
		if explanation, err = explainConfig(c, loaded, query); err != nil {
			return err
		}
	}
	if isJSON(c) {
		return printProblems(stdout(c), loaded, explanation, err)
	}
	if err != nil {
		return err
	}
	out := stdout(c)
	for _, warning := range loaded.Warnings {
		fmt.Fprintf(out, "%s: warning: %s\n", path, warning)
	}
	fmt.Fprintf(out, "%s: ok\n", path)
	if explanation != nil {
		fmt.Fprintln(out)
		return cmp.Or(report.Explanation(out, *explanation), out.err)
	}
	return out.err
}

// checkQuery is the client that is to be explained.
func checkQuery(c *cli.Context) (query sni.Query, err error) {
	if !given(c, "explain") {
		for _, flag := range clientFlags() {
			if name := flag.Names()[0]; given(c, name) {
				return query, usage(c.Command.HelpName, "--%s goes with --explain", name)
			}
		}
		return query, nil
	}
	names, err := hostNames(c, []string{c.String("explain")})
	if err != nil {
		return query, err
	}
	return clientQuery(c, names[0])
}

func explainConfig(c *cli.Context, loaded *config.Config, query sni.Query) (*control.Explanation, error) {
	explanation, err := control.ExplainConfig(loaded, query)
	if err != nil {
		return nil, usage(c.Command.HelpName, "--%v", err)
	}
	return &explanation, nil
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
	Result   string                `json:"result"` // success or error
	Problems []control.FileProblem `json:"problems"`
	Warnings []string              `json:"warnings"`

	Explanation *control.Explanation `json:"explanation,omitempty"` // that was asked for
}

// errChecked has the exit code say what has been printed already.
var errChecked = errors.New("the configuration has problems")

func printProblems(out io.Writer, loaded *config.Config, explanation *control.Explanation, err error) error {
	result := verdict{Result: "success", Problems: control.FileProblems(err), Warnings: []string{}, Explanation: explanation}
	if err != nil && len(result.Problems) == 0 {
		return err
	}
	if loaded != nil {
		result.Warnings = append(result.Warnings, loaded.Warnings...)
	}
	if err != nil {
		result.Result, err = "error", errChecked
	}
	return errors.Join(json.NewEncoder(out).Encode(result), err)
}
