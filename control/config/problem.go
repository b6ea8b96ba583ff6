package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// File is the file's name as it was given; empty for flags.
	File string
	// Line and Column are where in the file, from 1, columns in characters. Both
	// are 0 when it is nowhere, as for a section that is missing.
	Line, Column int
	// Path is the setting: a YAML path such as listeners[0].address, or a flag.
	// Empty where the file is not YAML.
	Path string
	// Message says what is wrong.
	Message string
	// Source is the line of the file, with secrets masked. It may be empty.
	Source string
}

// String returns the problem in one line, without the line of the file.
func (p Problem) String() string {
	var text strings.Builder
	if p.File != "" {
		text.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&text, ":%d:%d", p.Line, p.Column)
		}
		text.WriteString(": ")
	}
	if p.Path != "" {
		text.WriteString(p.Path + ": ")
	}
	return text.String() + p.Message
}

// Excerpt returns the line of the file with a caret below the place, each line
// ended; empty when there is none to show.
func (p Problem) Excerpt() string {
	if p.Line == 0 || strings.TrimSpace(p.Source) == "" {
		return ""
	}
	const before, most = 60, 120
	line := []rune(p.Source)
	caret := min(max(p.Column-1, 0), len(line))
	if caret > before && len(line) > most {
		line = append([]rune("... "), line[caret-before:]...)
		caret = before + len("... ")
	}
	if len(line) > most {
		line = append(line[:most:most], []rune(" ...")...)
	}
	indent := []rune(strings.Repeat(" ", caret))
	for i := range indent {
		if line[i] == '\t' {
			indent[i] = '\t'
		}
	}
	number := fmt.Sprint(p.Line)
	return fmt.Sprintf("  %s | %s\n  %*s | %s^\n", number, string(line), len(number), "", string(indent))
}

// Problems is every problem of one configuration, in the order of the file. It
// is the error of Load, Parse, FromSmall and CheckFiles.
type Problems []Problem

// Error returns all problems, each with its line of the file and a caret. It
// does not end in a line break.
func (p Problems) Error() string {
	const most = 50
	var text strings.Builder
	for _, problem := range p[:min(len(p), most)] {
		fmt.Fprintf(&text, "%s\n%s", problem, problem.Excerpt())
	}
	if len(p) > most {
		fmt.Fprintf(&text, "and %d more problems\n", len(p)-most)
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// err returns p in the order of the file as an error, or nil when it is empty.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p
}

var (
	secretValue = regexp.MustCompile(`(?i)((?:token|password|passphrase|secret|authorization)["']?\s*:\s*)[^\s].*`)
	secretQuery = regexp.MustCompile(`(?i)([?&][a-z_-]*(?:token|password|secret|key)=)[^&\s"']+`)
	secretUser  = regexp.MustCompile(`://\S*@`)
)

// printable makes a line of the file fit for a terminal and a bug report: no
// secrets, no control characters but tabs, nothing that turns the direction of
// the text.
func printable(line string) string {
	line = secretValue.ReplaceAllString(line, "${1}***")
	line = secretQuery.ReplaceAllString(line, "${1}***")
	line = secretUser.ReplaceAllString(line, "://***@")
	return strings.Map(func(r rune) rune {
		if r != '\t' && isUnsafe(r) {
			return '\uFFFD'
		}
		return r
	}, line)
}
