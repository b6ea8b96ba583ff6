package sni

import (
	"net/netip"
	"strings"
	"testing"
)

// rule is a Rule as a test writes it, in up to four parts with bars between them:
// patterns, or regular expressions behind a "~", protocols, ranges of addresses,
// and listeners.
func rule(t testing.TB, text, value string) Rule[string] {
	t.Helper()
	parts := append(strings.Split(text, "|"), "", "", "")
	made := Rule[string]{ALPN: strings.Fields(parts[1]), Listeners: strings.Fields(parts[3]), Value: value}
	for _, name := range strings.Fields(parts[0]) {
		if expression, found := strings.CutPrefix(name, "~"); found {
			made.Regexps = append(made.Regexps, mustRegexp(t, expression))
		} else {
			made.Names = append(made.Names, mustPattern(t, name))
		}
	}
	for _, text := range strings.Fields(parts[2]) {
		made.Clients = append(made.Clients, netip.MustParsePrefix(text))
	}
	return made
}

func mustRegexp(t testing.TB, text string) Regexp {
	t.Helper()
	expression, err := ParseRegexp(text)
	if err != nil {
		t.Fatal(err)
	}
	return expression
}

func TestTableFind(t *testing.T) {
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
			value, pattern, ok := table.Find(Query{Name: test.name, Protocols: strings.Fields(test.protocols)})
			if value != test.value || pattern.String() != test.pattern || !ok {
				t.Errorf("got %q by %q, %v; want %q by %q", value, pattern, ok, test.value, test.pattern)
			}
		})
	}
}

