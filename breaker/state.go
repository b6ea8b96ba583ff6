package breaker

import "time"

// What follows runs with the breaker's mutex held.

// answered takes in an answer of the store, which proves that it works
// whichever generation asked.
func (b *Breaker) answered() *change {
	b.status.Failures, b.unreachable = 0, 0
	clear(b.failing)
	if b.status.State == Closed {
		return nil
	}
	return b.become(Closed)
}

// undecided takes in an end that says nothing about the store: the next
// request may be the probe.
func (b *Breaker) undecided(generation uint64) {
	if generation == b.generation {
		b.probed = time.Time{}
	}
}

// failed takes in a failure of name. One asked for before the last change of
// state is old news: it neither reopens a breaker nor puts off its probe.
func (b *Breaker) failed(generation uint64, name string, unreachable bool, now time.Time) *change {
	current := generation == b.generation
	if (current || b.status.State != Closed) && len(b.failing) < maxFailing {
		b.failing[name] = struct{}{}
	}
	if !current {
		return nil
	}
	b.status.Failures++
	b.unreachable++
	if !unreachable {
		b.unreachable = 0
	}
	if b.status.State == Closed && !b.tripped() {
		return nil
	}
	b.reopens = now.Add(b.options.Reset)
	return b.become(Open)
}

func (b *Breaker) tripped() bool {
	return b.unreachable >= b.options.Failures ||
		b.status.Failures >= b.options.Failures && len(b.failing) >= b.options.Names
}

// advance makes an open breaker half open when its time has come.
func (b *Breaker) advance(now time.Time) *change {
	if b.status.State != Open || now.Before(b.reopens) {
		return nil
	}
	return b.become(HalfOpen)
}

func (b *Breaker) become(state State) *change {
	changed := &change{from: b.status.State, to: state, failures: b.status.Failures, names: len(b.failing)}
	if state == Open {
		b.othersAsked = false
		changed.err, changed.reset = b.status.LastError, b.options.Reset
	}
	b.status.State = state
	b.generation++
	b.probed = time.Time{}
	return changed
}

// change is a change of state, to be logged when the mutex is free again.
type change struct {
	from, to        State
	failures, names int
	err             string // why it opened
	reset           time.Duration
}

func (b *Breaker) report(changed *change) {
	if changed == nil {
		return
	}
	if changed.to != Open {
		b.options.Log.Info().Str(b.options.Kind, b.name).
			Stringer("from", changed.from).Stringer("to", changed.to).Msg("breaker")
		return
	}
	b.options.Log.Error().Str(b.options.Kind, b.name).
		Stringer("from", changed.from).Stringer("to", changed.to).
		Int("failures", changed.failures).Int("names", changed.names).
		Float64("retry_in_seconds", changed.reset.Seconds()).Str("error", changed.err).Msg("breaker")
}
