package sni

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naive finds a rule by trying all of them, the most specific name first.
func naive(rules []Rule[int], query Query) (Place, Pattern, bool) {
	var all []Step
	for i, rule := range rules {
		if !holds(rule, query) {
			continue
		}
		for j, pattern := range rule.Names {
			if pattern.Match(query.Name) {
				all = append(all, Step{Place: Place{i, j}, Pattern: pattern})
			}
		}
		for j, expression := range rule.Regexps {
			if expression.Match(query.Name) {
				all = append(all, Step{Place: Place{i, len(rule.Names) + j}, Pattern: expression.pattern()})
			}
		}
		if len(rule.Names)+len(rule.Regexps) == 0 {
			all = append(all, Step{Place: Place{i, -1}, Pattern: Pattern{"*"}})
		}
	}
	if len(all) == 0 {
		return Place{}, Pattern{}, false
	}
	var written []Pattern // the expressions, as often as they are
	for _, rule := range rules {
		for _, expression := range rule.Regexps {
			written = append(written, expression.pattern())
		}
	}
	best := slices.MinFunc(all, func(a, b Step) int {
		if c := cmp.Compare(kind(a.Pattern), kind(b.Pattern)); c != 0 {
			return c
		}
		if kind(a.Pattern) == 3 && a.Pattern != b.Pattern {
			return cmp.Compare(slices.Index(written, a.Pattern), slices.Index(written, b.Pattern))
		}
		return cmp.Or(
			-cmp.Compare(len(a.Pattern.text), len(b.Pattern.text)),
			-cmp.Compare(asked(rules[a.Rule]), asked(rules[b.Rule])),
		)
	})
	return best.Place, best.Pattern, true
}

func kind(pattern Pattern) int {
	switch {
	case pattern.text == "*":
		return 4
	case pattern.text[0] == '~':
		return 3
	case pattern.text[0] == '.':
		return 2
	case pattern.text[0] == '*':
		return 1
	}
	return 0
}

func asked(rule Rule[int]) int {
	return min(1, len(rule.ALPN)) + min(1, len(rule.Clients)) + min(1, len(rule.Listeners))
}

func holds(rule Rule[int], query Query) bool {
	offered := len(rule.ALPN) == 0 || slices.ContainsFunc(rule.ALPN, func(p string) bool { return slices.Contains(query.Protocols, p) })
	from := len(rule.Clients) == 0 || slices.ContainsFunc(rule.Clients, func(r netip.Prefix) bool { return r.Contains(query.Client) })
	at := len(rule.Listeners) == 0 || slices.Contains(rule.Listeners, query.Listener)
	return offered && from && at
}

var (
	aLabel = rapid.SampledFrom([]string{"a", "b", "c"})
	aName  = rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(aLabel, 1, 4).Draw(t, "labels"), ".")
	})
	aPattern = rapid.Custom(func(t *rapid.T) Pattern {
		text := rapid.SampledFrom([]string{"", "*.", "."}).Draw(t, "prefix") + aName.Draw(t, "base")
		if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
			text = "*"
		}
		return Pattern{text}
	})
	aRegexp = rapid.Custom(func(t *rapid.T) Regexp {
		texts := []string{`a.*`, `.*`, `.+`, `.*\.[ab]`, `a\.b`, `(a|b)+\.c`, `[^a].*`}
		parsed, err := ParseRegexp(rapid.SampledFrom(texts).Draw(t, "regexp"))
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	})
	aRange = rapid.Custom(func(t *rapid.T) netip.Prefix {
		return netip.PrefixFrom(anAddress.Draw(t, "address"), rapid.IntRange(28, 32).Draw(t, "bits")).Masked()
	})
	anAddress = rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "last") % 32})
	})
	someProtocols = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"h2", "imap", "mqtt"}), 0, 2, rapid.ID)
	someListeners = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "z"}), 0, 2, rapid.ID)
	aRule         = rapid.Custom(func(t *rapid.T) Rule[int] {
		return Rule[int]{
			Names:     rapid.SliceOfNDistinct(aPattern, 0, 3, rapid.ID).Draw(t, "names"),
			Regexps:   rapid.SliceOfNDistinct(aRegexp, 0, 2, Regexp.String).Draw(t, "regexps"),
			ALPN:      someProtocols.Draw(t, "alpn"),
			Clients:   rapid.SliceOfN(aRange, 0, 2).Draw(t, "clients"),
			Listeners: someListeners.Draw(t, "listeners"),
		}
	})
	aQuery = rapid.Custom(func(t *rapid.T) Query {
		query := Query{
			Protocols: someProtocols.Draw(t, "offered"),
			Client:    anAddress.Draw(t, "client"),
			Listener:  rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "listener"),
		}
		if rapid.IntRange(0, 9).Draw(t, "named") > 0 {
			query.Name = aName.Draw(t, "name")
		}
		return query
	})
)

func TestTableAgreesWithTryingAllRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rules []Rule[int]
		for range rapid.IntRange(0, 20).Draw(t, "rules") {
			added := aRule.Draw(t, "rule")
			added.Value = len(rules)
			if _, err := NewTable(append(rules, added)); err == nil {
				rules = append(rules, added)
			}
		}
		table, err := NewTable(rules)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			query := aQuery.Draw(t, "query")
			value, matched, ok := table.Find(query)
			want, wantMatched, wantOK := naive(rules, query)
			if value != want.Rule || matched != wantMatched || ok != wantOK {
				t.Fatalf("Find(%v) = %d by %q, %v; want %d by %q, %v", query,
					value, matched, ok, want.Rule, wantMatched, wantOK)
			}
			checkTrace(t, table.Trace(query), rules, query, want, ok)
		}
	})
}

func checkTrace(t *rapid.T, steps []Step, rules []Rule[int], query Query, want Place, ok bool) {
	for i, step := range steps {
		if last := i == len(steps)-1; ok && last {
			if step.Place != want || len(step.Missed) > 0 {
				t.Fatalf("Trace(%v) ends in %v, want %v", query, step, want)
			}
		} else if len(step.Missed) == 0 {
			t.Fatalf("Trace(%v) goes on behind %v", query, step)
		}
		named := slices.Contains(step.Missed, ConditionName)
		if held := holds(rules[step.Rule], query) && !named; held != (len(step.Missed) == 0) {
			t.Fatalf("Trace(%v) says %v", query, step)
		}
	}
	if ok && len(steps) == 0 {
		t.Fatalf("Trace(%v) is empty", query)
	}
}

// What is called a conflict is never picked, whoever asks.
func TestConflictsNeverMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(aRule, 2, 8).Draw(t, "rules")
		_, err := NewTable(rules)
		conflicts, ok := err.(Conflicts)
		if !ok {
			return
		}
		for range 30 {
			query := aQuery.Draw(t, "query")
			picked, _, ok := naive(rules, query)
			if ok && slices.ContainsFunc(conflicts, func(c Conflict) bool { return c.Place == picked }) {
				t.Fatalf("%v is picked for %v, and is one of %v", picked, query, conflicts)
			}
		}
	})
}
