package main

import (
	"context"
	"path/filepath"
	"time"

	"hellogate/e2e/bench/load"
	"hellogate/e2e/bench/process"
	"hellogate/e2e/bench/result"
)

// quieten is how long a proxy is left alone before its memory is read as what it needs with no connections.
const quieten = time.Second

// later waits, and then gives what was measured.
type later func() []result.Run

func now(runs ...result.Run) later { return func() []result.Run { return runs } }

// memory measures the resident memory of connections. The burst is over when it returns, the wait is still to come.
func (b *bench) memory(ctx context.Context, t test, p proxy, place placement) later {
	run := b.run(t.Name, p, place)
	s, err := b.setUp(ctx, t, p, place)
	if err != nil {
		return now(failed(run, err))
	}
	run.Operations = b.idleConnections(t.plan.Transfer)
	run.Resident = &result.Resident{}
	if err := s.hold(ctx, t, &run); err != nil {
		s.tearDown()
		return now(failed(run, err))
	}
	return s.settle(ctx, func(settled int64, err error) []result.Run {
		if err != nil {
			return []result.Run{failed(run, err)}
		}
		run.Resident.Settled = settled
		run.Value = float64(settled-run.Resident.Before) / 1024 / float64(run.Operations)
		return []result.Run{run}
	})
}

// idleConnections is how many connections are left idle when each moved transfer bytes before, which takes its time.
func (b *bench) idleConnections(transfer int64) int64 {
	connections := min(b.options.scaled(b.options.connections), b.maxConnections)
	if transfer > 0 {
		connections = (connections + 1) / 2
	}
	return connections
}

// hold warms the proxy up, then makes the connections.
func (s *stage) hold(ctx context.Context, t test, run *result.Run) error {
	if err := s.serveSome(ctx, t); err != nil {
		return err
	}
	client, opened, err := s.client(ctx, t.plan)
	if err != nil {
		return err
	}
	run.Suite, run.Group, run.Key = opened.Suite, opened.Group, opened.Key
	time.Sleep(quieten)
	if run.Resident.Before, err = process.Memory(s.proxy.ID()); err != nil {
		return err
	}
	if err := s.round(client, t, run.Operations, run); err != nil {
		return err
	}
	run.Disturbed = false // others take time from it, but no memory
	run.Resident.After, err = process.Memory(s.proxy.ID())
	return err
}

// serveSome warms the proxy up with handshakes.
func (s *stage) serveSome(ctx context.Context, t test) error {
	client, _, err := s.client(ctx, load.Plan{Mode: load.Handshake, Names: t.plan.Names, Connections: 4})
	if err != nil {
		return err
	}
	return s.warmUp(client, s.bench.options.warmUp(load.Handshake))
}

// names measures what a name in the cache takes in resident memory. All are fetched when it returns.
func (b *bench) names(ctx context.Context, t test, p proxy, place placement) later {
	run := b.run(t.Name, p, place)
	s, err := b.setUp(ctx, t, p, place)
	if err != nil {
		return now(failed(run, err))
	}
	run.Resident = &result.Resident{}
	fetched := t.plan.Names
	fetched.Count = b.options.scaled(ownNames)
	run.Operations = fetched.Count
	time.Sleep(quieten)
	if run.Resident.Before, err = s.memory(t); err == nil {
		err = prefetch(ctx, filepath.Join(s.setting.Folder, "control.sock"), fetched)
	}
	if err == nil {
		run.Resident.After, err = s.memory(t)
	}
	if err != nil {
		s.tearDown()
		return now(failed(run, err))
	}
	return s.settle(ctx, func(_ int64, err error) []result.Run {
		if err == nil {
			run.Resident.Settled, err = s.memory(t)
		}
		if err != nil {
			return []result.Run{failed(run, err)}
		}
		run.Value = float64(run.Resident.Settled-run.Resident.Before) / float64(run.Operations)
		return []result.Run{run}
	})
}

// memory is the proxy's, without the pages of files where one of them is what is cached.
func (s *stage) memory(t test) (int64, error) {
	if t.disk {
		return process.Anonymous(s.proxy.ID())
	}
	return process.Memory(s.proxy.ID())
}

// settle gives a later that waits until the stage has been quiet for as long as the options say, hands the memory that
// is resident then to finish, and tears the stage down.
func (s *stage) settle(ctx context.Context, finish func(settled int64, err error) []result.Run) later {
	due := time.Now().Add(s.bench.options.settle)
	return func() []result.Run {
		defer s.tearDown()
		select {
		case <-ctx.Done():
			return finish(0, ctx.Err())
		case <-time.After(time.Until(due)):
			return finish(process.Memory(s.proxy.ID()))
		}
	}
}

// flood measures what refusing names that no store knows costs in processor time and leaves behind in memory.
func (b *bench) flood(ctx context.Context, t test, p proxy, place placement) later {
	run, growth := b.run(t.Name, p, place), b.run(unknownMemory, p, place)
	s, err := b.setUp(ctx, t, p, place)
	if err != nil {
		return now(failed(run, err))
	}
	growth.Resident = &result.Resident{}
	if err := s.refuse(ctx, t, &run, growth.Resident); err != nil {
		s.tearDown()
		return now(failed(run, err))
	}
	growth.Operations = run.Operations
	return s.settle(ctx, func(settled int64, err error) []result.Run {
		if err != nil {
			return []result.Run{run, failed(growth, err)}
		}
		growth.Resident.Settled = settled
		growth.Value = float64(settled-growth.Resident.Before) / (1 << 20)
		return []result.Run{run, growth}
	})
}

func (s *stage) refuse(ctx context.Context, t test, run *result.Run, resident *result.Resident) error {
	client, _, err := s.client(ctx, t.plan)
	if err != nil {
		return err
	}
	if err := s.warmUp(client, s.bench.options.warmUp(load.Handshake)); err != nil {
		return err
	}
	time.Sleep(quieten)
	if resident.Before, err = process.Memory(s.proxy.ID()); err != nil {
		return err
	}
	if err := s.round(client, t, s.bench.options.scaled(t.operations), run); err != nil {
		return err
	}
	run.Value = t.value(run.Processor, run.Operations)
	resident.After, err = process.Memory(s.proxy.ID())
	return err
}
