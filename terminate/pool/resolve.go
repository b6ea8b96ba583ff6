package pool

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

const (
	// lookupTimeout bounds the questions for one name.
	lookupTimeout = 5 * time.Second
	// firstRetry is how long after a lookup failed for the first time the next begins; it doubles up to ResolveInterval.
	firstRetry = time.Second
	// usualInterval is that of names whose answers' time to live is not known.
	usualInterval = 10 * time.Second
)

// Resolver asks DNS. A *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// follow begins to look up the member's name, if it is one.
func (p *Pool) follow(m *member) {
	if p.life == nil || p.closed || !m.address.isName() {
		return
	}
	var ctx context.Context
	ctx, m.stop = context.WithCancel(p.life)
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		m.follow(ctx)
	}()
}

// follow looks the member's name up again and again until ctx ends.
func (m *member) follow(ctx context.Context) {
	answers := answers{address: m.address, hosts: make(map[string][]netip.Addr)}
	var lifetime lifetime
	system := lifetime.resolver()
	for failed := 0; ; {
		resolver, interval := m.pool.resolving(system)
		found, err := answers.lookup(ctx, resolver)
		if life := lifetime.take(usualInterval); interval == 0 {
			interval = life
		}
		if ctx.Err() != nil {
			return
		}
		m.found(found, err)
		if failed++; err == nil {
			failed = 0
		}
		select {
		case <-time.After(pause(interval, failed)):
		case <-ctx.Done():
			return
		}
	}
}

// resolving is whom to ask, system unless the options have another, and how often; 0: as long as the answer lives.
func (p *Pool) resolving(system Resolver) (Resolver, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.options.Resolver != nil {
		return p.options.Resolver, p.options.ResolveInterval
	}
	return system, p.options.ResolveInterval
}

// pause is how long to wait after so many failures in a row, give or take a tenth: many names, and many machines, are not
// to ask in step.
func pause(interval time.Duration, failed int) time.Duration {
	if failed > 0 {
		interval = min(interval, firstRetry<<min(failed-1, 16))
	}
	return interval + time.Duration((rand.Float64()-0.5)/5*float64(interval))
}

// found takes in an answer of DNS, and what went wrong with it or with parts of it. When there was none the last one
// stands, for a name that does not exist, too: that is what a broken zone looks like, and the servers may still be there.
func (m *member) found(found []endpoint, err error) {
	p := m.pool
	p.mu.Lock()
	defer p.unlock()
	if p.find(m.address.text) != m || p.closed {
		return
	}
	m.report(err)
	m.lookup = event{}
	if err != nil {
		m.lookup = event{time.Now(), err.Error()}
	}
	switch {
	case err != nil && len(found) == 0:
		p.grant()
	case !m.same(found):
		m.set(found)
		p.rebuild()
	}
}

// same reports whether the servers are at the places found, and as they are there.
func (m *member) same(found []endpoint) bool {
	return m.answered && len(found) == len(m.servers) && !slices.ContainsFunc(found, func(place endpoint) bool {
		return !slices.ContainsFunc(m.servers, func(s *Server) bool {
			return place.is(s) && s.srvWeight == place.weight && s.srvBackup == place.backup
		})
	})
}

// report puts off a line when lookups begin to fail, and when they succeed again.
func (m *member) report(err error) {
	p, failed := m.pool, m.lookup.text != ""
	if failed == (err != nil) {
		return
	}
	logger, name, address := p.options.Log, p.options.Name, m.address.text
	p.later = append(p.later, func() {
		if err == nil {
			logger.Info().Str("backend", name).Str("server", address).Msg("lookup succeeded")
			return
		}
		line := logger.WithLevel(zerolog.WarnLevel).Str("backend", name).Str("server", address)
		line.Err(err).Msg("lookup failed, what was found before is kept")
	})
}
