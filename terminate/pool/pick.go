package pool

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Why there is no server for a connection.
var (
	// ErrDown: none can be used.
	ErrDown = errors.New("no server can be used")
	// ErrTried: each that can be used has been tried.
	ErrTried = errors.New("no other server can be used")
	// ErrFull: each that can be used has all the connections it may have.
	ErrFull = errors.New("every server is full")
	// ErrUnresolved: DNS has yet to answer for the first time.
	ErrUnresolved = errors.New("no server's name is looked up yet")
)

// MayWait reports whether Enter may help against an error of Pick.
func MayWait(err error) bool { return errors.Is(err, ErrFull) || errors.Is(err, ErrUnresolved) }

// Key is what a hash goes by.
type Key struct {
	Client netip.Addr
	Name   string // that the client asked for, normalised; may be empty
}

// Pick picks a server and counts a connection to it: the caller calls its Release when that is closed, or did not come
// about. tried are those that the same connection was already tried with in vain; it does not get them again. Errors wrap
// those above. Nobody is overtaken who waits.
func (p *Pool) Pick(key Key, tried []*Server) (*Server, error) {
	p.mu.Lock()
	defer p.unlock()
	p.grant()
	s, err := p.pick(key, tried)
	if err != nil {
		return nil, p.explain(err)
	}
	return s, nil
}

// pick is Pick with the lock held, and one of the errors above bare.
func (p *Pool) pick(key Key, tried []*Server) (*Server, error) {
	candidates, err := p.candidates(tried)
	if err != nil {
		return nil, err
	}
	s := p.options.Balance.choose(candidates, key, time.Now())
	s.connections++
	s.picked++
	return s, nil
}

// candidates returns the servers that can take a connection, and are all as good.
func (p *Pool) candidates(tried []*Server) ([]*Server, error) {
	for _, kind := range p.order(len(tried) > 0) {
		if !p.gather(kind, tried) {
			continue
		}
		if len(p.scratch) == 0 {
			return nil, ErrFull
		}
		return p.scratch, nil
	}
	return nil, p.none(tried)
}

// The kinds of servers in the order in which they are used. A full one is not gone on from: backups are no overflow.
var (
	usual = []func(*Server) bool{wellPrimary, wellBackup}
	// again is for a connection that failed once already: an ejection is a suspicion, from which this may be saved.
	again    = []func(*Server) bool{wellPrimary, wellBackup, ejected}
	panicked = []func(*Server) bool{primary, wellBackup}
	// cautious is for a panic, where a connection has failed once, or backups at most are well.
	cautious = []func(*Server) bool{wellPrimary, wellBackup, primary}
)

func (p *Pool) order(retry bool) []func(*Server) bool {
	switch {
	case !p.panics() && retry:
		return again
	case !p.panics():
		return usual
	case retry, !p.any(wellPrimary):
		return cautious
	}
	return panicked
}

func primary(s *Server) bool     { return !s.isBackup() && s.isMeant() }
func wellPrimary(s *Server) bool { return s.isWell() && primary(s) }
func ejected(s *Server) bool     { return !s.down && s.isMeant() }
func wellBackup(s *Server) bool  { return s.isWell() && s.isBackup() && s.isMeant() }

// gather puts into scratch the servers of a kind that were not tried and are not full. It reports whether there were any,
// full or not.
func (p *Pool) gather(kind func(*Server) bool, tried []*Server) (some bool) {
	p.scratch = p.scratch[:0]
	for _, s := range p.servers {
		if kind(s) && !slices.Contains(tried, s) {
			if some = true; !s.isFull() {
				p.scratch = append(p.scratch, s)
			}
		}
	}
	return some
}

func (p *Pool) any(kind func(*Server) bool) bool { return slices.ContainsFunc(p.servers, kind) }

// panics reports whether too few of the servers are well to go by that.
func (p *Pool) panics() bool {
	if p.options.PanicThreshold == 0 {
		return false
	}
	all, well := p.count(primary), p.count(wellPrimary)
	return well*100 < p.options.PanicThreshold*all
}

func (p *Pool) count(kind func(*Server) bool) (n int) {
	for _, s := range p.servers {
		if kind(s) {
			n++
		}
	}
	return n
}

// none says why there is no candidate, full ones left aside.
func (p *Pool) none(tried []*Server) error {
	switch {
	case slices.ContainsFunc(p.members, (*member).isPending):
		return ErrUnresolved
	case len(tried) > 0:
		return ErrTried
	}
	return ErrDown
}

// isPending reports whether DNS may have servers for the member, and has not been heard yet.
func (m *member) isPending() bool {
	return m.address.isName() && !m.answered && m.lookup.text == "" && m.admin == Enabled && !m.pool.closed
}

// unavailable is one of the errors above, with what the servers were. Its text is made when it is asked for, off the lock.
type unavailable struct {
	backend string
	why     error
	states  [stateCount]int
	lookup  string // why a name has no address
}

func (u *unavailable) Unwrap() error { return u.why }

// Error implements error.
func (u *unavailable) Error() string {
	var are []string
	for state, n := range u.states {
		if n > 0 {
			are = append(are, fmt.Sprint(n, " ", State(state)))
		}
	}
	if u.lookup != "" {
		are = append(are, u.lookup)
	}
	return fmt.Sprintf("backend %s: %v (%s)", u.backend, u.why, strings.Join(are, ", "))
}

// explain adds to one of the errors above the pool's name and what its servers are.
func (p *Pool) explain(err error) error {
	u := &unavailable{backend: p.options.Name, why: err}
	for _, s := range p.servers {
		u.states[s.state()]++
	}
	for _, m := range p.members {
		if len(m.servers) == 0 {
			u.states[m.state()]++
			u.lookup = cmp.Or(u.lookup, m.lookup.text)
		}
	}
	return u
}
