package pool

import (
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// asConfigured is a weight that the operator did not set.
const asConfigured = -1

// member is a server as configured, with the addresses that it stands for. The pool's lock guards it.
type member struct {
	pool     *Pool
	address  Address
	options  ServerOptions
	admin    Admin
	override int // weight
	servers  []*Server
	joins    bool // it came when the pool was at work
	answered bool // DNS had an answer, once
	lookup   event
	stop     context.CancelFunc // of the lookups; nil: none
}

// configure takes in what a reload says of the member.
func (m *member) configure(options ServerOptions) {
	if options.Weight != m.options.Weight {
		m.override = asConfigured
	}
	m.options = options
}

// weight is the operator's, or the configured one.
func (m *member) weight() int {
	if m.override != asConfigured {
		return m.override
	}
	return m.options.Weight
}

// set makes the member's servers those at the places found. A place that it had keeps its server.
func (m *member) set(found []endpoint) {
	before := m.servers
	m.servers = nil
	for _, place := range found {
		if !m.has(place) {
			m.servers = append(m.servers, m.server(before, place))
		}
	}
	for _, s := range before {
		if !slices.Contains(m.servers, s) {
			s.retire("no longer in DNS")
		}
	}
	m.answered = true
}

func (m *member) has(place endpoint) bool {
	return slices.ContainsFunc(m.servers, place.is)
}

// is reports whether s is the server at the place.
func (place endpoint) is(s *Server) bool {
	return s.endpoint == place.address && s.network == place.network
}

// server returns the one at a place: one it had, one that is leaving, or a new one.
func (m *member) server(before []*Server, place endpoint) *Server {
	s := m.known(before, place)
	if s == nil {
		s = &Server{
			pool: m.pool, address: m.address.text,
			network: place.network, endpoint: place.address, literal: place.literal, seed: mix(hash(place.address)),
		}
		if m.joins || m.answered {
			s.rise(time.Now())
		}
		if m.address.isName() {
			m.pool.log(zerolog.InfoLevel, s, StateUp, "found in DNS")
		}
	}
	s.member, s.srvWeight, s.srvBackup, s.gone = m, place.weight, place.backup, ""
	return s
}

func (m *member) known(before []*Server, place endpoint) *Server {
	if i := slices.IndexFunc(before, place.is); i >= 0 {
		return before[i]
	}
	leaving := m.pool.leaving
	i := slices.IndexFunc(leaving, func(s *Server) bool { return s.address == m.address.text && place.is(s) })
	if i < 0 {
		return nil
	}
	s := leaving[i]
	m.pool.leaving = slices.Delete(leaving, i, i+1)
	m.pool.log(zerolog.InfoLevel, s, s.state(), "back again")
	return s
}

// end takes the member's servers out of use.
func (m *member) end() {
	if m.stop != nil {
		m.stop()
	}
	for _, s := range m.servers {
		s.retire("no longer configured")
	}
	m.servers = nil
}

// retire leaves the server its open connections, and gives it no more.
func (s *Server) retire(why string) {
	s.pardon()
	s.gone = why
	s.pool.log(zerolog.InfoLevel, s, StateDrain, why)
	s.pool.leaving = append(s.pool.leaving, s)
	s.pool.leave(s)
}

// leave forgets a server that is gone, when its last connection is.
func (p *Pool) leave(s *Server) {
	if s.connections == 0 {
		p.leaving = slices.DeleteFunc(p.leaving, func(other *Server) bool { return other == s })
	}
}
