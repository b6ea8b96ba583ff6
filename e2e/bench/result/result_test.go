package result

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   float64
	}{
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 3}, 3},
		{"even", []float64{9, 1, 3, 4}, 3.5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := Median(test.values); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestSpread(t *testing.T) {
	tests := []struct {
		name string
		cell Cell
		want float64
	}{
		{"none", Cell{Median: 10, Min: 10, Max: 10}, 0},
		{"above", Cell{Median: 10, Min: 9, Max: 12}, .2},
		{"below", Cell{Median: 10, Min: 7.5, Max: 12}, .25},
		{"around nothing", Cell{Median: 0, Min: -1, Max: 1}, 0},
		{"of a loss", Cell{Median: -10, Min: -12, Max: -9}, .2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.cell.Spread(); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		name        string
		mine, other []float64
		want        string
	}{
		{"ahead", []float64{70, 71, 72}, []float64{100, 101, 102}, Ahead},
		{"behind", []float64{120, 121, 122}, []float64{100, 101, 102}, Behind},
		{"close", []float64{94, 95, 96}, []float64{100, 101, 102}, Tie},
		{"just not close", []float64{91, 91.5}, []float64{100, 100}, Ahead},
		{"far, but overlapping", []float64{60, 70, 100}, []float64{99, 101, 102}, Tie},
		{"far, and touching", []float64{60, 70, 99}, []float64{99, 101, 102}, Tie},
		{"one run each", []float64{70}, []float64{100}, Ahead},
		{"one equal run each", []float64{70}, []float64{70}, Tie},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rows := Summarize([]Test{{Name: "x", Against: BestPeer}}, append(runs(Hellogate, test.mine...), runs("nginx", test.other...)...))
			if rows[0].Verdict != test.want {
				t.Errorf("%+v", rows[0])
			}
		})
	}
}

func runs(proxy string, values ...float64) (all []Run) {
	for _, value := range values {
		all = append(all, Run{Test: "x", Proxy: proxy, Threads: 1, Value: value})
	}
	return all
}

func TestOpponent(t *testing.T) {
	all := append(append(append(runs(Hellogate, 50), runs(HAProxy, 100)...), runs("hitch", 80)...), runs("baseline", 10)...)
	all = append(all, Run{Test: "one", Proxy: Hellogate, Threads: 1, Value: 40}, Run{Test: "x", Proxy: "nginx", Threads: 1, Unsupported: true})
	tests := []struct {
		name, against string
		want          string
		ratio         float64
	}{
		{"the best of the peers that can do it", BestPeer, "hitch", .625},
		{"a peer", HAProxy, HAProxy, .5},
		{"a peer that can't do it", "nginx", "", 0},
		{"another test", "one", "one", 1.25},
		{"a test that was not run", "two", "", 0},
		{"nothing", "", "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			row := Summarize([]Test{{Name: "x", Against: test.against}, {Name: "one"}}, all)[0]
			if row.Against != test.want || row.Ratio != test.ratio {
				t.Errorf("%.3f of %s, want %.3f of %s", row.Ratio, row.Against, test.ratio, test.want)
			}
		})
	}
}

// Runs that failed never count, those that were disturbed only for want of others.
func TestWhichRunsCount(t *testing.T) {
	quiet, disturbed, failed := Run{Value: 1}, Run{Value: 5, Disturbed: true}, Run{Error: "refused"}
	tests := []struct {
		name string
		runs []Run
		want Cell
	}{
		{"two quiet ones", []Run{quiet, disturbed, quiet}, Cell{Median: 1, Min: 1, Max: 1, Runs: 2}},
		{"one quiet one", []Run{quiet, disturbed, disturbed}, Cell{Median: 5, Min: 1, Max: 5, Runs: 3, Disturbed: 2}},
		{"a failed one", []Run{failed, quiet, disturbed}, Cell{Median: 3, Min: 1, Max: 5, Runs: 2, Disturbed: 1, Failed: 1}},
		{"all failed", []Run{failed}, Cell{Failed: 1}},
		{"not to be done", []Run{{Unsupported: true}}, Cell{Unsupported: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, cellOf(test.runs)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0", 12345: "12345", 284.4: "284", 17.32: "17.3", 9.945: "9.95", .8654: "0.865", .00123: "0.001", -3.21: "-3.21", 99.96: "100.0",
	} {
		if got := Number(value); got != want {
			t.Errorf("%v: %s, want %s", value, got, want)
		}
	}
}

// What is written can be read, and several files come together.
func TestReadSeveral(t *testing.T) {
	folder := t.TempDir()
	first := &Report{Machine: Machine{Kernel: "6.1", Date: time.Unix(1e9, 0).UTC()}, Tests: []Test{{Name: "x"}}, Runs: runs(Hellogate, 1, 2)}
	second := &Report{Tests: []Test{{Name: "x"}, {Name: "y"}}, Runs: runs(HAProxy, 3)}
	paths := []string{filepath.Join(folder, "1.json"), filepath.Join(folder, "2.json")}
	for i, report := range []*Report{first, second} {
		if err := report.Write(paths[i]); err != nil {
			t.Fatal(err)
		}
	}
	merged, err := Read(paths...)
	if err != nil {
		t.Fatal(err)
	}
	if merged.Machine.Kernel != "6.1" || len(merged.Tests) != 2 || len(merged.Runs) != 3 {
		t.Errorf("%+v", merged)
	}
	if _, err := Read(filepath.Join(folder, "3.json")); err == nil || !strings.Contains(err.Error(), "3.json") {
		t.Errorf("%v", err)
	}
}
