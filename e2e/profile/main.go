// Command profile says where hellogate's CPU time goes: it runs the binary under one kind of load after another, records
// a CPU profile of each through the control socket, and prints the top of it. Clients and backend run in this process,
// so that the profiles hold hellogate alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

type settings struct {
	binary, into string
	seconds      int
	lines        int
}

func main() {
	var s settings
	flag.StringVar(&s.binary, "binary", "bin/hellogate", "the hellogate to profile")
	flag.StringVar(&s.into, "into", "profiles", "the folder that gets the profiles")
	flag.IntVar(&s.seconds, "seconds", 8, "how long each is recorded")
	flag.IntVar(&s.lines, "lines", 25, "how many functions of each are printed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) (err error) {
	if err := os.MkdirAll(s.into, 0o755); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "hgprofile")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	backend, err := startBackend()
	if err != nil {
		return err
	}
	defer backend.close()
	gate, err := startGate(ctx, s.binary, folder, backend.address())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gate.close()) }()
	for _, load := range loads {
		if err := record(ctx, s, gate, load); err != nil {
			return fmt.Errorf("%s: %w", load.name, err)
		}
	}
	return nil
}

// warmUp is how long a load runs before it is recorded.
const warmUp = time.Second

// record puts the load on, records the profile, and prints its top.
func record(ctx context.Context, s settings, gate *gate, load load) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running := load.start(ctx, gate)
	var profile []byte
	err := running.wait(warmUp)
	if err == nil {
		profile, err = gate.profile(ctx, s.seconds)
	}
	cancel()
	done, failure := running.end()
	if err := errors.Join(err, failure); err != nil {
		return err
	}
	path := filepath.Join(s.into, load.name+".pprof")
	if err := os.WriteFile(path, profile, 0o644); err != nil {
		return err
	}
	fmt.Printf("\n%s: %d %s, the last %d s of it in %s\n", load.name, done, load.unit, s.seconds, path)
	return printTop(s, path)
}

func printTop(s settings, path string) error {
	top := exec.Command("go", "tool", "pprof", "-top", "-nodecount="+strconv.Itoa(s.lines), s.binary, path)
	top.Stdout, top.Stderr = os.Stdout, os.Stderr
	if err := top.Run(); err != nil {
		return fmt.Errorf("%s: %w", top, err)
	}
	return nil
}
