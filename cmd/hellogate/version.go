package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"hellogate/control"
)

// release is this version's number.
const release = "0.1.0"

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "say which version this is",
		UsageText:   "hellogate version [--json]",
		Description: "Example:   hellogate version",
		Flags:       []cli.Flag{jsonFlag("as JSON")},
		Action: func(c *cli.Context) error {
			if err := exactly(c, 0, ""); err != nil {
				return err
			}
			out := stdout(c)
			if isJSON(c) {
				return json.NewEncoder(out).Encode(control.Version{Version: version(), Go: runtime.Version()})
			}
			fmt.Fprintln(out, describeVersion())
			return out.err
		},
	}
}

// version is the release and, where the build knows it, the commit.
func version() string {
	commit, modified := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch {
			case setting.Key == "vcs.revision":
				commit = setting.Value
			case setting.Key == "vcs.modified" && setting.Value == "true":
				modified = "-modified"
			}
		}
	}
	if commit == "" {
		return release
	}
	return release + "+" + commit[:min(len(commit), 12)] + modified
}

func describeVersion() string {
	return fmt.Sprintf("hellogate %s (%s %s/%s)", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
