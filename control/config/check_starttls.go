package config

import "slices"

// checkStartTLS checks in which protocol a backend's servers are asked for TLS.
func (c *checker) checkStartTLS(name, path string, backend Backend) {
	switch {
	case c.faults.touch(path):
	case backend.StartTLS == StartTLSAuto:
		c.problem(path, "auto is for listeners: name the protocol that the servers speak")
	case backend.StartTLS != "" && backend.TLS == nil && !c.passesTo(name):
		c.problem(path, "of no use without tls: nothing that goes to these servers is encrypted")
	}
	if backend.StartTLS == "" && backend.TLS != nil {
		c.warnOfDirectPostgres(name, child(child("backends", name), "tls"))
	}
	if backend.StartTLS != "" {
		c.checkReachedBy(name, path, backend.StartTLS)
	}
}

// checkReachedBy checks that the clients that come to a backend can do with its
// servers' protocol.
func (c *checker) checkReachedBy(name, path string, asked StartTLS) {
	for _, route := range c.Routes {
		for i, l := range c.Listeners {
			if route.Backend != name || !route.Match.takes(l) {
				continue
			}
			direct := l.StartTLS == "" || l.StartTLS == StartTLSAuto
			if direct && asked.greets() {
				c.problem(path, "clients of listeners[%d] begin with TLS and await a greeting, which %s servers have sent before it", i, asked)
				return
			}
			if !direct && l.StartTLS != asked {
				c.problem(path, "listeners[%d] brings clients of %s here", i, l.StartTLS)
				return
			}
		}
	}
}

// passesTo reports whether a route passes clients through to a backend. A route
// that could not be read might.
func (c *checker) passesTo(name string) bool {
	return c.faults.touch("routes") || slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Backend == name && r.Action == Passthrough })
}

// warnOfDirectPostgres warns where PostgreSQL's servers are spoken to over TLS
// without a word before it.
func (c *checker) warnOfDirectPostgres(name, path string) {
	for _, route := range c.Routes {
		if route.Backend != name || route.Action != Terminate {
			continue
		}
		if at := slices.IndexFunc(c.Listeners, func(l Listener) bool { return l.StartTLS == StartTLSPostgres && route.Match.takes(l) }); at >= 0 {
			c.warn(path, "listeners[%d] brings PostgreSQL clients here, and servers before PostgreSQL 17 begin TLS only with starttls: postgres", at)
			return
		}
	}
}

// takes reports whether the match has nothing against those who come in at a
// listener.
func (m Match) takes(l Listener) bool {
	return len(m.Listeners) == 0 || slices.Contains(m.Listeners, l.Name)
}
