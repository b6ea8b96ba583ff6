package main

import (
	"context"
	"slices"

	"hellogate/e2e/bench/result"
)

// preamble compares connections that begin with TLS with those whose clients ask for it first. One instance has a listener for
// each, and they are measured in many short turns: the difference is small beside what a machine's speed changes in a minute.
func (b *bench) preamble(ctx context.Context, t test, p proxy, place placement) []result.Run {
	s, err := b.setUp(ctx, t, p, place)
	if err != nil {
		return []result.Run{failed(b.run(t.Name, p, place), err)}
	}
	defer s.tearDown()
	sides := []*side{{test: preambleNone, stage: s}, {test: preambleAsked, stage: s}}
	for _, side := range sides {
		plan := t.plan
		plan.Postgres = side.test == preambleAsked
		if side.client, _, err = s.client(ctx, plan); err == nil {
			err = s.warmUp(side.client, b.options.warmUp(plan.Mode))
		}
		if err != nil {
			return []result.Run{failed(b.run(side.test, p, place), err)}
		}
	}
	var runs []result.Run
	for range preambleSlices {
		slices.Reverse(sides) // so that neither is always the first
		for _, side := range sides {
			runs = append(runs, side.slice(t, b.run(side.test, p, place)))
		}
	}
	return runs
}
