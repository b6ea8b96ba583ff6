package limit

import (
	"testing"
	"time"
)

// A count without a limit counts, and a limit holds for what was counted before it.
func TestCount(t *testing.T) {
	var c Count
	for range 3 {
		if !c.Take() {
			t.Fatal("refused without a limit")
		}
	}
	c.SetLimit(3)
	if c.Take() || c.Open() != 3 {
		t.Errorf("a fourth of three: %d open", c.Open())
	}
	c.Release()
	if !c.Take() || c.Open() != 3 {
		t.Errorf("a third of three: %d open", c.Open())
	}
	c.SetLimit(0)
	if !c.Take() {
		t.Error("refused after the limit was lifted")
	}
}

func TestLifetime(t *testing.T) {
	tests := []struct {
		name       string
		life       time.Duration
		jitter     float64
		least, top time.Duration
	}{
		{"no limit", 0, 0.5, 0, 0},
		{"no jitter", time.Hour, 0, time.Hour, time.Hour},
		{"a tenth", time.Hour, 0.1, 54 * time.Minute, time.Hour},
		{"more than all", time.Hour, 7, 0, time.Hour},
		{"less than none", time.Hour, -1, time.Hour, time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			least, top := Lifetime(test.life, test.jitter), time.Duration(0)
			for range 1000 {
				got := Lifetime(test.life, test.jitter)
				least, top = min(least, got), max(top, got)
			}
			if least < test.least || top > test.top {
				t.Errorf("from %v to %v", least, top)
			}
			if spread := test.top - test.least; top-least < spread/2 {
				t.Errorf("spread over %v only", top-least)
			}
		})
	}
}
