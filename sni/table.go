package sni

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// A Rule gives a value to the hellos it matches: those with one of its names, if
// all of its conditions hold.
type Rule[T any] struct {
	Names     []Pattern      // any of them, or of Regexps; with neither: "*"
	Regexps   []Regexp       // any of them, or of Names
	ALPN      []string       // any of these protocols offered; none: whatever is offered
	Clients   []netip.Prefix // any of these ranges; none: whatever the address
	Listeners []string       // any of these; none: whatever the listener
	Value     T
}

// A Table finds the rule for a hello. It is immutable and safe for concurrent
// use: a change is a new table, swapped in whole.
type Table[T any] struct {
	// alone has the exact names with one rule that asks for nothing else, as most
	// are: they are found without reading any more of the table.
	alone    map[string]alone[T]
	exact    map[string][]candidate[T]
	children map[string][]candidate[T] // "*." patterns, by what follows the "*."
	suffixes map[string][]candidate[T] // "." patterns, by what follows the "."
	regexps  []group[T]                // in the order they are tried in
	any      []candidate[T]
}

// A group has the candidates of one regular expression, however many rules have
// it.
type group[T any] struct {
	regexp     Regexp
	candidates []candidate[T]
}

// alone is what Find returns for a name that only one rule can take.
type alone[T any] struct {
	value   T
	pattern Pattern
}

// A candidate is a rule under one of its names. Those of one name stand in the
// order they are tried in: more conditions first, then as given.
type candidate[T any] struct {
	*conditional
	value T
}

// conditional is what a candidate asks of a client.
type conditional struct {
	place   Place
	pattern Pattern
	when    *conditions
}

// NewTable returns the table of rules. Its error is Conflicts when a client could
// never get to one of their names, because under the same name a rule is tried
// before that asks for no more: for each kind of condition (ALPN, clients,
// listeners) it has none, or all that the other lists. Regular expressions are
// the same name when they are written the same; and .* and .+ take every name
// from those behind them. Two rules that only together leave nothing to a third
// are not noticed.
func NewTable[T any](rules []Rule[T]) (*Table[T], error) {
	table := &Table[T]{
		exact:    make(map[string][]candidate[T], len(rules)),
		children: make(map[string][]candidate[T]),
		suffixes: make(map[string][]candidate[T]),
	}
	groups := make(map[string]int) // index in table.regexps, by text
	for i, rule := range rules {
		if err := table.add(i, rule, groups); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i, err)
		}
	}
	if size := table.sizeOfRegexps(); size > maxSizeAll {
		return nil, fmt.Errorf("the regular expressions have %d states together: %d at most", size, maxSizeAll)
	}
	if conflicts := table.order(); len(conflicts) > 0 {
		return nil, conflicts
	}
	table.setAlone()
	return table, nil
}

func (t *Table[T]) setAlone() {
	t.alone = make(map[string]alone[T], len(t.exact))
	for name, candidates := range t.exact {
		if only := candidates[0]; len(candidates) == 1 && only.when == nil {
			t.alone[name] = alone[T]{only.value, only.pattern}
		}
	}
}

func (t *Table[T]) sizeOfRegexps() int {
	size := 0
	for _, g := range t.regexps {
		size += g.regexp.size
	}
	return size
}

func (t *Table[T]) add(index int, rule Rule[T], groups map[string]int) error {
	when, err := newConditions(rule.ALPN, rule.Listeners, rule.Clients)
	if err != nil {
		return err
	}
	if len(rule.Names)+len(rule.Regexps) == 0 {
		t.insert(candidate[T]{&conditional{Place{index, -1}, Pattern{"*"}, when}, rule.Value})
	}
	for i, pattern := range rule.Names {
		if pattern == (Pattern{}) {
			return errors.New("empty pattern")
		}
		t.insert(candidate[T]{&conditional{Place{index, i}, pattern, when}, rule.Value})
	}
	for i, expression := range rule.Regexps {
		if expression == (Regexp{}) {
			return errors.New("empty regular expression")
		}
		place := Place{index, len(rule.Names) + i}
		added := candidate[T]{&conditional{place, expression.pattern(), when}, rule.Value}
		t.insertRegexp(expression, added, groups)
	}
	return nil
}

func (t *Table[T]) insert(added candidate[T]) {
	switch prefix, base := splitPattern(added.pattern.text); {
	case added.pattern.text == "*":
		t.any = append(t.any, added)
	case prefix == "*.":
		t.children[base] = append(t.children[base], added)
	case prefix == ".":
		t.suffixes[base] = append(t.suffixes[base], added)
	default:
		t.exact[base] = append(t.exact[base], added)
	}
}

func (t *Table[T]) insertRegexp(expression Regexp, added candidate[T], groups map[string]int) {
	at, found := groups[expression.text]
	if !found {
		at = len(t.regexps)
		groups[expression.text] = at
		t.regexps = append(t.regexps, group[T]{regexp: expression})
	}
	t.regexps[at].candidates = append(t.regexps[at].candidates, added)
}

// order puts the candidates of each name in the order they are tried in, and
// returns those that are never got to, in the order of the rules.
func (t *Table[T]) order() Conflicts {
	var conflicts Conflicts
	for _, named := range []map[string][]candidate[T]{t.exact, t.children, t.suffixes, {"": t.any}} {
		for _, candidates := range named {
			if len(candidates) > 1 {
				conflicts = conflicts.within(nil, arrange(candidates))
			}
		}
	}
	var before []*conditional // of expressions that take every name
	for _, g := range t.regexps {
		those := arrange(g.candidates)
		conflicts = conflicts.within(before, those)
		if g.regexp.all {
			before = append(before, those...)
		}
	}
	slices.SortFunc(conflicts, func(a, b Conflict) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Name, b.Name))
	})
	return conflicts
}

// arrange sorts the candidates of one name, and returns what they ask for.
func arrange[T any](candidates []candidate[T]) []*conditional {
	slices.SortStableFunc(candidates, func(a, b candidate[T]) int { return cmp.Compare(b.when.count(), a.when.count()) })
	those := make([]*conditional, len(candidates))
	for i, c := range candidates {
		those[i] = c.conditional
	}
	return those
}
