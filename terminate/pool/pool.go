// Package pool picks the server that a connection goes to, counts the connections of each, and remembers what became of
// them. It dials nobody: its callers do, and tell it how that went.
//
// It guards these rules: a server never has more connections than it may have; a connection waits for a place in the
// order of arrival, for a bounded time and in a bounded queue; what single connections met with takes no more than a set
// share of the servers away; what is known of a server survives a reload; nothing is looked up and nothing is called
// while the lock is held.
//
// A server as configured is an address. One with a host name stands for all the addresses that the name has, as they
// come and go: each is a [Server] of its own, with its own weight, limit, health and count.
package pool

import (
	"container/list"
	"context"
	"sync"

	"github.com/rs/zerolog"
)

// Pool is the servers of one backend. It lives as long as the backend's name is configured: a reload changes it in place
// (Update), so that connections from before go on being counted. Its methods may be called by anyone at any time.
type Pool struct {
	mu      sync.Mutex // guards what follows, and the servers; held for no call out of the package
	options Options
	members []*member
	servers []*Server // of all members, in their order
	leaving []*Server // no more in members, with connections still open
	waiting list.List // of *Ticket
	scratch []*Server // what pick chooses from
	later   []func()  // called when mu is released: log lines, wakes
	changed chan struct{}

	life    context.Context // of the lookups; nil: not started
	end     context.CancelFunc
	closed  bool
	running sync.WaitGroup // lookups, and timers of ejections
}

// New returns a pool, or what is wrong with its options. Servers with literal addresses can be picked at once, names are
// looked up from Start on.
func New(options Options) (*Pool, error) {
	p := &Pool{changed: make(chan struct{})}
	if err := p.Update(options); err != nil {
		return nil, err
	}
	return p, nil
}

// Start begins to look up the names among the servers' addresses, until ctx ends or Close is called. It is called once.
func (p *Pool) Start(ctx context.Context) {
	p.mu.Lock()
	defer p.unlock()
	if p.closed {
		return
	}
	p.life, p.end = context.WithCancel(ctx)
	for _, m := range p.members {
		p.follow(m)
	}
}

// Close ends the lookups and the ejections and waits until they have ended. The servers it knows can still be picked, by
// connections that are under way, and their connections are still counted.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	if p.end != nil {
		p.end()
	}
	for _, s := range p.servers {
		s.pardon()
	}
	p.grant()
	p.unlock()
	p.running.Wait()
}

// Update makes the pool what options say, or returns what is wrong with them and leaves it as it was. A server whose
// address stays keeps all that is known of it: connections, health, ejection, slow start, what the operator set, the
// last answer of DNS. A weight that the operator set ends when the configured one changes.
func (p *Pool) Update(options Options) error {
	addresses, err := options.parse()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.unlock()
	p.options = options.withDefaults()
	before := p.members
	p.members = nil
	for i, server := range options.Servers {
		p.members = append(p.members, p.member(before, addresses[i], server))
	}
	for _, m := range before {
		if p.find(m.address.text) != m {
			m.end()
		}
	}
	p.rebuild()
	return nil
}

// member returns the one that had the address before, or a new one.
func (p *Pool) member(before []*member, address Address, options ServerOptions) *member {
	for _, m := range before {
		if m.address.text == address.text {
			m.configure(options)
			return m
		}
	}
	m := &member{pool: p, address: address, options: options, override: asConfigured, joins: p.life != nil}
	if !address.isName() {
		m.set([]endpoint{address.endpoint()})
	}
	p.follow(m)
	return m
}

// find returns the member with a configured address, or nil.
func (p *Pool) find(address string) *member {
	for _, m := range p.members {
		if m.address.text == address {
			return m
		}
	}
	return nil
}

// rebuild takes in that a member's servers have changed.
func (p *Pool) rebuild() {
	p.servers = nil
	for _, m := range p.members {
		p.servers = append(p.servers, m.servers...)
	}
	close(p.changed)
	p.changed = make(chan struct{})
	p.grant()
}

// Watch returns the servers as they are now, those that get no connections included, and a channel that is closed when
// servers have come or gone. Nobody may change the slice.
func (p *Pool) Watch() (servers []*Server, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.servers, p.changed
}

// unlock releases the lock and does what was put off until then.
func (p *Pool) unlock() {
	later := p.later
	p.later = nil
	p.mu.Unlock()
	for _, do := range later {
		do()
	}
}

// log puts off a line about s.
func (p *Pool) log(level zerolog.Level, s *Server, state State, reason string) {
	logger, name := p.options.Log, p.options.Name
	p.later = append(p.later, func() {
		line := logger.WithLevel(level).Str("backend", name).Str("server", s.address)
		if s.endpoint != s.address {
			line.Str("endpoint", s.endpoint)
		}
		if reason != "" {
			line.Str("reason", reason)
		}
		line.Str("state", state.String()).Msg("server state")
	})
}
