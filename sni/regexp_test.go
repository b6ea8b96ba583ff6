package sni

import (
	"regexp"
	"strings"
	"testing"
)

func TestRegexpMatch(t *testing.T) {
	tests := []struct {
		text, name string
		want       bool
	}{
		{`a\.example`, "a.example", true},
		{`a\.example`, "xa.example", false},
		{`a\.example`, "a.examplex", false},
		{`^a\.example$`, "a.example", true},
		{`a|b`, "ab", false},
		{`a|b`, "b", true},
		{`(?i)A\.Example`, "a.example", true},
		{`(?m)^a$`, "a", true},
		{`\Qa.b`, "a.b", true},
		{`\Qa.b`, "axb", false},
		{`[[:alpha:]]+\d{2}`, "ab12", true},
		{`.*`, "", false},
		{`[\w-]{1,63}\.example`, strings.Repeat("x", 63) + ".example", true},
		{`(?s:.)+`, "a", true},
	}
	for _, test := range tests {
		t.Run(test.text+" "+test.name, func(t *testing.T) {
			expression := mustRegexp(t, test.text)
			if got := expression.Match(test.name); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if expression.String() != test.text {
				t.Errorf("String() = %q", expression)
			}
		})
	}
	if (Regexp{}).Match("a") || (Regexp{}).String() != "" {
		t.Error("the zero Regexp matches, or says something")
	}
}

func TestParseRegexpRefuses(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", `regular expression "": empty`},
		{"a(", `regular expression "a(": missing closing ): "a("`},
		{"a)|(b", `regular expression "a)|(b": unexpected ): "a)|(b"`},
		{`(?=a)`, `regular expression "(?=a)": invalid or unsupported Perl syntax: "(?="`},
		{`A\.example`, `regular expression "A\\.example": no name can match: "A" is in none (they are in lower case and A-labels)`},
		{`x/.*`, `regular expression "x/.*": no name can match: "/" is in none (they are in lower case and A-labels)`},
		{`(b|ü.*)`, `regular expression "(b|\u00fc.*)": no name can match: "\u00fc" is in none (they are in lower case and A-labels)`},
		{`[^\x00-\x{10FFFF}]`, `regular expression "[^\\x00-\\x{10FFFF}]": no name can match`},
		{"a\x1b[", `regular expression "a\x1b[": missing closing ]: "["`},
		{`(a{100}){11}`, `regular expression "(a{100}){11}": invalid repeat count: "{11}"`},
		{`(a{99}){10}b{99}`, `regular expression "(a{99}){10}b{99}": larger than 1000 states: it repeats too much`},
		{strings.Repeat("a", 1001), `regular expression "` + strings.Repeat("a", 80) + `"...: longer than 1000 octets`},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			if _, err := ParseRegexp(test.text); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestRegexpsAreBoundedTogether(t *testing.T) {
	rules := make([]Rule[int], 11)
	for i := range rules {
		rules[i].Regexps = []Regexp{mustRegexp(t, strings.Repeat("a", i+1)+"(b{30}){30}")}
	}
	const want = "the regular expressions have "
	if _, err := NewTable(rules); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if _, err := NewTable(rules[:10]); err != nil {
		t.Error(err)
	}
}

func TestRegexpForAll(t *testing.T) {
	for text, want := range map[string]bool{
		".*": true, ".+": true, "(.*)": true, "^.*$": true, "^(?:.+)$": true, "(?s:.*)": true, "(.*)*": true, ".*.*": true,
		".": false, ".?": false, ".*a": false, "[a-z]*": false, "a|.*": false, "(?:)": false,
	} {
		expression, err := ParseRegexp(text)
		if err != nil {
			t.Error(err)
		} else if expression.all != want {
			t.Errorf("%s takes all: %v, want %v", text, expression.all, want)
		}
	}
}

// FuzzParseRegexp holds an expression that was accepted to what regexp makes of
// the same text.
func FuzzParseRegexp(f *testing.F) {
	for _, text := range []string{`a\.example`, `^(a|b).*$`, `(?i)A+`, `\Qa.b`, `(?m)^a$`, `a)|(b`, `[a-z]{3,5}`, `(?U)a+?`, `\pL*`, `\b.+\B`} {
		f.Add(text, "a.example")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		expression, err := ParseRegexp(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("unsafe: %q", err)
			}
			return
		}
		if name, err = Normalize(name); err != nil {
			return
		}
		plain := regexp.MustCompile(text)
		plain.Longest()
		matched := expression.Match(name)
		if matched && !plain.MatchString(name) {
			t.Errorf("%q matches %q only with anchors", text, name)
		}
		if at := plain.FindStringIndex(name); !matched && at != nil && at[0] == 0 && at[1] == len(name) {
			t.Errorf("%q does not match all of %q", text, name)
		}
		if expression.all && !matched {
			t.Errorf("%q does not match %q", text, name)
		}
	})
}
