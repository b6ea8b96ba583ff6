package sni

import (
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Repeat(label63+".", 3) + strings.Repeat("b", 61)
	tests := []struct {
		name, in, want string // want "": refused
	}{
		{"plain", "a.example", "a.example"},
		{"mixed case", "A.eXAMPLE", "a.example"},
		{"one label", "localhost", "localhost"},
		{"digits in labels", "1.2.3.example", "1.2.3.example"},
		{"number and letters last", "a.1b", "a.1b"},
		{"A-label", "XN--bcher-kva.example", "xn--bcher-kva.example"},
		{"hyphens in third place", "r3---sn-abc.example", "r3---sn-abc.example"},
		{"underscore in first label", "_a_b_.example", "_a_b_.example"},
		{"label of 63", label63 + ".example", label63 + ".example"},
		{"name of 253", name253, name253},

		{"empty", "", ""},
		{"name of 254", name253 + "b", ""},
		{"60000 octets", strings.Repeat("a.", 30000) + "a", ""},
		{"label of 64", label63 + "a.example", ""},
		{"trailing dot", "a.example.", ""},
		{"dot", ".", ""},
		{"leading dot", ".a.example", ""},
		{"two dots", "a..example", ""},
		{"path upwards", "../../etc/passwd", ""},
		{"only dots", "..", ""},
		{"slash", "a/b.example", ""},
		{"percent", "a%2e.example", ""},
		{"question mark", "a.example?x", ""},
		{"at", "a@b.example", ""},
		{"backquote, a letter but for one bit", "a`.example", ""},
		{"colon", "a.example:443", ""},
		{"star", "*", ""},
		{"wildcard", "*.example", ""},
		{"space", "a .example", ""},
		{"NUL", "a.example\x00.evil.example", ""},
		{"CR LF", "a.example\r\nx", ""},
		{"ESC", "a\x1b[2J.example", ""},
		{"U-label", "bücher.example", ""},
		{"invalid UTF-8", "a\xff.example", ""},
		{"right-to-left override", "a\u202e.example", ""},
		{"Kelvin sign, which lower-cases to k", "\u212a.example", ""},
		{"leading hyphen", "-a.example", ""},
		{"trailing hyphen", "a-.example", ""},
		{"hyphen last", "a.example-", ""},
		{"underscore in second label", "a._b.example", ""},
		{"underscore in last label", "a.example_", ""},
		{"IPv4", "192.0.2.1", ""},
		{"IPv4 short", "127.1", ""},
		{"IPv4 as one number", "3221225985", ""},
		{"IPv4 in hexadecimal", "0xC0000201", ""},
		{"IPv4 last part in hexadecimal", "a.0X7f", ""},
		{"IPv4 empty hexadecimal", "a.0x", ""},
		{"IPv4 octal", "0300.0.02.01", ""},
		{"IPv6", "2001:db8::1", ""},
		{"IPv6 in brackets", "[2001:db8::1]", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Normalize(test.in)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("Normalize(%q) = %q, %v; want %q", test.in, got, err, test.want)
			}
		})
	}
}

func TestNormalizeErrorIsPrintableAndShort(t *testing.T) {
	for _, name := range []string{
		strings.Repeat("\x1b]0;x\a\u202e\xff\n", 100),
		strings.Repeat("a", 60000),
	} {
		_, err := Normalize(name)
		if err == nil {
			t.Fatalf("%.20q... accepted", name)
		}
		text := err.Error()
		if len(text) > 500 {
			t.Errorf("error of %d octets", len(text))
		}
		if !allIn(text, func(c byte) bool { return ' ' <= c && c <= '~' }) {
			t.Errorf("error holds unprintable octets: %q", text)
		}
	}
}

func TestNormalizeError(t *testing.T) {
	_, err := Normalize("a..b")
	if want := `name "a..b": empty label`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNormalizeAllocatesNothing(t *testing.T) {
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := Normalize("www.shop-1.example.com"); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for a name in lower case", allocations)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, in, want string // want "": refused
	}{
		{"plain", "a.example", "a.example"},
		{"upper case", "A.Example", "a.example"},
		{"trailing dot", "a.example.", "a.example"},
		{"U-label", "bücher.example", "xn--bcher-kva.example"},
		{"U-label in upper case", "BÜCHER.Example.", "xn--bcher-kva.example"},
		{"decomposed U-label", "bu\u0308cher.example", "xn--bcher-kva.example"},
		{"sharp s stays", "straße.example", "xn--strae-oqa.example"},
		{"ideographic full stops", "日本。example。", "xn--wgv71a.example"},
		{"underscore", "_x.example", "_x.example"},
		{"hyphens in third place", "r3---sn.example", "r3---sn.example"},

		{"empty", "", ""},
		{"dot", ".", ""},
		{"two trailing dots", "a.example..", ""},
		{"two trailing ideographic full stops", "日本。。", ""},
		{"wildcard", "*.example", ""},
		{"white space", " a.example", ""},
		{"full-width digits", "１２７.０.０.１", ""},
		{"full-width solidus", "ａ／ｂ.example", ""},
		{"account of", "℀.example", ""},
		{"right-to-left override", "a\u202eb.example", ""},
		{"joiner without context", "a\u200db.example", ""},
		{"mixed directions", "aא.example", ""},
		{"not equal", "a≠b.example", ""},
		{"invalid UTF-8", "\xff.example", ""},
		{"invalid UTF-8 beside a U-label", "a\xff.bücher.example", ""},
		{"label too long in A-labels", strings.Repeat("ü", 60) + ".example", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(test.in)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("Parse(%q) = %q, %v; want %q", test.in, got, err, test.want)
			}
		})
	}
}

func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{
		"a.example", "A.Example", "xn--bcher-kva.example", "_a.example", "a._b.example", "", ".", "a.",
		"..", "../../etc/passwd", "127.0.0.1", "a.0x7f", "*.example", "a\x00b", "a\r\nb", "bücher.example",
		strings.Repeat("a.", 127) + "b", strings.Repeat("a", 64),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := Normalize(text)
		if err != nil {
			if name != "" {
				t.Errorf("Normalize(%q) = %q with error %v", text, name, err)
			}
			return
		}
		if !strings.EqualFold(name, text) || len(name) > 253 || name != strings.ToLower(name) {
			t.Errorf("Normalize(%q) = %q", text, name)
		}
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || strings.Contains(name, "..") {
			t.Errorf("Normalize(%q) = %q: not safe in a path", text, name)
		}
		if again, err := Normalize(name); again != name || err != nil {
			t.Errorf("Normalize(%q) = %q, %v: not stable", name, again, err)
		}
		if parsed, err := Parse(text + "."); parsed != name || err != nil {
			t.Errorf("Parse(%q) = %q, %v; Normalize gives %q", text+".", parsed, err, name)
		}
	})
}
