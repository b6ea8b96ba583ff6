package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

var errUsage = errors.New("usage")

// usage marks an error of the flags, which package flag has printed already.
func usage(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return fmt.Errorf("%w: %w", errUsage, err)
}

// options are what a benchmark is asked for.
type options struct {
	repetitions int
	tests       []string // none: all
	proxies     []string // none: all
	threads     []int
	scale       float64
	settle      time.Duration
	names       int64
	connections int64
	maxForeign  float64
	retries     int
	hellogate   string
	baseline    string
	output      string
	markdown    bool
}

func parse(arguments []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.repetitions, "reps", 3, "`times` that everything is measured")
	flags.Func("tests", "comma-separated `names` of tests, of "+strings.Join(testNames(), " "), list(&o.tests, testNames()))
	flags.Func("proxies", "comma-separated `names` of proxies, of "+strings.Join(proxyNames(), " "), list(&o.proxies, proxyNames()))
	threads := flags.String("threads", "1,2", "`numbers` of threads that the proxies are given")
	flags.Float64Var(&o.scale, "scale", 1, "`factor` on the operations of each test")
	flags.DurationVar(&o.settle, "settle", time.Minute, "`time` from a burst to when idle memory is read")
	flags.Int64Var(&o.names, "names", 100_000, "`names` in the cache for hot-many")
	flags.Int64Var(&o.connections, "connections", 8000, "idle `connections`, as far as the limit on open files allows")
	flags.Float64Var(&o.maxForeign, "max-foreign", 0.1, "`processors` that others may keep busy before a run counts as disturbed")
	flags.IntVar(&o.retries, "retry", 2, "`times` that a disturbed run is repeated")
	flags.StringVar(&o.hellogate, "hellogate", "", "`file` of the binary; without it, it is built")
	flags.StringVar(&o.baseline, "baseline", "", "`file` of another hellogate, to be measured beside it")
	flags.StringVar(&o.output, "o", "bench.json", "`file` that every run is written to")
	flags.BoolVar(&o.markdown, "markdown", false, "print the tables as Markdown")
	if err := flags.Parse(arguments); err != nil {
		return o, usage(err)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%w: unexpected %q", errUsage, flags.Arg(0))
	}
	if o.threads, err = numbers(*threads); err != nil {
		return o, fmt.Errorf("%w: -threads: %w", errUsage, err)
	}
	return o, o.check()
}

func (o options) check() error {
	if o.repetitions < 1 || o.scale <= 0 || o.names < 1 || o.connections < 1 {
		return fmt.Errorf("%w: -reps, -scale, -names and -connections have to be above 0", errUsage)
	}
	return nil
}

// list takes a comma-separated list of known words.
func list(into *[]string, known []string) func(string) error {
	return func(text string) error {
		for _, word := range strings.Split(text, ",") {
			if !slices.Contains(known, word) {
				return fmt.Errorf("%q is none of %s", word, strings.Join(known, " "))
			}
			*into = append(*into, word)
		}
		return nil
	}
}

func numbers(text string) (all []int, err error) {
	for _, word := range strings.Split(text, ",") {
		number, err := strconv.Atoi(word)
		if err != nil || number < 1 {
			return nil, fmt.Errorf("%q is no number above 0", word)
		}
		all = append(all, number)
	}
	return all, nil
}

// wanted tells whether name was asked for, as everything is when nothing was.
func wanted(asked []string, name string) bool {
	return len(asked) == 0 || slices.Contains(asked, name)
}

// scaled is the number of operations that a test of so many does.
func (o options) scaled(operations int64) int64 {
	return max(1, int64(float64(operations)*o.scale))
}
