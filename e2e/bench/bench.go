package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"hellogate/e2e/bench/certs"
	"hellogate/e2e/bench/result"
)

// bench is a benchmark under way.
type bench struct {
	options        options
	folder         string // removed at the end
	files          map[string]certs.Files
	proxies        []proxy
	store          *certificateStore
	maxConnections int64 // at once, through one proxy
	report         *result.Report
	repetition     int
	unsupported    map[string]bool // test and proxy
}

// measure runs the benchmark and writes its report to the file that the options name, also when ctx ends it early.
func measure(ctx context.Context, o options) (report *result.Report, err error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("it reads what processes use from /proc: it needs Linux")
	}
	folder, err := os.MkdirTemp("", "hellogate-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	b := &bench{options: o, folder: folder, files: map[string]certs.Files{}, unsupported: map[string]bool{}}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	defer b.store.close()
	err = b.all(ctx)
	return b.report, errors.Join(err, b.report.Write(o.output))
}

func (b *bench) prepare(ctx context.Context) (err error) {
	if err := os.Chmod(b.folder, 0o755); err != nil { // some proxies give up being root
		return err
	}
	if b.maxConnections, err = raiseDescriptors(); err != nil {
		return err
	}
	missing := func(name string) { progress("%s is not installed: left out", name) }
	if b.proxies, err = find(ctx, b.options, b.folder, missing); err != nil {
		return err
	}
	for _, kind := range []string{"ecdsa", "rsa"} {
		if b.files[kind], err = certs.Write(b.folder, kind); err != nil {
			return err
		}
	}
	b.report = b.newReport(ctx)
	b.store, err = startStore(ctx, b.folder, place(1).load)
	return err
}

func (b *bench) newReport(ctx context.Context) *result.Report {
	o := b.options
	report := &result.Report{Machine: machine(ctx, b.proxies), Settings: result.Settings{
		Repetitions: o.repetitions, Scale: o.scale, Names: o.names, Connections: o.connections,
		SettleSeconds: o.settle.Seconds(), MaxForeign: o.maxForeign,
	}}
	for _, threads := range o.threads {
		report.Machine.Placement = append(report.Machine.Placement, place(threads).String())
	}
	for _, t := range tests {
		t.What = b.inFigures(t.What)
		report.Tests = append(report.Tests, t.Test)
	}
	return report
}

// inFigures fills in what the options say.
func (b *bench) inFigures(what string) string {
	o := b.options
	return strings.NewReplacer(
		"{names}", fmt.Sprint(o.names), "{hot}", fmt.Sprint(min(o.names, hotNames)), "{settle}", fmt.Sprintf("%g s", o.settle.Seconds()),
		"{connections}", fmt.Sprint(b.idleConnections(0)), "{connections-1mb}", fmt.Sprint(b.idleConnections(idleTransfer)),
		"{refused}", fmt.Sprint(o.scaled(refusedNames)), "{own}", fmt.Sprint(o.scaled(ownNames)),
		"{routes}", fmt.Sprint(o.scaled(ownRoutes)),
	).Replace(what)
}

// raiseDescriptors takes all the descriptors that this process and its children may have, and gives how many connections
// a proxy can hold with as many.
func raiseDescriptors() (connections int64, err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("setrlimit: %w", err)
	}
	const most = 100_000 // beyond it, tables that proxies make in advance would be all that is measured
	return int64(min(limit.Max, most)-2*ownDescriptors) / 2, nil
}

// all measures everything, one number of threads after the other.
func (b *bench) all(ctx context.Context) error {
	for _, threads := range b.options.threads {
		place := place(threads)
		progress("%v", place)
		for b.repetition = 1; b.repetition <= b.options.repetitions; b.repetition++ {
			b.rates(ctx, place)
			b.memories(ctx, place)
			if ctx.Err() != nil {
				return fmt.Errorf("ended early: %w", ctx.Err())
			}
		}
	}
	return nil
}

// rates measures what needs no long wait, the proxies in turn for each test.
func (b *bench) rates(ctx context.Context, place placement) {
	for _, t := range selected(b.options, rate, hot, preamble, reload) {
		for _, p := range b.proxies {
			if ctx.Err() != nil || !b.applies(t, p) {
				continue
			}
			switch t.kind {
			case hot:
				b.record(ctx, b.hot(ctx, t, p, place)...)
				continue
			case preamble:
				b.record(ctx, b.preamble(ctx, t, p, place)...)
				continue
			case reload:
				b.record(ctx, b.reload(ctx, t, p, place)...)
				continue
			}
			run := b.steadily(func() result.Run { return b.rate(ctx, t, p, place) })
			b.unsupported[t.Name+" "+p.name] = run.Unsupported
			b.record(ctx, run)
		}
	}
}

// memories measures what takes a long wait. The bursts come one after another, the waits run side by side.
func (b *bench) memories(ctx context.Context, place placement) {
	var waits sync.WaitGroup
	var mutex sync.Mutex
	for _, t := range selected(b.options, memory, flood, names) {
		burst := b.memory
		switch t.kind {
		case flood:
			burst = b.flood
		case names:
			burst = b.names
		}
		for _, p := range b.proxies {
			if ctx.Err() != nil || !b.applies(t, p) {
				continue
			}
			finish := burst(ctx, t, p, place)
			waits.Go(func() {
				runs := finish()
				mutex.Lock()
				defer mutex.Unlock()
				b.record(ctx, runs...)
			})
		}
	}
	waits.Wait()
}

// applies tells whether p can do t, as far as is known.
func (b *bench) applies(t test, p proxy) bool {
	return (t.certificate != "" || p.hellogate) && !slices.Contains(t.not, p.name) && !b.unsupported[t.Name+" "+p.name]
}

// record keeps runs, but not one that failed since the benchmark was ended.
func (b *bench) record(ctx context.Context, runs ...result.Run) {
	for _, run := range runs {
		if run.Error != "" && ctx.Err() != nil {
			continue
		}
		b.report.Runs = append(b.report.Runs, run)
		progress("%d/%d  %d  %-14s %-10s %s", run.Repetition, b.options.repetitions, run.Threads, run.Test, run.Proxy, b.describe(run))
	}
}

func (b *bench) describe(run result.Run) string {
	switch {
	case run.Error != "":
		return run.Error
	case run.Unsupported:
		return "-"
	}
	text := result.Number(run.Value)
	for _, t := range tests {
		if t.Name == run.Test {
			text += " " + t.Unit
		}
	}
	if run.Wall > 0 {
		text += fmt.Sprintf("  busy %.2f, foreign %.2f", run.Busy(), run.Foreign)
	}
	if run.Attempts > 1 {
		text += fmt.Sprintf(", %d attempts", run.Attempts)
	}
	if run.Disturbed {
		text += ", disturbed"
	}
	return text
}

// progress tells on standard error how far it is: the table alone goes to standard output.
func progress(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
}
