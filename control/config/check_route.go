package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"hellogate/sni"
)

func (c *checker) checkRoutes() {
	switch {
	case len(c.Routes) > 0:
	case len(c.Backends) == 0:
		c.problem("backends", "one is needed: it says where connections go")
	default:
		c.problem("routes", "with several backends they must say which names go where")
	}
	listeners := make(map[string]bool)
	for _, listener := range c.Listeners {
		listeners[listener.Name] = true
	}
	for i, route := range c.Routes {
		path := fmt.Sprintf("routes[%d]", i)
		c.checkMatch(path+".match", route.Match, listeners)
		c.checkRoute(path, route)
		c.checkRouteTLS(path, route)
		c.checkRouteLimits(path+".limits", route.Limits)
	}
	c.checkReach()
}

func (c *checker) checkMatch(path string, match Match, listeners map[string]bool) {
	c.checkProtocols(path+".alpn", match.ALPN)
	c.checkRanges(path+".client_ips", match.ClientIPs, "")
	checkList(c, path+".listeners", match.Listeners, func(name string) error {
		if listeners[name] || c.faults.touch("listeners") {
			return nil
		}
		return fmt.Errorf("no listener is called %s%s", quote(name), c.listenerHint(name))
	})
}

func (c *checker) listenerHint(name string) string {
	if len(c.Listeners) > mostCompared {
		return ""
	}
	known := make([]string, 0, len(c.Listeners))
	for _, listener := range c.Listeners {
		known = append(known, listener.Name)
	}
	return hint(name, known)
}

func (c *checker) checkRoute(path string, route Route) {
	switch {
	case c.faults.touch(path + ".action"):
	case route.Action == Reject && route.Backend != "":
		c.problem(path+".backend", "a route that rejects has none")
	case route.Action == Reject:
	case route.Backend == "":
		c.problem(path+".backend", "missing")
	default:
		c.checkBackendName(path+".backend", route.Backend)
	}
	if route.Action == Passthrough {
		c.checkPassthrough(path, route)
	}
}

// checkPassthrough refuses what a connection would need to be terminated for.
func (c *checker) checkPassthrough(path string, route Route) {
	for _, key := range []string{"tls", "session_tickets", "truncation", "limits.handshake_timeout"} {
		if at := path + "." + key; c.wrote(at) {
			c.problem(at, "has no meaning with action: passthrough: TLS is between the client and the server")
		}
	}
	if c.Backends[route.Backend].TLS != nil {
		c.problem(path+".backend", "%s has tls: what is passed through would be encrypted twice", quote(route.Backend))
	}
}

func (c *checker) checkBackendName(path, name string) {
	if _, ok := c.Backends[name]; ok || c.faults.at["backends"] {
		return
	}
	if len(c.problems) < mostProblems {
		c.problem(path, "no backend is called %s%s", quote(name), c.backendHint(name))
	}
}

// checkRouteLimits checks what a route says of its limits itself. What it
// inherits is checked where it was written.
func (c *checker) checkRouteLimits(path string, limits RouteLimits) {
	if !c.wrote(path) {
		return
	}
	if c.wrote(path + ".handshake_timeout") {
		c.notShorter(path+".handshake_timeout", limits.HandshakeTimeout, leastTimeout)
	}
	if c.wrote(path + ".idle_timeout") {
		c.notShorter(path+".idle_timeout", limits.IdleTimeout, leastPeriod)
	}
	if c.wrote(path + ".half_close_timeout") {
		c.notShorter(path+".half_close_timeout", limits.HalfCloseTimeout, leastTimeout)
	}
	if c.wrote(path + ".life_timeout") {
		c.noneOrNotShorter(path+".life_timeout", limits.LifeTimeout)
	}
}

// ruled is a route as the table of routes takes it.
type ruled struct {
	rule sni.Rule[int]
	path string
	// names has the path of each of the rule's names, which are those of the route
	// that could be read.
	names []string
}

// checkReach reports every name of a route that no client gets to, because
// another route takes all that it could.
func (c *checker) checkReach() {
	var routes []ruled
	var rules []sni.Rule[int]
	for i := range c.Routes {
		if route, ok := c.rule(i); ok {
			routes = append(routes, route)
			rules = append(rules, route.rule)
		}
	}
	_, err := sni.NewTable(rules)
	var conflicts sni.Conflicts
	if !errors.As(err, &conflicts) && err != nil {
		c.problem("routes", "%v", err)
	}
	for _, conflict := range conflicts {
		name := quote(strings.TrimPrefix(conflict.Pattern.String(), "~"))
		at, before := pathOf(routes, conflict.Place), pathOf(routes, conflict.Before)
		if conflict.Same {
			c.problem(at, "%s under the same conditions is also %s", name, before)
		} else {
			c.problem(at, "%s can never match: %s is tried before and takes every client that it could", name, before)
		}
	}
}

func pathOf(routes []ruled, place sni.Place) string {
	if route := routes[place.Rule]; place.Name >= 0 {
		return route.names[place.Name]
	}
	return routes[place.Rule].path
}

// rule returns a route as the table takes it; not one whose conditions could not
// all be read, or none of its names.
func (c *checker) rule(index int) (made ruled, ok bool) {
	match, path := c.Routes[index].Match, fmt.Sprintf("routes[%d]", index)
	for _, key := range []string{"alpn", "client_ips", "listeners"} {
		if c.faults.touch(path + ".match." + key) {
			return made, false
		}
	}
	made.path = path
	made.rule = sni.Rule[int]{ALPN: match.ALPN, Clients: match.ClientIPs, Listeners: match.Listeners, Value: index}
	for i, name := range match.Names {
		if name != (sni.Pattern{}) {
			made.rule.Names = append(made.rule.Names, name)
			made.names = append(made.names, fmt.Sprintf("%s.match.names[%d]", path, i))
		}
	}
	for i, expression := range match.NamesRegex {
		if expression != (sni.Regexp{}) {
			made.rule.Regexps = append(made.rule.Regexps, expression)
			made.names = append(made.names, fmt.Sprintf("%s.match.names_regex[%d]", path, i))
		}
	}
	written := len(match.Names)+len(match.NamesRegex) > 0
	return made, len(made.names) > 0 || !written && !slices.ContainsFunc([]string{"names", "names_regex"}, func(key string) bool {
		return c.faults.touch(path + ".match." + key)
	})
}
