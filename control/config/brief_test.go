package config

import (
	"errors"
	"fmt"
	"testing"
)

func TestBrief(t *testing.T) {
	problems := Problems{{Path: "a", Message: "b"}, {File: "f", Line: 2, Column: 3, Message: "c", Source: "text"}}
	for _, c := range []struct {
		err  error
		want string
	}{
		{problems, "a: b; f:2:3: c"},
		{fmt.Errorf("read: %w", problems[1:]), "f:2:3: c"},
		{errors.New("another"), "another"},
	} {
		if got := Brief(c.err); got.Error() != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if Brief(nil) != nil {
		t.Error("not nil")
	}
}
