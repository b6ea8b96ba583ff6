package pool

import (
	"slices"
	"testing"
)

func TestOperatedIsHandedOn(t *testing.T) {
	servers := func(weights ...int) Options {
		options := Options{Name: "main"}
		for i, weight := range weights {
			options.Servers = append(options.Servers, ServerOptions{Address: "127.0.0.1:" + string(rune('1'+i)), Weight: weight})
		}
		return options
	}
	before, err := New(servers(1, 2, 3, 4))
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	for _, err := range []error{
		before.SetAdmin("127.0.0.1:1", Drain), before.SetAdmin("127.0.0.1:2", Disabled),
		before.SetWeight("127.0.0.1:2", 7), before.SetWeight("127.0.0.1:3", 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	handed := before.Operated()
	want := []Operated{{"127.0.0.1:1", Drain, -1, 1}, {"127.0.0.1:2", Disabled, 7, 2}, {"127.0.0.1:3", Enabled, 0, 3}}
	if !slices.Equal(handed, want) {
		t.Fatalf("handed over %+v, want %+v", handed, want)
	}
	// The third's weight is another now, and what is out of bounds or gone counts for nothing.
	after, err := New(servers(1, 2, 5, 4))
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	after.Operate(append(handed, Operated{"127.0.0.1:9", Drain, -1, 1}, Operated{"127.0.0.1:4", Admin(9), -1, 4}, Operated{"127.0.0.1:4", Drain, MaxWeight + 1, 4}))
	if got := after.Operated(); !slices.Equal(got, want[:2]) {
		t.Errorf("taken over %+v, want %+v", got, want[:2])
	}
}
