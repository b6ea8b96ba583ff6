package limit

import "sync/atomic"

// Count counts what is open, connections of a listener or a route, against a limit. The zero value has none. All methods
// may be called by anyone at any time.
type Count struct{ limit, open atomic.Int64 }

// SetLimit sets how many may be open; 0: any number. Those that are open already stay counted.
func (c *Count) SetLimit(limit int) { c.limit.Store(int64(limit)) }

// Take counts one more and reports true, unless the limit is reached. Who got true calls Release, once.
func (c *Count) Take() bool {
	n := c.open.Add(1)
	if limit := c.limit.Load(); limit > 0 && n > limit {
		c.open.Add(-1)
		return false
	}
	return true
}

// Release gives back what Take counted.
func (c *Count) Release() { c.open.Add(-1) }

// Open returns how many are open.
func (c *Count) Open() int { return int(c.open.Load()) }
