package load

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
)

func TestNames(t *testing.T) {
	tests := []struct {
		name  string
		names Names
		i     int64
		want  string
	}{
		{"always the same", Names{Suffix: "bench.test"}, 7, "bench.test"},
		{"counted", Names{Prefix: "c", Suffix: ".test", First: 10}, 7, "c17.test"},
		{"over again", Names{Prefix: "c", Suffix: ".test", Count: 5}, 7, "c2.test"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.names.Name(test.i); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// Each operation is done once, and a round begins where the one before ended.
func TestShared(t *testing.T) {
	var work shared
	var mutex sync.Mutex
	taken := map[int64]int{}
	for round := range int64(3) {
		work.add(100)
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for number, more := work.take(); more; number, more = work.take() {
					mutex.Lock()
					taken[number]++
					mutex.Unlock()
				}
			})
		}
		workers.Wait()
		if want := int(round+1) * 100; len(taken) != want || taken[int64(want-1)] != 1 {
			t.Fatalf("round %d: %d taken", round, len(taken))
		}
	}
}

func TestAlerted(t *testing.T) {
	remote := func(alert uint8) error { return &net.OpError{Op: "remote error", Err: tls.AlertError(alert)} }
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"the alert", remote(alertUnrecognizedName), true},
		{"another alert", remote(alertHandshakeFailure), false},
		{"an alert of our own", &net.OpError{Op: "local error", Err: tls.AlertError(alertUnrecognizedName)}, false},
		{"no alert", errors.New("reset"), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := alerted(test.err, alertUnrecognizedName); got != test.want {
				t.Error(got)
			}
		})
	}
}

// What can't be begun is answered, not left unanswered.
func TestServeAnswers(t *testing.T) {
	tests := []struct{ name, plan, want string }{
		{"an unknown group", `{"Group": "P-999"}`, "unknown group"},
		{"nobody there", `{"Mode": "handshake", "Address": "127.0.0.1:1"}`, "refused"},
		{"an unknown mode", `{"Mode": "stare", "Address": "127.0.0.1:1"}`, "127.0.0.1:1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Serve(strings.NewReader(test.plan), &out); err != nil {
				t.Fatal(err)
			}
			var opened Opened
			if err := json.Unmarshal(out.Bytes(), &opened); err != nil || !strings.Contains(opened.Error, test.want) {
				t.Errorf("%s, %v", &out, err)
			}
		})
	}
}
