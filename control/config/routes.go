package config

import (
	"fmt"
	"net/netip"
	"time"

	"hellogate/sni"
)

// Route says what happens to connections that match.
type Route struct {
	// Match says which those are.
	Match Match `yaml:"match"`
	// Action is what is done with them. Default "terminate".
	Action Action `yaml:"action"`
	// Backend names an entry of Config.Backends. Required to terminate and to
	// pass through.
	Backend string `yaml:"backend"`
	// TLS is Config.TLS with what this route says otherwise. Of no meaning to
	// those that are passed through.
	TLS TLS `yaml:"tls"`
	// SessionTickets is Config.SessionTickets with what this route says
	// otherwise.
	SessionTickets SessionTickets `yaml:"session_tickets"`
	// Limits is Config.Limits with what this route says otherwise.
	Limits RouteLimits `yaml:"limits"`
	// Truncation is how a client's end of stream without close_notify is passed
	// on. Default "fin".
	Truncation Truncation `yaml:"truncation"`
}

// Match is the condition of a route; all that is set must hold. Names and
// NamesRegex are one condition: one of either must hold.
type Match struct {
	// Names are the names it takes. Empty, the default: every name, and clients
	// that send none, unless there is a NamesRegex.
	Names []sni.Pattern `yaml:"names"`
	// NamesRegex are regular expressions (RE2) that a whole name must match. They
	// are tried when no entry of any route's Names but * took it, in the order
	// of the file. Empty, the default: none.
	NamesRegex []sni.Regexp `yaml:"names_regex"`
	// ALPN takes clients that offer one of these protocols. Empty, the default:
	// all clients.
	ALPN []string `yaml:"alpn"`
	// ClientIPs takes clients with these addresses: that of the connection, or
	// what a trusted proxy's header says. Masked, IPv4 ones as IPv4. Empty, the
	// default: all clients.
	ClientIPs []netip.Prefix `yaml:"client_ips"`
	// Listeners takes clients that came in at one of these, by Listener.Name.
	// Empty, the default: all clients.
	Listeners []string `yaml:"listeners"`
}

// RouteLimits bounds what the connections of one route take. What is not
// written is taken from the top-level limits section, and Config holds the
// outcome; but the two numbers count this route's connections alone, and come
// on top of those there.
type RouteLimits struct {
	// Connections is how many of them may be open at once. 0, the default: no
	// limit but Config.Limits.
	Connections int `yaml:"connections"`
	// ConnectionsPerIP is how many of them one client address, of IPv6 one /64,
	// may have open at once. 0, the default: no limit but Config.Limits.
	ConnectionsPerIP int `yaml:"connections_per_ip"`
	// HandshakeTimeout is as in Limits.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// IdleTimeout is as in Limits.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// HalfCloseTimeout is as in Limits.
	HalfCloseTimeout time.Duration `yaml:"half_close_timeout"`
	// LifeTimeout is as in Limits; 0: as long as it likes.
	LifeTimeout time.Duration `yaml:"life_timeout"`
}

// RuleFor returns match as a table of routes takes it.
func RuleFor[T any](match Match, value T) sni.Rule[T] {
	return sni.Rule[T]{
		Names: match.Names, Regexps: match.NamesRegex,
		ALPN: match.ALPN, Clients: match.ClientIPs, Listeners: match.Listeners,
		Value: value,
	}
}

// PathOf returns the YAML path of a place in a table whose rules are c.Routes in
// their order, as in routes[0].match.names[2].
func (c *Config) PathOf(place sni.Place) string {
	path, names := fmt.Sprintf("routes[%d]", place.Rule), len(c.Routes[place.Rule].Match.Names)
	switch {
	case place.Name < 0:
		return path
	case place.Name < names:
		return fmt.Sprintf("%s.match.names[%d]", path, place.Name)
	}
	return fmt.Sprintf("%s.match.names_regex[%d]", path, place.Name-names)
}
