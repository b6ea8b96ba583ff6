package terminate

import (
	"strings"
	"testing"
	"time"
)

func TestQuote(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"plain", `get "a.test": 404`, `get "a.test": 404`},
		{"line feed", "a\nb", `"a\nb"`},
		{"escape", "\x1b[31m", `"\x1b[31m"`},
		{"right to left", "a\u202eb", `"a\u202eb"`},
		{"not UTF-8", "\xff", `"\xff"`},
		{"long", strings.Repeat("a", 1000), strings.Repeat("a", maxLogged) + "..."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := quote(test.text); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// What repeats itself is logged once a second, with the count of the rest.
func TestThrottle(t *testing.T) {
	var limited throttle
	now := time.Unix(1, 0)
	steps := []struct {
		kind string
		at   time.Duration
		kept int
		due  bool
	}{
		{"a", 0, 0, true},
		{"a", time.Millisecond, 0, false},
		{"b", time.Millisecond, 0, true},
		{"a", 999 * time.Millisecond, 0, false},
		{"a", time.Second, 2, true},
		{"a", 3 * time.Second, 0, true},
	}
	for i, step := range steps {
		if kept, due := limited.due(step.kind, now.Add(step.at)); kept != step.kept || due != step.due {
			t.Errorf("step %d: %d, %v", i, kept, due)
		}
	}
}
