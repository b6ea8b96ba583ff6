package sni

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTrace(t *testing.T) {
	table, err := NewTable([]Rule[string]{
		rule(t, "a.example | imap | 10.0.0.0/8 | internal", ""),
		rule(t, "x.example *.example ||| internal", ""),
		rule(t, "~b.* ~a.* | imap", ""),
		rule(t, "", ""),
		rule(t, ".example || 10.0.0.0/8", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	query := Query{Name: "a.example", Protocols: []string{"h2"}, Client: netip.MustParseAddr("192.0.2.1"), Listener: "public"}
	want := []string{
		`{0 0} "a.example" [alpn client_ips listeners]`,
		`{1 1} "*.example" [listeners]`,
		`{4 0} ".example" [client_ips]`,
		`{2 0} "~b.*" [name alpn]`,
		`{2 1} "~a.*" [alpn]`,
		`{3 -1} "*" []`,
	}
	var got []string
	for _, step := range table.Trace(query) {
		got = append(got, fmt.Sprintf("%v %q %v", step.Place, step.Pattern, step.Missed))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := table.Trace(Query{}); len(got) != 1 || got[0].Place != (Place{3, -1}) {
		t.Errorf("without a name: %v", got)
	}
}

func TestConflictPlaces(t *testing.T) {
	_, err := NewTable([]Rule[string]{
		rule(t, "a.example", ""),
		rule(t, "b.example a.example ~x.* ~a.*", ""),
		rule(t, "c.example ~a.* | h2", ""),
		rule(t, "d.example ~a.*", ""),
		rule(t, "", ""),
		rule(t, "*", ""),
	})
	want := Conflicts{
		{Place{1, 1}, Place{0, 0}, mustPattern(t, "a.example"), true},
		{Place{3, 1}, Place{1, 3}, Pattern{"~a.*"}, true},
		{Place{5, 0}, Place{4, -1}, Pattern{"*"}, true},
	}
	if got, ok := err.(Conflicts); !ok || !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestConflictsAreBounded(t *testing.T) {
	_, err := NewTable(make([]Rule[int], 2*mostConflicts))
	if conflicts, ok := err.(Conflicts); !ok || len(conflicts) != mostConflicts {
		t.Errorf("%d conflicts, want %d", len(conflicts), mostConflicts)
	}
}

// bigTable has 100,000 exact rules, half of them with every kind of condition.
func bigTable(t testing.TB) *Table[int] {
	rules := make([]Rule[int], 100_000, 100_010)
	for i := range rules {
		rules[i] = Rule[int]{Names: []Pattern{mustPattern(t, fmt.Sprintf("www.shop%d.example.com", i))}, Value: i}
		if i%2 == 0 {
			rules[i].ALPN = []string{"imap", "h2"}
			rules[i].Clients = ranges(8)
			rules[i].Listeners = []string{"public", "internal"}
		}
	}
	table, err := NewTable(append(rules,
		Rule[int]{Names: []Pattern{mustPattern(t, ".example.com")}, ALPN: []string{"h2", "imap"}, Value: -1},
		Rule[int]{Regexps: []Regexp{mustRegexp(t, `shop[0-9]+\.example\.net`)}, Value: -3},
		Rule[int]{Value: -2},
	))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// ranges returns /24s that do not touch.
func ranges(count int) []netip.Prefix {
	made := make([]netip.Prefix, count)
	for i := range made {
		made[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 1, 0}), 24)
	}
	return made
}

var (
	inside  = netip.MustParseAddr("10.7.1.9")
	lookups = []struct {
		kind  string
		query Query
		want  int
	}{
		{"exact", Query{Name: "www.shop77777.example.com"}, 77777},
		{"conditions", Query{"www.shop77778.example.com", []string{"h2"}, inside, "internal"}, 77778},
		{"suffix", Query{Name: "www.other.example.com", Protocols: []string{"h2"}}, -1},
		{"regexp", Query{Name: "shop7.example.net"}, -3},
		{"all", Query{Name: "www.other.example.com", Protocols: []string{"x"}}, -2},
		{"126 labels", Query{Name: strings.Repeat("a.", 125) + "b"}, -2},
		{"no name", Query{}, -2},
	}
)

func TestTableFindAllocatesNothing(t *testing.T) {
	table := bigTable(t)
	for _, look := range lookups {
		allocations := testing.AllocsPerRun(100, func() {
			if value, _, _ := table.Find(look.query); value != look.want {
				t.Fatalf("%s: got %d, want %d", look.kind, value, look.want)
			}
		})
		if allocations != 0 {
			t.Errorf("%s: %v allocations", look.kind, allocations)
		}
	}
}

func BenchmarkTableFind(b *testing.B) {
	table := bigTable(b)
	for _, look := range lookups {
		b.Run(look.kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Find(look.query)
			}
		})
	}
}

func BenchmarkNewTable(b *testing.B) {
	var rules []Rule[int]
	for _, r := range ranges(256) {
		for i := range 40 {
			rules = append(rules, Rule[int]{Clients: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{11, r.Addr().As4()[1], byte(i), 0}), 25)}})
		}
	}
	for b.Loop() {
		if _, err := NewTable(rules); err != nil {
			b.Fatal(err)
		}
	}
}
