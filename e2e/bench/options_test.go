package main

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"hellogate/e2e/bench/load"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name      string
		arguments []string
		want      error
	}{
		{"nothing", nil, nil},
		{"lists", []string{"-tests", "hs-ecdsa,down", "-proxies", "hellogate,nginx", "-threads", "1,4"}, nil},
		{"an unknown test", []string{"-tests", "hs-ecdsa,dwn"}, errUsage},
		{"an unknown proxy", []string{"-proxies", "envoy"}, errUsage},
		{"no threads", []string{"-threads", "0"}, errUsage},
		{"no repetitions", []string{"-reps", "0"}, errUsage},
		{"an argument", []string{"fast"}, errUsage},
		{"help", []string{"-h"}, flag.ErrHelp},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := parse(test.arguments); !errors.Is(err, test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Tests that are measured together are chosen together.
func TestSelected(t *testing.T) {
	tests := []struct {
		name   string
		asked  []string
		rates  []string
		memory []string
	}{
		{"one", []string{"down"}, []string{"down"}, nil},
		{"a pair by its second", []string{hotMany, unknownMemory}, []string{hotOne}, []string{unknown}},
		{"a pair by both", []string{hotOne, hotMany, unknown, unknownMemory}, []string{hotOne}, []string{unknown}},
		{"what is asked for, beside what is not", []string{preambleAsked}, []string{preambleNone}, nil},
		{"idle memory", []string{"idle"}, nil, []string{"idle"}},
		{
			"all", nil,
			[]string{
				"hs-ecdsa", "hs-ecdsa-mlkem", "hs-rsa", "resume", "down", "up", "passthrough-down", "passthrough-up", "pingpong",
				"cold-miss", hotOne, preambleNone, "refuse", "refuse-ip", "reload",
			},
			[]string{"idle", "idle-1mb", unknown},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := options{tests: test.asked}
			if got := namesOf(selected(o, rate, hot, preamble, reload)); !slices.Equal(got, test.rates) {
				t.Errorf("rates: %v", got)
			}
			if got := namesOf(selected(o, memory, flood)); !slices.Equal(got, test.memory) {
				t.Errorf("memory: %v", got)
			}
		})
	}
}

// A proxy is asked for nothing that it can't do.
func TestApplies(t *testing.T) {
	able := map[string]string{ // the proxies
		"down":             "haproxy hitch nginx baseline hellogate",
		"passthrough-down": "haproxy nginx baseline hellogate",
		"refuse-ip":        "haproxy nginx baseline hellogate",
		"reload":           "baseline hellogate",
		"cold-miss":        "baseline hellogate",
	}
	b := &bench{}
	for _, measured := range tests {
		var can []string
		for _, p := range known() {
			if b.applies(measured, p) {
				can = append(can, p.name)
			}
		}
		if want, listed := able[measured.Name]; listed && strings.Join(can, " ") != want {
			t.Errorf("%s: %v", measured.Name, can)
		}
	}
}

func namesOf(chosen []test) (names []string) {
	for _, t := range chosen {
		names = append(names, t.Name)
	}
	return names
}

// A round that was not what was meant is no measurement.
func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		test  test
		round load.Round
		good  bool
	}{
		{"good", test{}, load.Round{Operations: 10}, true},
		{"an error", test{}, load.Round{Operations: 9, Errors: 1}, false},
		{"nothing done", test{}, load.Round{}, false},
		{"resumed", test{resumed: true}, load.Round{Operations: 100, Resumed: 90}, true},
		{"resumed, but for each client's first", test{resumed: true, plan: load.Plan{Connections: 16}}, load.Round{Operations: 20, Resumed: 4}, true},
		{"not resumed", test{resumed: true}, load.Round{Operations: 100, Resumed: 89}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.test.check(test.round); (err == nil) != test.good {
				t.Errorf("%v", err)
			}
		})
	}
}