func TestTableConditions(t *testing.T) {
	table, err := NewTable([]Rule[string]{
		rule(t, "*", "all"),
		rule(t, "a.example", "a"),
		rule(t, "a.example || 10.0.0.0/8 fd00::/8", "a, inside"),
		rule(t, "a.example ||| internal", "a, internal"),
		rule(t, "a.example | imap | 10.0.0.0/8", "a, inside, imap"),
		rule(t, "a.example | imap | 10.0.0.0/8 | internal", "a, everything"),
		rule(t, "a.example || 10.1.0.0/16 | internal", "a, inside, internal"),
		rule(t, "b.example || 192.0.2.1/32", "b"),
		rule(t, "*.example || 192.0.2.0/25 192.0.2.128/25", "child"),
		rule(t, "||| v6", "all, v6"),
		rule(t, "c.example", "c"),
		rule(t, "c.example || fd00::/8", "c, inside"),
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, protocols, client, listener, want string }{
		{"a.example", "", "192.0.2.9", "public", "a"},
		{"a.example", "", "10.2.0.1", "public", "a, inside"},
		{"a.example", "", "::ffff:10.2.0.1", "public", "a, inside"},
		{"a.example", "", "fd00::1%eth0", "public", "a, inside"},
		{"a.example", "", "fe80::1", "public", "a"},
		{"a.example", "", "", "public", "a"},
		{"a.example", "", "192.0.2.9", "internal", "a, internal"},
		{"a.example", "", "10.2.0.1", "internal", "a, inside"}, // as many conditions, and given first
		{"a.example", "", "10.1.255.255", "internal", "a, inside, internal"},
		{"a.example", "imap", "10.2.0.1", "public", "a, inside, imap"},
		{"a.example", "imap", "10.1.0.1", "internal", "a, everything"},
		{"a.example", "h2 imap", "9.255.255.255", "internal", "a, internal"},
		{"b.example", "", "192.0.2.1", "", "b"},
		{"b.example", "", "192.0.2.2", "", "child"},
		{"b.example", "", "192.0.2.255", "", "child"},
		{"b.example", "", "192.0.3.0", "", "all"},
		{"b.example", "", "192.0.1.255", "v6", "all, v6"},
		{"c.example", "", "fd00::1", "", "c, inside"},
		{"c.example", "", "10.0.0.1", "", "c"},
		{"", "", "192.0.2.1", "v6", "all, v6"},
		{"", "", "192.0.2.1", "", "all"},
	}
	for _, test := range tests {
		t.Run(test.name+" "+test.protocols+" "+test.client+" "+test.listener, func(t *testing.T) {
			query := Query{Name: test.name, Protocols: strings.Fields(test.protocols), Listener: test.listener}
			if test.client != "" {
				query.Client = netip.MustParseAddr(test.client)
			}
			if value, _, ok := table.Find(query); value != test.want || !ok {
				t.Errorf("got %q, %v; want %q", value, ok, test.want)
			}
		})
	}
}

func TestTableRegexps(t *testing.T) {
	table, err := NewTable([]Rule[string]{
		rule(t, "*", "all"),
		rule(t, `~db[0-9]+\.example`, "database"),
		rule(t, `~.*\.example`, "below"),
		rule(t, `~db[0-9]+\.example | postgresql`, "database, postgresql"),
		rule(t, `x.example ~db.*`, "mixed"),
		rule(t, ".b.example", "suffix"),
		rule(t, "db7.example | h2", "exact"),
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, protocols, value, pattern string }{
		{"db1.example", "", "database", `~db[0-9]+\.example`},
		{"db1.example", "postgresql", "database, postgresql", `~db[0-9]+\.example`},
		{"dba.example", "", "below", `~.*\.example`},
		{"db1.example.test", "", "mixed", "~db.*"},
		{"xdb1.test", "", "all", "*"},
		{"db1.b.example", "", "suffix", ".b.example"},
		{"x.example", "", "mixed", "x.example"},
		{"db7.example", "h2", "exact", "db7.example"},
		{"db7.example", "", "database", `~db[0-9]+\.example`},
		{"", "", "all", "*"},
	}
	for _, test := range tests {
		t.Run(test.name+" "+test.protocols, func(t *testing.T) {
			value, pattern, ok := table.Find(Query{Name: test.name, Protocols: strings.Fields(test.protocols)})
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
		if value, pattern, ok := table.Find(Query{Name: name}); ok || value != "" || pattern != (Pattern{}) {
			t.Errorf("Find(%q) = %q by %q, %v; want nothing", name, value, pattern, ok)
		}
	}
}

func TestTableOfNoRules(t *testing.T) {
	table, err := NewTable[int](nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := table.Find(Query{Name: "a.example", Protocols: []string{"h2"}}); ok {
		t.Error("matched")
	}
}

func TestTableKeepsNothingOfItsRules(t *testing.T) {
	rules := []Rule[string]{rule(t, "a.example | h2 | 10.0.0.0/8 | x", "x")}
	table, err := NewTable(rules)
	if err != nil {
		t.Fatal(err)
	}
	rules[0].ALPN[0], rules[0].Names[0] = "imap", mustPattern(t, "b.example")
	rules[0].Clients[0], rules[0].Listeners[0] = netip.MustParsePrefix("::/0"), "y"
	if _, _, ok := table.Find(Query{"a.example", []string{"h2"}, netip.MustParseAddr("10.0.0.1"), "x"}); !ok {
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
		{
			"wider conditions first",
			[]Rule[string]{rule(t, "a.example | h2 imap", ""), rule(t, "a.example | imap", "")},
			`rule 1 can never match by "a.example": rule 0 before it takes all of that`,
		},
		{
			"a range in another",
			[]Rule[string]{rule(t, "|| 10.0.0.0/9 10.128.0.0/9", ""), rule(t, "|| 10.0.0.0/8", ""), rule(t, "|| 10.64.0.0/10", "")},
			`rules 0 and 1: the same pattern "*" and the same conditions (and 1 more)`,
		},
		{
			"a range half in another",
			[]Rule[string]{rule(t, "|| 10.0.0.0/9", ""), rule(t, "|| 10.0.0.0/8", ""), rule(t, "|| 10.0.0.0/10 10.64.0.0/10", "")},
			`rules 0 and 2: the same pattern "*" and the same conditions`,
		},
		{
			"mapped addresses",
			[]Rule[string]{rule(t, "|| ::ffff:10.0.0.0/104", ""), rule(t, "|| 10.0.0.0/8", "")},
			`rules 0 and 1: the same pattern "*" and the same conditions`,
		},
		{
			"fewer listeners",
			[]Rule[string]{rule(t, "*.a.example ||| x y", ""), rule(t, "*.a.example ||| y", "")},
			`rule 1 can never match by "*.a.example": rule 0 before it takes all of that`,
		},
		{
			"same expression",
			[]Rule[string]{rule(t, "~a.*", ""), rule(t, "x.example ~b.* ~a.*", "")},
			`rules 0 and 1: the same pattern "~a.*" and the same conditions`,
		},
		{
			"behind an expression for all",
			[]Rule[string]{rule(t, "~.* | h2", ""), rule(t, "~b.*", ""), rule(t, "~(^.+$)", ""), rule(t, "~c.* | imap", "")},
			`rule 3 can never match by "~c.*": rule 2 before it takes all of that`,
		},
		{
			"behind an expression for all, the same conditions",
			[]Rule[string]{rule(t, "~.*", ""), rule(t, "~b.*", "")},
			`rule 1 can never match by "~b.*": rule 0 before it takes all of that`,
		},
		{"zero pattern", []Rule[string]{{Names: []Pattern{{}}}}, `rule 0: empty pattern`},
		{"zero expression", []Rule[string]{{Regexps: []Regexp{{}}}}, `rule 0: empty regular expression`},
		{"zero range", []Rule[string]{{}, {Clients: []netip.Prefix{{}}}}, `rule 1: no range of addresses: invalid Prefix`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := NewTable(test.rules); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
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
