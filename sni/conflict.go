package sni

import (
	"fmt"
	"strings"
)

// mostConflicts bounds what is collected: whoever mends these sees the rest then.
const mostConflicts = 1000

// A Place is a name of a rule: one of its Names, behind those one of its Regexps.
type Place struct {
	Rule int // its index
	Name int // its index in Names, or len(Names) more than that in Regexps; -1 when the rule has neither
}

// A Conflict is a place that no client ever gets to, because an earlier one takes
// all that it could.
type Conflict struct {
	Place
	Before  Place   // what takes its clients
	Pattern Pattern // what the place says
	Same    bool    // both ask for the same; else Before asks for less
}

// String names both rules by their index.
func (c Conflict) String() string {
	if c.Same {
		return fmt.Sprintf("rules %d and %d: the same pattern %q and the same conditions", c.Before.Rule, c.Rule, c.Pattern)
	}
	return fmt.Sprintf("rule %d can never match by %q: rule %d before it takes all of that", c.Rule, c.Pattern, c.Before.Rule)
}

// Conflicts is the error of [NewTable] for rules that get in each other's way,
// the first thousand.
type Conflicts []Conflict

// Error returns the first conflict and how many more there are.
func (c Conflicts) Error() string {
	var text strings.Builder
	if len(c) > 0 {
		text.WriteString(c[0].String())
	}
	if len(c) > 1 {
		fmt.Fprintf(&text, " (and %d more)", len(c)-1)
	}
	return text.String()
}

// within adds the conflicts of candidates, which stand in the order they are tried
// in; before are tried earlier, whatever the name.
func (c Conflicts) within(before, candidates []*conditional) Conflicts {
	for i, late := range candidates {
		if len(c) >= mostConflicts {
			return c
		}
		early := firstTaking(before, late)
		if early == nil {
			early = firstTaking(candidates[:i], late)
		}
		if early != nil {
			same := early.pattern == late.pattern && early.when.equal(late.when)
			c = append(c, Conflict{late.place, early.place, late.pattern, same})
		}
	}
	return c
}

// firstTaking returns the first that takes all clients that late could.
func firstTaking(candidates []*conditional, late *conditional) *conditional {
	for _, early := range candidates {
		if early.when.takes(late.when) {
			return early
		}
	}
	return nil
}
