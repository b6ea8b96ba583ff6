package process

import (
	"strings"
	"testing"
	"time"
)

func TestStatFields(t *testing.T) {
	fields, err := statFields("7 (a ) name) S 1 7 7 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 100 1000 50\n")
	if err != nil || fields[0] != "S" || fields[1] != "1" || fields[13] != "13" {
		t.Errorf("%q, %v", fields, err)
	}
	if _, err := statFields("7 (name) S 1"); err == nil {
		t.Error("a line that is cut short was taken")
	}
}

func TestBusyTime(t *testing.T) {
	tests := []struct {
		name, text string
		want       time.Duration
		good       bool
	}{
		{"busy", "cpu  100 10 1 5000 300 2 3 70 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n", 1160 * time.Millisecond, true},
		{"too short", "cpu 1 2 3\n", 0, false},
		{"another line", "intr 1 2 3 4 5 6 7 8\n", 0, false},
		{"nothing", "", 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := busyTime(test.text)
			if got != test.want || (err == nil) != test.good {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestLabelled(t *testing.T) {
	const text = "Name:\tVmRSS:\nVmRSS:\t  12 kB\nEmpty:"
	if bytes, err := labelled(text, "\nVmRSS:"); bytes != 12<<10 || err != nil {
		t.Errorf("%d, %v", bytes, err)
	}
	for _, label := range []string{"\nEmpty:", "\nVmHWM:"} {
		if _, err := labelled(text, label); err == nil || strings.Contains(err.Error(), `\n`) {
			t.Errorf("%q: %v", label, err)
		}
	}
}
