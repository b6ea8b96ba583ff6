package sni

// Find returns the value of the most specific rule for a query, and the pattern
// that matched; of a regular expression that is "~" and its text. An exact name
// goes before a "*." pattern, that before the longest "." suffix, that before the
// regular expressions in the order given, those before "*"; under one name the
// rule with more conditions goes first. A rule whose conditions do not hold falls
// through to the next. Only "*" matches a client that sent no name. Find
// allocates nothing.
func (t *Table[T]) Find(query Query) (value T, pattern Pattern, ok bool) {
	if only, ok := t.alone[query.Name]; ok {
		return only.value, only.pattern, true
	}
	found := t.find(&query, nil)
	if found == nil {
		return value, pattern, false
	}
	return found.value, found.pattern, true
}

// A Step is a rule that was looked at under one of its names.
type Step struct {
	Place
	Pattern Pattern
	Missed  []Condition // that do not hold; none: this is the rule
}

// Trace returns what Find looks at for a query, in order. The last step is the
// rule that matches, if any does.
func (t *Table[T]) Trace(query Query) []Step {
	steps := []Step{}
	t.find(&query, func(c *conditional, missed ...Condition) {
		steps = append(steps, Step{c.place, c.pattern, append(missed, c.when.missed(&query)...)})
	})
	return steps
}

// looking is told of every candidate that is looked at, and of a name that it
// missed. Nil: nobody is.
type looking func(c *conditional, missed ...Condition)

func (t *Table[T]) find(query *Query, look looking) *candidate[T] {
	if query.Name == "" {
		return pick(t.any, query, look)
	}
	if found := pick(t.exact[query.Name], query, look); found != nil {
		return found
	}
	above := parent(query.Name)
	if found := pick(t.children[above], query, look); found != nil {
		return found
	}
	for ; above != "" && len(t.suffixes) > 0; above = parent(above) {
		if found := pick(t.suffixes[above], query, look); found != nil {
			return found
		}
	}
	if found := t.findRegexp(query, look); found != nil {
		return found
	}
	return pick(t.any, query, look)
}

func (t *Table[T]) findRegexp(query *Query, look looking) *candidate[T] {
	for i := range t.regexps {
		group := &t.regexps[i]
		if !group.regexp.Match(query.Name) {
			missName(group.candidates, look)
			continue
		}
		if found := pick(group.candidates, query, look); found != nil {
			return found
		}
	}
	return nil
}

func missName[T any](candidates []candidate[T], look looking) {
	if look == nil {
		return
	}
	for _, c := range candidates {
		look(c.conditional, ConditionName)
	}
}

// pick returns the first of candidates whose conditions hold, nil if none's do.
func pick[T any](candidates []candidate[T], query *Query, look looking) *candidate[T] {
	for i := range candidates {
		if look != nil {
			look(candidates[i].conditional)
		}
		if candidates[i].when.hold(query) {
			return &candidates[i]
		}
	}
	return nil
}
