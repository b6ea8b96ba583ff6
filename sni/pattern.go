package sni

import (
	"errors"
	"fmt"
	"strings"
)

// A Pattern says which names a rule is for. It is one of
//
//	a.example      that name
//	*.a.example    one label more than a.example, whatever it is
//	.a.example     any depth below a.example, but not a.example itself
//	*              every name, and a client that sent none
//
// Patterns are comparable. The zero Pattern matches nothing. One that a [Table]
// returns for a regular expression is its text behind a "~", and no more than
// that: it matches nothing either.
type Pattern struct {
	text string // as above, in A-labels and lower case
}

var errNeverMatches = errors.New("no name can match")

// ParsePattern returns the pattern that text stands for. Its name may be
// written as [Parse] takes it.
func ParsePattern(text string) (Pattern, error) {
	if text == "*" {
		return Pattern{"*"}, nil
	}
	prefix, base := splitPattern(text)
	name, err := Parse(base)
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %s: %w", quote(text), err)
	}
	if prefix != "" && !hasChild(name) {
		return Pattern{}, fmt.Errorf("pattern %s: %w", quote(text), errNeverMatches)
	}
	return Pattern{prefix + name}, nil
}

func splitPattern(text string) (prefix, base string) {
	for _, prefix := range []string{"*.", "."} {
		if base, found := strings.CutPrefix(text, prefix); found {
			return prefix, base
		}
	}
	return "", text
}

// hasChild says whether a name with one more label can still be a name.
func hasChild(name string) bool {
	return len(name)+len("a.") <= maxName && !strings.Contains(name, "_")
}

// Match says whether name, which [Normalize] accepted or which is empty for a
// client that sent none, is one of the pattern's.
func (p Pattern) Match(name string) bool {
	switch prefix, base := splitPattern(p.text); {
	case p.text == "*":
		return true
	case name == "":
		return false
	case prefix == "*.":
		return parent(name) == base
	case prefix == ".":
		return strings.HasSuffix(name, p.text) // and is longer: no name begins with a dot
	}
	return name == p.text
}

// parent returns name without its first label, "" when it has only one.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}

// String returns the pattern as ParsePattern takes it.
func (p Pattern) String() string { return p.text }
