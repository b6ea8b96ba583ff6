package terminate

import (
	"iter"
	"net/netip"
	"slices"
	"time"

	"hellogate/terminate/pool"
)

// ConnectionInfo is what is known of an open connection.
type ConnectionInfo struct {
	ID       string
	Client   netip.AddrPort
	Listener string
	Name     string // that the client asked for; empty: not known yet
	Route    string // the pattern that matched; empty: not known yet
	Backend  string // empty: none yet
	Server   string // as configured; empty: none yet
	Stage    string
	Age      time.Duration
	BytesIn  int64 // plaintext from the client
	BytesOut int64 // and to it
}

// show lets others see what was found out up to the present stage. Nothing of that changes any more.
func (c *connection) show() { c.seen.Store(uint32(c.stages.at)) }

// info is what is known of the connection, told by anybody.
func (c *connection) info(now time.Time) ConnectionInfo {
	seen := stage(c.seen.Load())
	info := ConnectionInfo{
		ID: c.hexID(), Listener: c.listener.Name, Stage: seen.String(), Age: now.Sub(c.stages.began),
		BytesIn: c.bytes.up.moved.Load(), BytesOut: c.bytes.down.moved.Load(),
	}
	if seen > stageProxy {
		info.Client = c.source
	}
	if seen > stageRoute {
		info.Name, info.Route = c.name, c.pattern.String()
	}
	if seen >= stageConnect {
		info.Backend = c.to.backend.Name
	}
	if seen == stageSplice {
		info.Server = c.to.address
	}
	return info
}

// Walk yields those open connections that are wanted, the oldest first, each as it is when its turn comes. What it holds
// meanwhile is no more than a list of those that were open at first and have not had their turn.
func (s *Server) Walk(wanted func(ConnectionInfo) bool) iter.Seq[ConnectionInfo] {
	return func(yield func(ConnectionInfo) bool) {
		open := s.openConnections()
		slices.SortFunc(open, func(a, b *connection) int { return a.stages.began.Compare(b.stages.began) })
		for i, c := range open {
			open[i] = nil
			if info := c.info(time.Now()); wanted(info) && !yield(info) {
				return
			}
		}
	}
}

// Connections returns those open connections that are wanted, the oldest first.
func (s *Server) Connections(wanted func(ConnectionInfo) bool) []ConnectionInfo {
	return slices.Collect(s.Walk(wanted))
}

// Kill resets those open connections that are wanted, and returns what they were.
func (s *Server) Kill(wanted func(ConnectionInfo) bool) []ConnectionInfo {
	var killed []ConnectionInfo
	s.each(wanted, func(c *connection, info ConnectionInfo) {
		c.kill(ReasonKilled)
		killed = append(killed, info)
	})
	return killed
}

// KillServer resets the connections to a server of a pool, and returns how many there were. Those that are being made are
// reset when they come about, unless another server is tried.
func (s *Server) KillServer(server *pool.Server) (killed int) {
	for _, c := range s.openConnections() {
		if c.dialed.CompareAndSwap(server, nil) && stage(c.seen.Load()) == stageSplice {
			c.kill(ReasonServerDown)
			killed++
		}
	}
	return killed
}

// each calls do with each open connection that is wanted.
func (s *Server) each(wanted func(ConnectionInfo) bool, do func(*connection, ConnectionInfo)) {
	now := time.Now()
	for _, c := range s.openConnections() {
		if info := c.info(now); wanted(info) {
			do(c, info)
		}
	}
}

func (s *Server) openConnections() []*connection {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	open := make([]*connection, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	return open
}

// kill resets the connection, for that reason unless it has another already.
func (c *connection) kill(why Reason) {
	c.killed.CompareAndSwap(nil, &why)
	c.strand.Cut()
}
