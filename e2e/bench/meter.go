package main

import (
	"fmt"
	"time"

	"hellogate/e2e/bench/load"
	"hellogate/e2e/bench/process"
	"hellogate/e2e/bench/result"
)

// trailing is how long a proxy may take to close what the last connections of a round left.
const trailing = 20 * time.Millisecond

// reading is what had been used at one time.
type reading struct {
	at             time.Time
	proxy, foreign time.Duration
}

func read(proxy int) (r reading, err error) {
	r.at = time.Now()
	if r.foreign, err = process.Foreign(); err != nil {
		return r, err
	}
	r.proxy, err = process.Time(proxy)
	return r, err
}

// round has client do operations, and reads what that took the proxy.
func (s *stage) round(client *child, t test, operations int64, run *result.Run) error {
	before, err := read(s.proxy.ID())
	if err != nil {
		return err
	}
	var round load.Round
	if err := client.ask(load.Order{Operations: operations}, &round); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	time.Sleep(trailing)
	after, err := read(s.proxy.ID())
	if err != nil {
		return err
	}
	if err := t.check(round); err != nil {
		return fmt.Errorf("%w%s", err, s.logged())
	}
	run.Operations, run.Wall = round.Operations, round.Seconds
	s.note(run, before, after)
	return nil
}

// note keeps what was used between two readings.
func (s *stage) note(run *result.Run, before, after reading) {
	run.Processor = (after.proxy - before.proxy).Seconds()
	run.Foreign = max(0, (after.foreign-before.foreign).Seconds()/after.at.Sub(before.at).Seconds())
	run.Disturbed = run.Foreign > s.bench.options.maxForeign
}

// warmUp does what is not to be measured: what a proxy does only once, and the full handshakes before resumed ones.
func (s *stage) warmUp(client *child, operations int64) error {
	var round load.Round
	if err := client.ask(load.Order{Operations: operations}, &round); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if round.Errors > 0 {
		return fmt.Errorf("warming up: %d errors: %s%s", round.Errors, round.FirstError, s.logged())
	}
	return nil
}

// check tells whether a round was what it should have been.
func (t test) check(round load.Round) error {
	switch {
	case round.Errors > 0:
		return fmt.Errorf("%d errors: %s", round.Errors, round.FirstError)
	case round.Operations == 0:
		return fmt.Errorf("nothing was done")
	case t.resumed && round.Operations-round.Resumed > max(round.Operations/10, int64(t.plan.Connections)):
		return fmt.Errorf("%d of %d were resumed", round.Resumed, round.Operations)
	}
	return nil
}

// steadily repeats a measurement that others disturbed, and keeps the least disturbed one.
func (b *bench) steadily(measure func() result.Run) result.Run {
	best := measure()
	best.Attempts = 1
	for attempt := 2; best.Disturbed && best.Error == "" && attempt <= b.options.retries+1; attempt++ {
		time.Sleep(time.Second) // what disturbs may be over
		again := measure()
		if again.Error == "" && again.Foreign < best.Foreign {
			best = again
		}
		best.Attempts = attempt
	}
	return best
}
