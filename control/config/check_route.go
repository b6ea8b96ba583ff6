package config

import (
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"

	"hellogate/sni"
)

// BackendNames returns the names of the backends in alphabetical order.
func (c *Config) BackendNames() []string {
	return slices.Sorted(maps.Keys(c.Backends))
}

var backendName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

func (c *checker) checkBackends() {
	used := map[string]bool{c.Fallback.Backend: true}
	for _, route := range c.Routes {
		used[route.Backend] = true
	}
	for _, name := range c.BackendNames() {
		path := child("backends", name)
		if !backendName.MatchString(name) {
			c.problem(path, "a backend's name is up to 64 letters, digits, hyphens, underscores and dots")
		}
		c.checkBackend(path, c.Backends[name])
		if !used[name] && len(c.Routes) > 0 {
			c.warn(path, "no route uses it: only where a store's answer names it do connections come")
		}
	}
}

func (c *checker) checkBackend(path string, backend Backend) {
	if len(backend.Servers) == 0 {
		c.problem(path+".servers", "at least one is needed")
	}
	seen := make(map[string]bool)
	for i, server := range backend.Servers {
		at := fmt.Sprintf("%s.servers[%d].address", path, i)
		c.checkAddress(at, server.Address, checkServerAddress)
		if seen[server.Address] && server.Address != "" {
			c.problem(at, "%s is in this backend twice", quote(server.Address))
		}
		seen[server.Address] = true
	}
	c.notShorter(path+".connect_timeout", backend.ConnectTimeout, leastTimeout)
	if backend.Retries > 100 {
		c.problem(path+".retries", "must be 0 to 100")
	}
	for i, tlv := range backend.ProxyTLVs {
		if slices.Index(backend.ProxyTLVs, tlv) < i {
			c.problem(fmt.Sprintf("%s.proxy_tlvs[%d]", path, i), "%s is in the list twice", quote(string(tlv)))
		}
	}
}

func (c *checker) checkRoutes() {
	switch {
	case len(c.Routes) > 0:
	case len(c.Backends) == 0:
		c.problem("backends", "one is needed: it says where connections go")
	default:
		c.problem("routes", "with several backends they must say which names go where")
	}
	for i, route := range c.Routes {
		c.checkRoute(fmt.Sprintf("routes[%d]", i), route)
	}
	c.checkDuplicateRoutes()
}

func (c *checker) checkRoute(path string, route Route) {
	c.checkProtocols(path+".match.alpn", route.Match.ALPN)
	if _, own := c.origin.places[path+".tls.alpn"]; own {
		c.checkProtocols(path+".tls.alpn", route.TLS.ALPN)
	}
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
}

func (c *checker) checkBackendName(path, name string) {
	if _, ok := c.Backends[name]; ok || c.faults.at["backends"] {
		return
	}
	if len(c.problems) < mostProblems {
		c.problem(path, "no backend is called %s%s", quote(name), c.backendHint(name))
	}
}

// backendHint ends the message on a backend that there is not.
func (c *checker) backendHint(name string) string {
	if len(c.Backends) > mostCompared {
		return ""
	}
	known := c.BackendNames()
	hint := didYouMean(name, known)
	if hint == "" && len(known) > 0 && len(known) <= 5 {
		hint = "; there is " + strings.Join(known, ", ")
	}
	return hint
}

// checkDuplicateRoutes reports every name that two routes take under the same
// conditions: one of them could never be used.
func (c *checker) checkDuplicateRoutes() {
	found := len(c.problems)
	seen := make(map[string]string)
	rules := make([]sni.Rule[int], 0, len(c.Routes))
	for i, route := range c.Routes {
		rules = append(rules, sni.Rule[int]{Names: route.Match.Names, ALPN: route.Match.ALPN, Value: i})
		conditions := strings.Join(slices.Compact(slices.Sorted(slices.Values(route.Match.ALPN))), "\x00")
		for path, pattern := range namePaths(fmt.Sprintf("routes[%d]", i), route.Match.Names) {
			key := pattern + "\x00" + conditions
			if first, twice := seen[key]; twice {
				c.problem(path, "%s under the same conditions is also %s", quote(pattern), first)
			} else {
				seen[key] = path
			}
		}
	}
	if _, err := sni.NewTable(rules); err != nil && len(c.problems) == found {
		c.problem("routes", "%v", err)
	}
}

// namePaths yields the patterns of a route with the path of each; a route
// without any has the pattern * at its own.
func namePaths(path string, names []sni.Pattern) iter.Seq2[string, string] {
	return func(yield func(path, pattern string) bool) {
		if len(names) == 0 {
			yield(path, "*")
		}
		for i, name := range names {
			if name != (sni.Pattern{}) && !yield(fmt.Sprintf("%s.match.names[%d]", path, i), name.String()) {
				return
			}
		}
	}
}
