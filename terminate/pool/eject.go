package pool

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// passive is what is known of a server from the connections that were sent to it.
type passive struct {
	failures int            // to connect, in a row
	resets   int            // in a row
	clients  []netip.Prefix // that met with these resets, as many as need be told apart
	reason   string         // of the ejection under way; empty: none
	until    time.Time      // it ends
	level    int            // how often the time was doubled, plus one; 0: not ejected of late
	calm     time.Time      // since when, to be taken off the level
	timer    *time.Timer
}

func (e *passive) ejected() bool { return e.reason != "" }

// Failed says that connecting to the server failed, for a reason that is the server's or the network's. Release is called
// as well.
func (s *Server) Failed(err error) {
	p := s.pool
	p.mu.Lock()
	defer p.unlock()
	s.failures++
	s.lastError = event{time.Now(), err.Error()}
	if s.passive.ejected() {
		return
	}
	s.failing.Store(true)
	s.passive.failures++
	if limit := p.options.Ejection.Failures; limit > 0 && s.passive.failures >= limit {
		s.eject(fmt.Sprintf("%d failures to connect in a row, the last: %v", s.passive.failures, err))
	}
}

// Succeeded says that connecting to the server succeeded.
func (s *Server) Succeeded() {
	if !s.failing.Load() {
		return
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.failing.Store(false)
	s.passive.failures = 0
}

// EarlyReset says that the server reset a client's connection before it had sent a byte, with nothing the client did before
// that would explain it, such as a reset of its own.
func (s *Server) EarlyReset(client netip.Addr) {
	s.pool.mu.Lock()
	defer s.pool.unlock()
	s.resets++
	s.failClient(client, "reset before it sent a byte")
}

// FailedFor says that the server was connected to for a client, and then failed it: in its TLS, say, which a client has a part
// in. As with early resets, it takes several clients to have it ejected. Release is called as well.
func (s *Server) FailedFor(client netip.Addr, err error) {
	s.pool.mu.Lock()
	defer s.pool.unlock()
	s.failures++
	s.failClient(client, err.Error())
}

// failClient counts one in a row of connections of clients that failed before they had anything of the server.
func (s *Server) failClient(client netip.Addr, why string) {
	s.lastError = event{time.Now(), why}
	if s.passive.ejected() {
		return
	}
	s.resetting.Store(true)
	e := s.pool.options.Ejection
	s.passive.resetFor(networkOf(client), e.ResetClients)
	if e.Resets > 0 && s.passive.resets >= e.Resets && len(s.passive.clients) >= e.ResetClients {
		s.eject(fmt.Sprintf("%d connections in a row failed before it sent a byte, the last: %s", s.passive.resets, why))
	}
}

// Answered says that the server sent a client its first byte.
func (s *Server) Answered() {
	if !s.resetting.Load() {
		return
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.resetting.Store(false)
	s.passive.resets, s.passive.clients = 0, nil
}

func (e *passive) resetFor(client netip.Prefix, enough int) {
	e.resets++
	if len(e.clients) < enough && !slices.Contains(e.clients, client) {
		e.clients = append(e.clients, client)
	}
}

// networkOf is what one client can be expected to have all of.
func networkOf(client netip.Addr) netip.Prefix {
	client = client.Unmap()
	bits := 32
	if client.Is6() {
		bits = 64
	}
	network, _ := client.Prefix(bits) // of no address: no network
	return network
}

// eject takes the server out of use for a while, unless too many are.
func (s *Server) eject(reason string) {
	p := s.pool
	if p.closed || s.down || !s.isMeant() || !p.mayEject(s) {
		return
	}
	now := time.Now()
	e := &s.passive
	e.settle(now, p.options.Ejection)
	if e.level == 0 || p.options.Ejection.lasts(e.level) < p.options.Ejection.Max {
		e.level++
	}
	lasts := p.options.Ejection.lasts(e.level)
	lasts += time.Duration((rand.Float64() - 0.5) / 5 * float64(lasts))
	e.reason, e.until = reason, now.Add(lasts)
	s.readmitAfter(lasts)
	p.log(zerolog.WarnLevel, s, StateEjected, reason)
	p.grant()
}

// lasts is how long an ejection of a level takes.
func (e Ejection) lasts(level int) time.Duration {
	lasts := e.Base
	for ; level > 1 && lasts < e.Max; level-- {
		lasts *= 2
	}
	return min(lasts, e.Max)
}

// settle takes one off the level for each stretch as long as its ejection that the server has gone without another.
func (e *passive) settle(now time.Time, options Ejection) {
	for e.level > 0 && now.Sub(e.calm) >= options.lasts(e.level) {
		e.calm = e.calm.Add(options.lasts(e.level))
		e.level--
	}
}

// mayEject reports whether so many servers of its kind can be done without.
func (p *Pool) mayEject(s *Server) bool {
	all, ejected, well := 0, 0, 0
	for _, other := range p.servers {
		if other.isBackup() != s.isBackup() || !other.isMeant() {
			continue
		}
		all++
		if other.passive.ejected() {
			ejected++
		}
		if other != s && other.isWell() {
			well++
		}
	}
	return well > 0 && (ejected+1)*100 <= all*p.options.Ejection.MaxEjected
}

// readmitAfter ends the ejection when its time has come. The pool waits for the timer when it is closed.
func (s *Server) readmitAfter(wait time.Duration) {
	p := s.pool
	p.running.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		defer p.running.Done()
		p.mu.Lock()
		defer p.unlock()
		if s.passive.timer == timer {
			s.passive.timer = nil
			s.readmit(time.Now())
		}
	})
	s.passive.timer = timer
}

// readmit puts the server to use again, on probation.
func (s *Server) readmit(now time.Time) {
	p, e := s.pool, &s.passive
	e.failures = min(e.failures, max(0, p.options.Ejection.Failures-1))
	e.resets = min(e.resets, max(0, p.options.Ejection.Resets-1))
	e.reason, e.until, e.calm = "", time.Time{}, now
	s.rise(now)
	p.log(zerolog.InfoLevel, s, s.state(), "ejection is over")
	p.grant()
}

// pardon ends an ejection and what might lead to the next: of the server something else is known now.
func (s *Server) pardon() {
	e := &s.passive
	if e.timer != nil && e.timer.Stop() {
		s.pool.running.Done()
	}
	if e.ejected() {
		e.calm = time.Now()
	}
	e.timer, e.reason, e.until = nil, "", time.Time{}
	e.failures, e.resets, e.clients = 0, 0, nil
}
