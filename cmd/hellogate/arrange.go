package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrangement is a command line being put in the order that the cli package wants: it stops looking for flags
// at the first name.
type arrangement struct {
	app     *cli.App
	command *cli.Command // nil until the verb was seen
	verbs   []string
	flags   []string
	names   []string
	given   map[string]bool // flags by name, those from the environment not among them
}

// arrange moves flags in front of names, wherever they stand, and refuses what no command knows. "--" ends the
// flags. "help VERB" is VERB with --help.
func arrange(app *cli.App, words []string) (arranged []string, given map[string]bool, err error) {
	a := &arrangement{app: app, given: map[string]bool{}}
	for len(words) > 0 && err == nil {
		word := words[0]
		words = words[1:]
		switch {
		case word == "--":
			a.names = append(a.names, words...)
			words = nil
		case len(word) > 1 && word[0] == '-':
			words, err = a.flag(word, words)
		default:
			err = a.word(word)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return a.finish()
}

func (a *arrangement) finish() ([]string, map[string]bool, error) {
	if !a.given["help"] && !a.given["version"] {
		if a.command == nil {
			return nil, nil, usage("", "no command")
		}
		if err := a.pending(); err != nil {
			return nil, nil, err
		}
	}
	words := append(slices.Clone(a.verbs), a.flags...)
	return append(append(words, "--"), a.names...), a.given, nil
}

// pending settles the flags that stood in front of the verb.
func (a *arrangement) pending() error {
	if len(a.command.Subcommands) > 0 {
		return usage(a.helpName(), "%s needs one of %s", strings.Join(a.verbs, " "), strings.Join(names(a.command.Subcommands), ", "))
	}
	for given := range a.given {
		if find(a.command.Flags, given) == nil {
			return usage(a.helpName(), "%s takes no flag --%s", strings.Join(a.verbs, " "), given)
		}
	}
	return nil
}

func (a *arrangement) helpName() string { return strings.Join(a.verbs, " ") }

// word takes a verb, or a name behind the verbs.
func (a *arrangement) word(word string) error {
	commands := a.app.Commands
	if a.command != nil {
		commands = a.command.Subcommands
	}
	switch command := verb(commands, word); {
	case command != nil:
		a.command, a.verbs = command, append(a.verbs, word)
	case a.command == nil && word == "help":
		a.flags, a.given["help"] = []string{"--help"}, true
	case len(commands) > 0:
		return usage(a.helpName(), "unknown command %q%s", strings.TrimSpace(a.helpName()+" "+word), suggest(word, names(commands)))
	default:
		a.names = append(a.names, word)
	}
	return nil
}

// flag takes a flag, with the next word where that is its value.
func (a *arrangement) flag(word string, rest []string) ([]string, error) {
	name, _, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if name == "help" || name == "h" || (a.command == nil && (name == "version" || name == "v")) {
		a.given[map[byte]string{'h': "help", 'v': "version"}[name[0]]] = true
		a.flags = append(a.flags, word)
		return rest, nil
	}
	flag := find(a.known(), name)
	if flag == nil {
		return nil, usage(a.helpName(), "unknown flag %s%s", word, suggest(name, flagNames(a.known())))
	}
	a.given[flag.Names()[0]] = true
	a.flags = append(a.flags, word)
	if _, isBool := flag.(*cli.BoolFlag); isBool || hasValue {
		return rest, nil
	}
	if len(rest) == 0 {
		return nil, usage(a.helpName(), "flag %s needs a value", word)
	}
	a.flags = append(a.flags, rest[0])
	return rest[1:], nil
}

// known are the flags that may stand here: the command's, or, in front of the verb, those of any.
func (a *arrangement) known() []cli.Flag {
	if a.command != nil && len(a.command.Subcommands) == 0 {
		return a.command.Flags
	}
	commands := a.app.Commands
	if a.command != nil {
		commands = a.command.Subcommands
	}
	var flags []cli.Flag
	for _, command := range commands {
		flags = append(flags, command.Flags...)
		for _, below := range command.Subcommands {
			flags = append(flags, below.Flags...)
		}
	}
	return flags
}

func find(flags []cli.Flag, name string) cli.Flag {
	for _, flag := range flags {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

func verb(commands []*cli.Command, name string) *cli.Command {
	for _, command := range commands {
		if command.HasName(name) {
			return command
		}
	}
	return nil
}

func names(commands []*cli.Command) []string {
	var list []string
	for _, command := range commands {
		list = append(list, command.Name)
	}
	return list
}

func flagNames(flags []cli.Flag) []string {
	var list []string
	for _, flag := range flags {
		list = append(list, "--"+flag.Names()[0])
	}
	return list
}

// suggest names what word may have been meant to be.
func suggest(word string, known []string) string {
	for _, candidate := range known {
		bare := strings.TrimLeft(candidate, "-")
		if len(word) > 1 && (strings.HasPrefix(bare, word) || strings.HasPrefix(word, bare) || oneEdit(word, bare)) {
			return ", did you mean " + candidate + "?"
		}
	}
	return ""
}

// oneEdit says whether one letter changed, added, left out or swapped with the next makes one word the other.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	same := 0
	for same < len(a) && a[same] == b[same] {
		same++
	}
	a, b = a[same:], b[same:]
	switch {
	case len(a)+1 == len(b):
		return a == b[1:]
	case len(a) != len(b) || len(a) == 0:
		return false
	case len(a) > 1 && a[0] == b[1] && a[1] == b[0]:
		return a[2:] == b[2:]
	}
	return a[1:] == b[1:]
}
