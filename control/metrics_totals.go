package control

import "sync"

// totals has the counters of servers. An address that leaves DNS, or the configuration with its last connection, takes what
// it counted with it; a counter that falls would be taken for one that began anew, and all that is left of it for new.
type totals struct {
	mu   sync.Mutex // held while servers are asked, so that what is newer is added later
	last map[serverName]counted
}

type serverName struct{ backend, server string }

// counted is what the addresses of a server had counted at the last look, and what others took with them before.
type counted struct{ now, gone counts }

type counts struct{ total, failures, resets uint64 }

func (c counts) plus(other counts) counts {
	return counts{c.total + other.total, c.failures + other.failures, c.resets + other.resets}
}

// fallen is by how much each has fallen since before.
func (c counts) fallen(before counts) counts {
	return counts{fall(before.total, c.total), fall(before.failures, c.failures), fall(before.resets, c.resets)}
}

func fall(before, after uint64) uint64 { return before - min(before, after) }

// figures are those of all servers, their counters never less than at the last look.
func (t *totals) figures(backends func() []Backend) ([]Backend, []*serverFigures) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := backends()
	list, seen := figures(all), map[serverName]counted{}
	for _, f := range list {
		name := serverName{f.backend, f.server}
		before := t.last[name]
		gone := before.gone.plus(f.counts.fallen(before.now))
		seen[name] = counted{f.counts, gone}
		f.counts = f.counts.plus(gone)
	}
	t.last = seen
	return all, list
}
