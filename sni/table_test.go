package sni

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// rule is a Rule as a test writes it: patterns apart by spaces, a bar, protocols.
func rule(t testing.TB, text, value string) Rule[string] {
	t.Helper()
	names, protocols, _ := strings.Cut(text, "|")
	made := Rule[string]{ALPN: strings.Fields(protocols), Value: value}
	for _, name := range strings.Fields(names) {
		made.Names = append(made.Names, mustPattern(t, name))
	}
	return made
}

func TestTableMatch(t *testing.T) {
	table, err := NewTable([]Rule[string]{
		rule(t, "*", "all"),
		rule(t, ".example", "below example"),
		rule(t, ".b.example", "below b"),
		rule(t, "*.b.example", "child of b"),
		rule(t, "a.b.example c.example", "exact"),
		rule(t, "a.b.example | h2 http/1.1", "exact, web"),
		rule(t, "a.b.example | imap h2", "exact, mail"),
		rule(t, "only.b.example | imap", "only mail"),
		rule(t, "| postgresql", "any, postgresql"),
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, protocols, value, pattern string }{
		{"a.b.example", "", "exact", "a.b.example"},
		{"c.example", "", "exact", "c.example"},
		{"a.b.example", "http/1.1", "exact, web", "a.b.example"},
		{"a.b.example", "x http/1.1", "exact, web", "a.b.example"},
		{"a.b.example", "imap", "exact, mail", "a.b.example"},
		{"a.b.example", "h2", "exact, web", "a.b.example"},
		{"a.b.example", "x", "exact", "a.b.example"},
		{"only.b.example", "imap", "only mail", "only.b.example"},
		{"only.b.example", "h2", "child of b", "*.b.example"},
		{"x.b.example", "", "child of b", "*.b.example"},
		{"x.y.b.example", "", "below b", ".b.example"},
		{"b.example", "", "below example", ".example"},
		{"x.y.z.example", "", "below example", ".example"},
		{"example", "", "all", "*"},
		{"xb.example", "", "below example", ".example"},
		{"other.test", "", "all", "*"},
		{"other.test", "postgresql", "any, postgresql", "*"},
		{"", "", "all", "*"},
		{"", "postgresql", "any, postgresql", "*"},
		{"x.b.example", "postgresql", "child of b", "*.b.example"},
	}
	for _, test := range tests {
		t.Run(test.name+" "+test.protocols, func(t *testing.T) {
			value, pattern, ok := table.Match(test.name, strings.Fields(test.protocols))
			if value != test.value || pattern.String() != test.pattern || !ok {
				t.Errorf("got %q by %q, %v; want %q by %q", value, pattern, ok, test.value, test.pattern)
			}
		})
	}
}

func TestTableWithoutRuleForAll(t *testing.T) {
	table, err := NewTable([]Rule[string]{rule(t, "a.example *.example .test", "x"), rule(t, "| h2", "y")})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "b.a.example", "test", "example", "localhost"} {
		if value, pattern, ok := table.Match(name, nil); ok || value != "" || pattern != (Pattern{}) {
			t.Errorf("Match(%q) = %q by %q, %v; want nothing", name, value, pattern, ok)
		}
	}
}

