// Package result holds what a benchmark measured: every run of it, what they come to, and the table that shows that.
// The rule it guards: a difference that may be chance is called a tie.
package result

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Hellogate is the proxy that the others are compared with, HAProxy the one that memory is compared with.
const (
	Hellogate = "hellogate"
	HAProxy   = "haproxy"
)

// Peers are the proxies of which the best counts.
var Peers = []string{HAProxy, "hitch", "nginx"}

// BestPeer, as what a test is compared with, is the peer with the lowest median.
const BestPeer = "best peer"

// Report is a benchmark, as it stands in its file.
type Report struct {
	Machine  Machine  `json:"machine"`
	Settings Settings `json:"settings"`
	Tests    []Test   `json:"tests"`
	Runs     []Run    `json:"runs"`
	Summary  []Row    `json:"summary"`
}

// Machine is where and on what it was measured.
type Machine struct {
	Date       time.Time         `json:"date"`
	Processor  string            `json:"processor"` // model
	Processors int               `json:"processors"`
	Memory     int64             `json:"memory_bytes"`
	Kernel     string            `json:"kernel"`
	Go         string            `json:"go"`       // that hellogate was built with
	Revision   string            `json:"revision"` // of hellogate, where its binary tells
	Versions   map[string]string `json:"versions"` // of each proxy
	Placement  []string          `json:"placement"`
}

// Settings are what a benchmark was asked for.
type Settings struct {
	Repetitions   int     `json:"repetitions"`
	Scale         float64 `json:"scale"`
	Names         int64   `json:"names"`
	Connections   int64   `json:"connections"`
	SettleSeconds float64 `json:"settle_seconds"`
	MaxForeign    float64 `json:"max_foreign"`
}

// Test is one thing that is measured. The lower the value, the better.
type Test struct {
	Name    string `json:"name"`
	Unit    string `json:"unit"`
	What    string `json:"what"`              // in words
	Against string `json:"against,omitempty"` // BestPeer, a peer, or another test of hellogate's; empty: nothing
}

// Run is one measurement.
type Run struct {
	Test       string    `json:"test"`
	Proxy      string    `json:"proxy"`
	Threads    int       `json:"threads"`
	Repetition int       `json:"repetition"`
	Value      float64   `json:"value"` // in the test's unit
	Operations int64     `json:"operations"`
	Processor  float64   `json:"processor_seconds"` // that the proxy's processes used
	Wall       float64   `json:"wall_seconds"`
	Foreign    float64   `json:"foreign"`   // processors that were busy with neither the proxy nor the benchmark
	Disturbed  bool      `json:"disturbed"` // by those, in each attempt: the least disturbed one is kept
	Attempts   int       `json:"attempts"`
	Pinned     bool      `json:"pinned"` // the proxy had processors of its own
	Suite      string    `json:"suite,omitempty"`
	Group      string    `json:"group,omitempty"`
	Key        string    `json:"key,omitempty"`
	Resident   *Resident `json:"resident,omitempty"`
	// Unsupported: the proxy can't do it. Error: it could not be measured. Neither counts.
	Unsupported bool   `json:"unsupported,omitempty"`
	Error       string `json:"error,omitempty"`
}

// Resident is the resident memory of a proxy's processes, in bytes.
type Resident struct {
	Before  int64 `json:"before"`
	After   int64 `json:"after"`   // right after the burst
	Settled int64 `json:"settled"` // when it had been quiet for as long as the settings say
}

// Busy is the share of the wall time that the proxy was running, in processors.
func (r Run) Busy() float64 {
	if r.Wall <= 0 {
		return 0
	}
	return r.Processor / r.Wall
}

// Write writes the report, with its summary, to a file.
func (r *Report) Write(path string) error {
	r.Summary = Summarize(r.Tests, r.Runs)
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Read reads reports from files and puts their runs, and repetitions, together. All else is the first one's.
func Read(paths ...string) (*Report, error) {
	var merged *Report
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var report Report
		if err := json.Unmarshal(text, &report); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if merged == nil {
			merged = &report
			continue
		}
		merged.add(&report)
	}
	return merged, nil
}

func (r *Report) add(other *Report) {
	known := map[string]bool{}
	for _, test := range r.Tests {
		known[test.Name] = true
	}
	for _, test := range other.Tests {
		if !known[test.Name] {
			r.Tests = append(r.Tests, test)
		}
	}
	r.Runs = append(r.Runs, other.Runs...)
	r.Settings.Repetitions += other.Settings.Repetitions
}
