package sni

import (
	"strings"
	"testing"
)

func mustPattern(t testing.TB, text string) Pattern {
	t.Helper()
	pattern, err := ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return pattern
}

func TestParsePattern(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 59)
	tests := []struct {
		name, in, want string // want "": refused
	}{
		{"exact", "a.example", "a.example"},
		{"upper case and trailing dot", "A.Example.", "a.example"},
		{"U-label", "bücher.example", "xn--bcher-kva.example"},
		{"one label", "*.a.example", "*.a.example"},
		{"one label over a U-label", "*.Bücher.example.", "*.xn--bcher-kva.example"},
		{"any depth", ".a.example", ".a.example"},
		{"everything", "*", "*"},
		{"longest that has children", "*." + long, "*." + long},

		{"empty", "", ""},
		{"dot", ".", ""},
		{"star dot", "*.", ""},
		{"star without a dot", "*a.example", ""},
		{"star inside", "a.*.example", ""},
		{"star within a label", "a*.example", ""},
		{"two stars", "*.*.example", ""},
		{"two dots", "..example", ""},
		{"IPv4", "192.0.2.1", ""},
		{"IPv4 behind a star", "*.0.2.1", ""},
		{"underscore that could not stand first", "*._tcp.example", ""},
		{"too long to have children", "." + long + "bb", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParsePattern(test.in)
			if got.String() != test.want || (err == nil) != (test.want != "") {
				t.Fatalf("ParsePattern(%q) = %q, %v; want %q", test.in, got, err, test.want)
			}
			if again, err := ParsePattern(got.String()); test.want != "" && (again != got || err != nil) {
				t.Errorf("ParsePattern(%q) = %q, %v: not stable", got, again, err)
			}
		})
	}
}

func TestPatternMatch(t *testing.T) {
	tests := []struct {
		pattern string
		yes, no []string
	}{
		{"a.example", []string{"a.example"}, []string{"", "b.example", "x.a.example", "example", "aa.example"}},
		{"*.a.example", []string{"x.a.example", "_x.a.example"}, []string{"", "a.example", "x.y.a.example", "xa.example", "x.aa.example"}},
		{".a.example", []string{"x.a.example", "x.y.a.example"}, []string{"", "a.example", "xa.example", "x.a.example.b"}},
		{"*", []string{"", "a.example", "localhost"}, nil},
		{"localhost", []string{"localhost"}, []string{"", "a.localhost"}},
		{"*.localhost", []string{"a.localhost"}, []string{"", "localhost"}},
	}
	for _, test := range tests {
		t.Run(test.pattern, func(t *testing.T) {
			pattern := mustPattern(t, test.pattern)
			for _, name := range test.yes {
				if !pattern.Match(name) {
					t.Errorf("does not match %q", name)
				}
			}
			for _, name := range test.no {
				if pattern.Match(name) {
					t.Errorf("matches %q", name)
				}
			}
		})
	}
}

func TestZeroPatternMatchesNothing(t *testing.T) {
	for _, name := range []string{"", "a.example"} {
		if (Pattern{}).Match(name) {
			t.Errorf("matches %q", name)
		}
	}
}
