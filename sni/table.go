package sni

import (
	"fmt"
	"slices"
)

// A Rule gives a value to the hellos it matches.
type Rule[T any] struct {
	Names []Pattern // any of them; none: "*"
	ALPN  []string  // any of these protocols offered; none: whatever is offered
	Value T
}

// A Table finds the rule for a hello. It is immutable and safe for concurrent
// use: a change is a new table, swapped in whole.
type Table[T any] struct {
	exact    map[string][]candidate[T]
	children map[string][]candidate[T] // "*." patterns, by what follows the "*."
	suffixes map[string][]candidate[T] // "." patterns, by what follows the "."
	any      []candidate[T]
}

// A candidate is a rule under one of its patterns. Those of one pattern stand
// in the order they are tried in: more conditions first, then as given.
type candidate[T any] struct {
	rule    int
	pattern Pattern
	alpn    []string // sorted, each once
	value   T
}

// NewTable returns the table of rules. Two rules with a pattern and all
// conditions in common are an error that names both by their index, as one of
// them could never match.
func NewTable[T any](rules []Rule[T]) (*Table[T], error) {
	table := &Table[T]{
		exact:    make(map[string][]candidate[T]),
		children: make(map[string][]candidate[T]),
		suffixes: make(map[string][]candidate[T]),
	}
	for i, rule := range rules {
		if err := table.add(i, rule); err != nil {
			return nil, err
		}
	}
	return table, nil
}

func (t *Table[T]) add(index int, rule Rule[T]) error {
	names := rule.Names
	if len(names) == 0 {
		names = []Pattern{{"*"}}
	}
	protocols := slices.Clone(rule.ALPN)
	slices.Sort(protocols)
	protocols = slices.Compact(protocols)
	for _, pattern := range names {
		if pattern == (Pattern{}) {
			return fmt.Errorf("rule %d: empty pattern", index)
		}
		if err := t.insert(candidate[T]{index, pattern, protocols, rule.Value}); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table[T]) insert(added candidate[T]) error {
	place := t.any
	group, key := t.group(added.pattern)
	if group != nil {
		place = group[key]
	}
	at := len(place)
	for i, held := range place {
		if slices.Equal(held.alpn, added.alpn) {
			return fmt.Errorf("rules %d and %d: the same pattern %q and the same conditions", held.rule, added.rule, added.pattern)
		}
		if added.conditions() > held.conditions() {
			at = min(at, i)
		}
	}
	place = slices.Insert(place, at, added)
	if group == nil {
		t.any = place
		return nil
	}
	group[key] = place
	return nil
}

// group returns the map that a pattern belongs in and its key there, nil for
// the pattern "*".
func (t *Table[T]) group(pattern Pattern) (map[string][]candidate[T], string) {
	switch prefix, base := splitPattern(pattern.text); {
	case pattern.text == "*":
		return nil, ""
	case prefix == "*.":
		return t.children, base
	case prefix == ".":
		return t.suffixes, base
	}
	return t.exact, pattern.text
}

// Match returns the value of the most specific rule for a hello with this name
// and these protocols, and the pattern that matched. An exact name goes before
// a "*." pattern, that before the longest "." suffix, that before "*"; under
// one pattern the rule with more conditions goes first. A rule whose
// conditions do not hold falls through to the next. The name is one that
// [Normalize] accepted, or empty when the client sent none: only "*" matches
// that. Match allocates nothing.
func (t *Table[T]) Match(name string, protocols []string) (value T, pattern Pattern, ok bool) {
	found := t.find(name, protocols)
	if found == nil {
		return value, pattern, false
	}
	return found.value, found.pattern, true
}

func (t *Table[T]) find(name string, protocols []string) *candidate[T] {
	if name == "" {
		return pick(t.any, protocols)
	}
	if found := pick(t.exact[name], protocols); found != nil {
		return found
	}
	above := parent(name)
	if found := pick(t.children[above], protocols); found != nil {
		return found
	}
	for ; above != "" && len(t.suffixes) > 0; above = parent(above) {
		if found := pick(t.suffixes[above], protocols); found != nil {
			return found
		}
	}
	return pick(t.any, protocols)
}

// pick returns the first of candidates whose conditions hold, nil if none's do.
func pick[T any](candidates []candidate[T], protocols []string) *candidate[T] {
	for i := range candidates {
		if candidates[i].holds(protocols) {
			return &candidates[i]
		}
	}
	return nil
}

func (c *candidate[T]) holds(protocols []string) bool {
	if len(c.alpn) == 0 {
		return true
	}
	return slices.ContainsFunc(protocols, func(offered string) bool {
		return slices.Contains(c.alpn, offered)
	})
}

func (c *candidate[T]) conditions() int {
	if len(c.alpn) == 0 {
		return 0
	}
	return 1
}
