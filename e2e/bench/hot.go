package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"hellogate/control"
	"hellogate/e2e/bench/certs"
	"hellogate/e2e/bench/load"
	"hellogate/e2e/bench/result"
)

const (
	prefetchBatch = 1000 // names that one request has fetched

	// digestion is how long an instance may take to give back the memory that filling its cache took: a collection
	// that is part of that, and not of the handshakes.
	digestion = 25 * time.Second
)

// hot compares handshakes over one name in the cache with handshakes over some of many. Two instances run side by side
// and are measured in turns, since filling the cache takes far longer than measuring it.
func (b *bench) hot(ctx context.Context, t test, p proxy, place placement) []result.Run {
	sides := []*side{{test: hotOne, names: 1}, {test: hotMany, names: b.options.names}}
	for _, side := range sides {
		err := side.setUp(ctx, b, t, p, place)
		if side.stage != nil {
			defer side.stage.tearDown()
		}
		if err != nil {
			return []result.Run{failed(b.run(side.test, p, place), err)}
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(min(digestion, b.options.settle)):
	}
	var runs []result.Run
	for range hotSlices {
		slices.Reverse(sides) // so that neither is always the first
		for _, side := range sides {
			runs = append(runs, b.steadily(func() result.Run { return side.slice(t, b.run(side.test, p, place)) }))
		}
	}
	return runs
}

// side is one of the two instances, or one of two listeners.
type side struct {
	test   string
	names  int64 // in the cache
	stage  *stage
	client *child
}

// setUp starts the instance, fills its cache, and visits every name that is going to be hot.
func (h *side) setUp(ctx context.Context, b *bench, t test, p proxy, place placement) (err error) {
	if h.stage, err = b.setUp(ctx, t, p, place); err != nil {
		return err
	}
	if err := prefetch(ctx, filepath.Join(h.stage.setting.Folder, "control.sock"), keptNames(h.names)); err != nil {
		return err
	}
	plan := t.plan
	plan.Names = keptNames(min(h.names, hotNames))
	if h.client, _, err = h.stage.client(ctx, plan); err != nil {
		return err
	}
	return h.stage.warmUp(h.client, max(b.options.warmUp(plan.Mode), plan.Names.Count))
}

func keptNames(count int64) load.Names {
	return load.Names{Prefix: "k", Suffix: certs.KeptNames, Count: count}
}

func (h *side) slice(t test, run result.Run) result.Run {
	if err := h.stage.round(h.client, t, h.stage.bench.options.scaled(t.operations), &run); err != nil {
		return failed(run, err)
	}
	run.Value = t.value(run.Processor, run.Operations)
	return run
}

// prefetch has the instance with that control socket fetch names.
func prefetch(ctx context.Context, socket string, names load.Names) error {
	client := control.NewClient(socket)
	defer client.Close()
	all := make([]string, names.Count)
	for i := range all {
		all[i] = names.Name(int64(i))
	}
	for batch := range slices.Chunk(all, prefetchBatch) {
		for fetched, err := range client.Prefetch(ctx, batch) {
			if err != nil {
				return err
			}
			if fetched.Result != "fetched" && fetched.Result != "cached" {
				return fmt.Errorf("prefetch %s: %s: %s", fetched.Name, fetched.Result, fetched.Reason)
			}
		}
	}
	status, err := client.Status(ctx)
	if err == nil && int64(status.Cache.Entries) < names.Count {
		err = fmt.Errorf("the cache holds %d of %d names", status.Cache.Entries, names.Count)
	}
	return err
}
