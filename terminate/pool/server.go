package pool

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Server is one address that connections go to. It is the same through reloads, and while its address leaves DNS and
// comes back, as long as it has connections.
type Server struct {
	pool     *Pool
	address  string // as configured
	network  string
	endpoint string
	literal  netip.AddrPort
	seed     uint64 // for hashing

	// The pool's lock guards the rest.
	member      *member
	srvWeight   int // 0: as configured
	srvBackup   bool
	gone        string // why it gets no connections any more; empty: it may
	connections int
	picked      uint64
	credit      int       // of smooth weighted round robin
	rises       time.Time // since when its weight rises; zero: it has risen

	down      bool // by its checks
	downFor   string
	checked   bool
	check     check // the last
	passive   passive
	failures  uint64 // dials that failed
	resets    uint64 // early ones
	lastError event

	// These say whether passive has anything that a success ends, so that most successes need no lock.
	failing, resetting atomic.Bool
}

// event is something that happened.
type event struct {
	at   time.Time
	text string
}

// check is a health check's result.
type check struct {
	event   // its text is empty when it succeeded
	latency time.Duration
}

// Network is tcp or unix.
func (s *Server) Network() string { return s.network }

// Endpoint is what to dial: an IP address with port, or the path of a Unix socket, @name for one in the abstract namespace.
func (s *Server) Endpoint() string { return s.endpoint }

// AddrPort is the endpoint; of a Unix socket, the zero value.
func (s *Server) AddrPort() netip.AddrPort { return s.literal }

// Address is the server's address as configured: with a host name, several servers may share it.
func (s *Server) Address() string { return s.address }

// Release says that a connection that the server was picked for is closed, or was never made. It is called once for each
// time that the server was picked.
func (s *Server) Release() {
	p := s.pool
	p.mu.Lock()
	defer p.unlock()
	s.connections--
	if s.gone != "" {
		p.leave(s)
	}
	p.grant()
}

// SetHealth says what the checks make of the server, and how long the last one took. The reason is what that one failed
// with; empty: it succeeded, even if the server is not up yet for it.
func (s *Server) SetHealth(up bool, reason string, latency time.Duration) {
	p := s.pool
	p.mu.Lock()
	defer p.unlock()
	now := time.Now()
	s.checked, s.check = true, check{event{now, reason}, latency}
	if up != s.down {
		return
	}
	s.pardon()
	s.down, s.downFor = !up, reason
	if up {
		s.rise(now)
		p.log(zerolog.InfoLevel, s, s.state(), "check succeeded")
	} else {
		p.log(zerolog.WarnLevel, s, s.state(), reason)
		p.tellDown(s)
	}
	p.grant()
}

// tellDown puts off the word to the pool's owner.
func (p *Pool) tellDown(s *Server) {
	if onDown := p.options.OnDown; onDown != nil {
		p.later = append(p.later, func() { onDown(s) })
	}
}

// Health returns what SetHealth last said; before it was called, or after ForgetHealth, a server is up and not checked.
func (s *Server) Health() (up, checked bool) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return !s.down, s.checked
}

// ForgetHealth makes all servers up that checks found down, because there are no checks any more.
func (p *Pool) ForgetHealth() {
	p.mu.Lock()
	defer p.unlock()
	for _, s := range p.servers {
		if s.checked = false; s.down {
			s.down, s.downFor = false, ""
			s.rise(time.Now())
			p.log(zerolog.InfoLevel, s, s.state(), "no longer checked")
		}
	}
	p.grant()
}

// rise begins the slow start.
func (s *Server) rise(now time.Time) { s.rises = now }

// The weights that count are hundredths of the configured ones, so that one of 1 can rise, too.
const (
	fullWeight  = 100
	firstWeight = 10
)

// weightAt returns the weight that counts, in hundredths.
func (s *Server) weightAt(now time.Time) int { return s.weight() * s.risen(now) }

// risen is how much of its weight the server has, in hundredths.
func (s *Server) risen(now time.Time) int {
	if s.rises.IsZero() {
		return fullWeight
	}
	passed, whole := now.Sub(s.rises), s.pool.options.SlowStart
	if passed >= whole {
		s.rises = time.Time{}
		return fullWeight
	}
	return max(firstWeight, int(fullWeight*passed.Seconds()/whole.Seconds()))
}

// weight is that of its SRV record, unless the operator or the configuration gives another.
func (s *Server) weight() int {
	if m := s.member; s.srvWeight == 0 || m.override != asConfigured || m.options.Weight == 0 {
		return m.weight()
	}
	return s.srvWeight
}

func (s *Server) isBackup() bool { return s.srvBackup || s.member.options.Backup }

// isFull reports whether the server has all the connections that it may have.
func (s *Server) isFull() bool {
	limit := s.member.options.MaxConnections
	return limit > 0 && s.connections >= limit
}

// isMeant reports whether the server would get connections if it was well.
func (s *Server) isMeant() bool {
	return s.gone == "" && s.member.admin == Enabled && s.weight() > 0
}

// isWell reports whether nothing is known against sending it connections.
func (s *Server) isWell() bool { return !s.down && !s.passive.ejected() }
