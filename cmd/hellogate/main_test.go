package main

import (
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hellogate": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true})
}

func TestArrange(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"status", "status --"},
		{"status --json", "status --json --"},
		{"--control x status --json", "status --control x --json --"},
		{"--control=x status", "status --control=x --"},
		{"flush a.example --control x b.example", "flush --control x -- a.example b.example"},
		{"flush --all", "flush --all --"},
		{"flush -- --all", "flush -- --all"},
		{"flush -", "flush -- -"},
		{"cert ls --json .example", "cert ls --json -- .example"},
		{"cert --control x show a.example", "cert show --control x -- a.example"},
		{"run -c f", "run -c f --"},
		{"help", "--help --"},
		{"help cert ls", "cert ls --help --"},
		{"help flush", "flush --help --"},
		{"flush help", "flush -- help"},
		{"flush a.example -h", "flush -h -- a.example"},
		{"--version", "--version --"},
	} {
		words, _, err := arrange(newApp(nil, nil), strings.Fields(c.line))
		if got := strings.Join(words, " "); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.line, got, err, c.want)
		}
	}
}

func TestArrangeRefuses(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"", "no command (see hellogate --help)"},
		{"--control x", "no command"},
		{"statu", `unknown command "statu", did you mean status?`},
		{"statsu", `did you mean status?`},
		{"nonsense", `unknown command "nonsense" (see hellogate --help)`},
		{"cert", "cert needs one of ls, show, put, rm (see hellogate cert --help)"},
		{"cert sho", `unknown command "cert sho", did you mean show?`},
		{"status --jason", "unknown flag --jason"},
		{"status --jso", "unknown flag --jso, did you mean --json?"},
		{"status --all", "unknown flag --all"},
		{"--all status", "status takes no flag --all"},
		{"check --control x f", "unknown flag --control"},
		{"flush a.example --control", "flag --control needs a value"},
		{"--nothing", "unknown flag --nothing"},
	} {
		_, _, err := arrange(newApp(nil, nil), strings.Fields(c.line))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.line, err, c.want)
		}
	}
}

// Every flag and its variable have the same name, and every command shows how it is used.
func TestEveryCommandIsDescribed(t *testing.T) {
	app := newApp(nil, nil)
	commands := app.Commands
	for _, command := range app.Commands {
		commands = append(commands, command.Subcommands...)
	}
	for _, command := range commands {
		if command.Usage == "" || command.UsageText == "" || !strings.Contains(command.Description, "Example") {
			t.Errorf("%s: no usage or no example", command.Name)
		}
		for _, flag := range command.Flags {
			if documented, ok := flag.(cli.DocGenerationFlag); ok && len(documented.GetEnvVars()) > 0 {
				if got, want := documented.GetEnvVars()[0], variable(flag.Names()[0]); got != want {
					t.Errorf("%s --%s: %s, want %s", command.Name, flag.Names()[0], got, want)
				}
			}
		}
	}
}
