package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"hellogate/e2e/bench/process"
	"hellogate/e2e/bench/result"
)

// The benchmark starts itself as its children, which in a test is this binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && children[os.Args[1]] != nil {
		os.Exit(run(os.Args[1:]))
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else each child of a race build ends a second late
	os.Exit(m.Run())
}

func TestBenchmark(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("it builds and runs hellogate, on Linux")
	}
	binary := buildHellogate(t)
	t.Run("whole", func(t *testing.T) { testWhole(t, binary) })
	t.Run("ended early", func(t *testing.T) { testEndedEarly(t, binary) })
}

// The whole of it, with next to nothing measured, and hellogate alone.
func testWhole(t *testing.T, binary string) {
	report, err := benchmark(t, time.Minute, "-hellogate", binary, "-retry", "0", "-scale", "0.002", "-names", "20", "-settle", "50ms")
	if err != nil {
		t.Fatal(err)
	}
	checkRuns(t, report)
	checkTable(t, report)
}

// One that is ended keeps what it measured, and not what failed for that reason.
func testEndedEarly(t *testing.T, binary string) {
	report, err := benchmark(t, 2*time.Second, "-hellogate", binary, "-tests", "idle", "-connections", "10")
	if err == nil {
		t.Error("no error")
	}
	if len(report.Runs) > 0 {
		t.Errorf("%+v", report.Runs)
	}
}

// benchmark measures hellogate alone for as long as that may take, reads the file that comes out, and checks that
// nothing else is left behind.
func benchmark(t *testing.T, timeout time.Duration, arguments ...string) (*result.Report, error) {
	t.Helper()
	temporary, output := t.TempDir(), filepath.Join(t.TempDir(), "bench.json")
	t.Setenv("TMPDIR", temporary)
	o, err := parse(append([]string{"-proxies", result.Hellogate, "-threads", "1", "-reps", "1", "-o", output}, arguments...))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, measured := measure(ctx, o)
	report, err := result.Read(output)
	if err != nil {
		t.Fatalf("%v, %v", measured, err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if family := process.Tree(os.Getpid()); len(family) > 1 {
		t.Errorf("still running: %v", family[1:])
	}
	return report, measured
}

func buildHellogate(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "hellogate")
	build := exec.Command("go", "build", "-o", binary, "hellogate/cmd/hellogate")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, output)
	}
	return binary
}

func checkRuns(t *testing.T, report *result.Report) {
	t.Helper()
	runs := map[string]int{}
	for _, run := range report.Runs {
		runs[run.Test]++
		if run.Error != "" || run.Unsupported {
			t.Errorf("%+v", run)
		}
		if run.Value <= 0 && run.Resident == nil { // memory may shrink, time does not
			t.Errorf("%s: %v", run.Test, run.Value)
		}
	}
	for _, name := range testNames() {
		if runs[name] == 0 {
			t.Errorf("%s was not run", name)
		}
	}
	if runs[hotMany] != hotSlices {
		t.Errorf("%d slices", runs[hotMany])
	}
}

func checkTable(t *testing.T, report *result.Report) {
	t.Helper()
	var table bytes.Buffer
	if err := report.Print(&table, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range testNames() {
		if !strings.Contains(table.String(), "\n"+name) {
			t.Errorf("no row %s in\n%s", name, &table)
		}
	}
	if strings.ContainsAny(table.String(), "{}") {
		t.Errorf("something was not filled in:\n%s", &table)
	}
}
