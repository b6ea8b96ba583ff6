package config

import (
	"regexp"
	"strings"
)

// origin is where a configuration was read from: it finds the place of a
// setting by its path, and knows what its user calls it.
type origin struct {
	file   string
	lines  []string
	places map[string]place
	// shown are the lines that problems show, by index: one line may have many.
	shown map[int]string
	// flags names the flag of a setting, by its path with [] for every index. Nil
	// for a file.
	flags map[string]string
}

// place is a position in the file, both from 1, columns in characters.
type place struct{ line, column int }

func newOrigin(file, text string) *origin {
	return &origin{
		file:   file,
		lines:  strings.Split(text, "\n"),
		places: make(map[string]place),
		shown:  make(map[int]string),
	}
}

// problem returns what is wrong with the setting at path, at its own place or,
// for one that was not written, at that of the section it is missing from. A
// whole section that is missing is missing nowhere.
func (o *origin) problem(path, message string) Problem {
	section := path
	for section != "" && o.places[section] == (place{}) {
		section = parent(section)
	}
	return o.problemAt(o.places[section], path, message)
}

func (o *origin) problemAt(at place, path, message string) Problem {
	p := Problem{File: o.file, Path: o.name(path), Message: message}
	if at.line < 1 || at.line > len(o.lines) {
		return p
	}
	p.Line, p.Column = at.line, max(at.column, 1)
	p.Source = o.show(at.line - 1)
	return p
}

func (o *origin) show(i int) string {
	if _, ok := o.shown[i]; !ok {
		o.shown[i] = printable(strings.TrimSuffix(o.lines[i], "\r"))
	}
	return o.shown[i]
}

// NameOf returns what the user of c calls the setting at a YAML path: the path,
// or the flag when there is no file.
func (c *Config) NameOf(path string) string {
	if c.origin == nil {
		return path
	}
	return c.origin.name(path)
}

// name returns what the user calls the setting at path.
func (o *origin) name(path string) string {
	if flag, ok := o.flags[index.ReplaceAllString(path, "[]")]; ok {
		return flag
	}
	return path
}

var index = regexp.MustCompile(`\[\d+\]`)

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// child returns the path of key below path.
func child(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// parent returns the path of the section that path is in.
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		return path[:max(strings.LastIndex(path, `["`), 0)]
	}
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}
