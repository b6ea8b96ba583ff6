package pool

import "time"

// State is what a server is, seen from outside. The first that applies: disabled, drain, down, ejected, up.
type State uint8

// The states.
const (
	StateUp State = iota
	StateDown
	StateDrain // by the operator, by its weight, or because it is not configured or not in DNS any more
	StateDisabled
	StateEjected
	stateCount = iota
)

// String returns the state as status has it.
func (s State) String() string {
	return [...]string{"up", "down", "drain", "disabled", "ejected"}[s]
}

func (s *Server) state() State {
	switch {
	case s.member.admin == Disabled:
		return StateDisabled
	case s.gone != "" || !s.isMeant():
		return StateDrain
	case s.down:
		return StateDown
	case s.passive.ejected():
		return StateEjected
	}
	return StateUp
}

// Status is what is known of a pool.
type Status struct {
	Name    string
	Balance Balance
	Queued  int  // connections that wait
	Panic   bool // too few servers are well, and all are used
	Servers []ServerStatus
}

// ServerStatus is what is known of a server. A name that DNS has no address for has one, too, without an Endpoint. Times
// are zero for what has not happened.
type ServerStatus struct {
	Address  string // as configured
	Endpoint string // what is connected to
	Backup   bool
	State    State
	Reason   string // for the state; empty when it is up, or as the operator said
	// Weight is the one that counts now, in whole numbers: at least 1 in a slow start.
	Weight         int
	Connections    int // open ones, and dials under way
	MaxConnections int // 0: no limit
	Picked         uint64
	Failures       uint64 // dials that failed
	EarlyResets    uint64
	LastError      string // of these; empty: none yet
	LastErrorAt    time.Time
	CheckedAt      time.Time // when the last health check ended
	CheckLatency   time.Duration
	CheckError     string // empty: it succeeded
	EjectedUntil   time.Time
}

// Status returns what is known of the pool now, the servers in the order of the configuration and behind them those that
// have left it, or DNS, and have connections still.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.unlock()
	now := time.Now()
	status := Status{Name: p.options.Name, Balance: p.options.Balance, Queued: p.waiting.Len(), Panic: p.panics()}
	for _, m := range p.members {
		for _, s := range m.servers {
			status.Servers = append(status.Servers, s.status(now))
		}
		if len(m.servers) == 0 {
			status.Servers = append(status.Servers, m.status())
		}
	}
	for _, s := range p.leaving {
		status.Servers = append(status.Servers, s.status(now))
	}
	return status
}

func (s *Server) status(now time.Time) ServerStatus {
	return ServerStatus{
		Address: s.address, Endpoint: s.endpoint, Backup: s.isBackup(),
		State: s.state(), Reason: s.reason(),
		Weight:      (s.weightAt(now) + fullWeight - 1) / fullWeight,
		Connections: s.connections, MaxConnections: s.member.options.MaxConnections,
		Picked: s.picked, Failures: s.failures, EarlyResets: s.resets,
		LastError: s.lastError.text, LastErrorAt: s.lastError.at,
		CheckedAt: s.check.at, CheckLatency: s.check.latency, CheckError: s.check.text,
		EjectedUntil: s.passive.until,
	}
}

func (s *Server) reason() string {
	switch s.state() {
	case StateDrain:
		return s.gone
	case StateDown:
		return s.downFor
	case StateEjected:
		return s.passive.reason
	}
	return ""
}

// state is that of a name without addresses.
func (m *member) state() State {
	switch {
	case m.admin == Disabled:
		return StateDisabled
	case m.admin == Drain || m.weight() == 0:
		return StateDrain
	}
	return StateDown
}

// status is that of a name without addresses.
func (m *member) status() ServerStatus {
	state, reason := m.state(), m.lookup.text
	switch {
	case state != StateDown:
		reason = ""
	case reason != "":
	case m.answered:
		reason = "DNS has no address for it"
	default:
		reason = "its name is not looked up yet"
	}
	return ServerStatus{
		Address: m.address.text, Backup: m.options.Backup, State: state, Reason: reason,
		Weight: m.weight(), MaxConnections: m.options.MaxConnections, LastError: m.lookup.text, LastErrorAt: m.lookup.at,
	}
}
