package main

import (
	"context"

	"hellogate/e2e/bench/load"
	"hellogate/e2e/bench/result"
)

// rate measures the processor time of an operation.
func (b *bench) rate(ctx context.Context, t test, p proxy, place placement) result.Run {
	run := b.run(t.Name, p, place)
	s, err := b.setUp(ctx, t, p, place)
	if err != nil {
		return failed(run, err)
	}
	defer s.tearDown()
	client, opened, err := s.client(ctx, t.plan)
	if err != nil {
		return failed(run, err)
	}
	run.Suite, run.Group, run.Key = opened.Suite, opened.Group, opened.Key
	if opened.Unsupported {
		run.Unsupported = true
		return run
	}
	if err := s.warmUp(client, b.options.warmUp(t.plan.Mode)); err != nil {
		return failed(run, err)
	}
	if err := s.round(client, t, b.options.scaled(t.operations), &run); err != nil {
		return failed(run, err)
	}
	run.Value = t.value(run.Processor, run.Operations)
	return run
}

// warmUp is how many operations come before those that are measured: enough to have met everything once.
func (o options) warmUp(mode load.Mode) int64 {
	operations := int64(200)
	if mode == load.Down || mode == load.Up {
		operations = 10_000_000
	}
	return min(operations, o.scaled(25*operations))
}

// run is one that nothing is known of yet.
func (b *bench) run(test string, p proxy, place placement) result.Run {
	return result.Run{Test: test, Proxy: p.name, Threads: place.threads, Repetition: b.repetition, Pinned: place.pinned()}
}

func failed(run result.Run, err error) result.Run {
	run.Error = err.Error()
	return run
}
