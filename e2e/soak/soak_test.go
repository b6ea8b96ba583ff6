// Package soak runs the hellogate binary under all kinds of load at once, for as long as it is told, and checks two
// things: that every byte arrives as it was sent, once, in order and with the end it was sent with, whatever else goes on;
// and that memory, descriptors, goroutines and threads neither grow nor stay when the load has gone.
//
// HELLOGATE_SOAK says how long, as in 20m; without it the test takes some seconds. What each connection does follows
// from HELLOGATE_SOAK_SEED and its number; when, from the machine. HELLOGATE_SOAK_ONLY names the one scenario to run.
// HELLOGATE_BINARY is the program, which is built when there is none; HELLOGATE_E2E_RACE=1 builds it with the race
// detector.
package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

const (
	shortest = 5 * time.Second // of load, where nothing else is said
	isLong   = 5 * time.Minute // from here on a slope says something by itself
	patience = 30 * time.Second
)

// program is the program under test.
var program = os.Getenv("HELLOGATE_BINARY")

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if program != "" {
		return m.Run()
	}
	folder, err := os.MkdirTemp("", "hellogate-soak-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	program = filepath.Join(folder, "hellogate")
	arguments := []string{"build", "-o", program}
	if withRace {
		arguments = append(arguments, "-race")
	}
	if output, err := exec.Command("go", append(arguments, "hellogate/cmd/hellogate")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// withRace tells that the program has the race detector in it: it is large then, and what it holds says nothing.
var withRace = os.Getenv("HELLOGATE_E2E_RACE") == "1"

// settings are what the environment says.
type settings struct {
	duration time.Duration
	seed     uint64
	only     string
}

func readSettings(t *testing.T) settings {
	t.Helper()
	s := settings{duration: shortest, seed: rand.Uint64N(1_000_000), only: os.Getenv("HELLOGATE_SOAK_ONLY")}
	var err error
	if text := os.Getenv("HELLOGATE_SOAK"); text != "" {
		if s.duration, err = time.ParseDuration(text); err != nil || s.duration < time.Second {
			t.Fatalf("HELLOGATE_SOAK: %q is no duration of a second or more", text)
		}
	}
	if text := os.Getenv("HELLOGATE_SOAK_SEED"); text != "" {
		if s.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HELLOGATE_SOAK_SEED: %v", err)
		}
	}
	return s
}

func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	settings := readSettings(t)
	t.Logf("%v of load, HELLOGATE_SOAK_SEED=%d", settings.duration, settings.seed)
	w := newWorld(t, settings)
	before := w.warmUp()
	w.run()
	w.conclude(before)
}