func TestTableOfNoRules(t *testing.T) {
	table, err := NewTable[int](nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := table.Match("a.example", []string{"h2"}); ok {
		t.Error("matched")
	}
}

func TestTableKeepsNothingOfItsRules(t *testing.T) {
	rules := []Rule[string]{rule(t, "a.example | h2", "x")}
	table, err := NewTable(rules)
	if err != nil {
		t.Fatal(err)
	}
	rules[0].ALPN[0], rules[0].Names[0] = "imap", mustPattern(t, "b.example")
	if _, _, ok := table.Match("a.example", []string{"h2"}); !ok {
		t.Error("a change of the rule given changed the table")
	}
}

func TestNewTableRefuses(t *testing.T) {
	tests := []struct {
		name  string
		rules []Rule[string]
		want  string
	}{
		{
			"same name twice",
			[]Rule[string]{rule(t, "a.example", ""), rule(t, "b.example", ""), rule(t, "c.example A.example", "")},
			`rules 0 and 2: the same pattern "a.example" and the same conditions`,
		},
		{
			"same protocols in another order",
			[]Rule[string]{rule(t, "*.a.example | h2 imap", ""), rule(t, "*.a.example | imap h2 h2", "")},
			`rules 0 and 1: the same pattern "*.a.example" and the same conditions`,
		},
		{
			"no names and *",
			[]Rule[string]{rule(t, "", ""), rule(t, "*", "")},
			`rules 0 and 1: the same pattern "*" and the same conditions`,
		},
		{
			"within one rule",
			[]Rule[string]{rule(t, ".a.example .a.example", "")},
			`rules 0 and 0: the same pattern ".a.example" and the same conditions`,
		},
		{"zero pattern", []Rule[string]{{Names: []Pattern{{}}}}, `rule 0: empty pattern`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := NewTable(test.rules); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// naive finds a rule by trying all of them, the most specific pattern first.
func naive(rules []Rule[int], name string, protocols []string) (int, Pattern, bool) {
	type found struct {
		rule    Rule[int]
		pattern Pattern
	}
	var all []found
	for _, rule := range rules {
		for _, pattern := range rule.Names {
			offered := len(rule.ALPN) == 0
			for _, protocol := range rule.ALPN {
				offered = offered || slices.Contains(protocols, protocol)
			}
			if offered && pattern.Match(name) {
				all = append(all, found{rule, pattern})
			}
		}
	}
	if len(all) == 0 {
		return 0, Pattern{}, false
	}
	kind := func(pattern Pattern) int {
		switch {
		case pattern.text == "*":
			return 3
		case pattern.text[0] == '.':
			return 2
		case pattern.text[0] == '*':
			return 1
		}
		return 0
	}
	best := slices.MinFunc(all, func(a, b found) int {
		return cmp.Or(
			cmp.Compare(kind(a.pattern), kind(b.pattern)),
			-cmp.Compare(len(a.pattern.text), len(b.pattern.text)),
			-cmp.Compare(min(1, len(a.rule.ALPN)), min(1, len(b.rule.ALPN))),
		)
	})
	return best.rule.Value, best.pattern, true
}

func TestTableAgreesWithTryingAllRules(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "c"})
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "labels"), ".")
	})
	pattern := rapid.Custom(func(t *rapid.T) Pattern {
		text := rapid.SampledFrom([]string{"", "*.", "."}).Draw(t, "prefix") + name.Draw(t, "base")
		if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
			text = "*"
		}
		return Pattern{text}
	})
	protocols := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"h2", "imap", "mqtt"}), 0, 2, rapid.ID)
	rapid.Check(t, func(t *rapid.T) {
		var rules []Rule[int]
		for i := range rapid.IntRange(0, 20).Draw(t, "rules") {
			added := Rule[int]{
				Names: rapid.SliceOfNDistinct(pattern, 1, 3, rapid.ID).Draw(t, "names"),
				ALPN:  protocols.Draw(t, "alpn"),
				Value: i,
			}
			if _, err := NewTable(append(rules, added)); err == nil {
				rules = append(rules, added)
			}
		}
		table, err := NewTable(rules)
		if err != nil {
			t.Fatal(err)
		}
		for _, asked := range append(rapid.SliceOfN(name, 1, 10).Draw(t, "asked"), "") {
			offered := protocols.Draw(t, "offered")
			value, matched, ok := table.Match(asked, offered)
			wantValue, wantMatched, wantOK := naive(rules, asked, offered)
			if value != wantValue || matched != wantMatched || ok != wantOK {
				t.Fatalf("Match(%q, %q) = %d by %q, %v; want %d by %q, %v", asked, offered,
					value, matched, ok, wantValue, wantMatched, wantOK)
			}
		}
	})
}

func bigTable(t testing.TB) *Table[int] {
	rules := make([]Rule[int], 100_000, 100_002)
	for i := range rules {
		rules[i] = Rule[int]{Names: []Pattern{mustPattern(t, fmt.Sprintf("www.shop%d.example.com", i))}, Value: i}
	}
	table, err := NewTable(append(rules,
		Rule[int]{Names: []Pattern{mustPattern(t, ".example.com")}, ALPN: []string{"h2", "imap"}, Value: -1},
		Rule[int]{Value: -2},
	))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

var lookups = []struct {
	kind, name string
	protocols  []string
	want       int
}{
	{"exact", "www.shop77777.example.com", nil, 77777},
	{"suffix", "www.other.example.com", []string{"h2"}, -1},
	{"all", "www.other.example.com", []string{"x"}, -2},
	{"126 labels", strings.Repeat("a.", 125) + "b", nil, -2},
	{"no name", "", nil, -2},
}

func TestTableMatchAllocatesNothing(t *testing.T) {
	table := bigTable(t)
	for _, look := range lookups {
		allocations := testing.AllocsPerRun(100, func() {
			if value, _, _ := table.Match(look.name, look.protocols); value != look.want {
				t.Fatalf("%s: got %d, want %d", look.kind, value, look.want)
			}
		})
		if allocations != 0 {
			t.Errorf("%s: %v allocations", look.kind, allocations)
		}
	}
}

func BenchmarkTableMatch(b *testing.B) {
	table := bigTable(b)
	for _, look := range lookups {
		b.Run(look.kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Match(look.name, look.protocols)
			}
		})
	}
}

func BenchmarkNormalize(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Normalize("www.shop77777.example.com")
	}
}
