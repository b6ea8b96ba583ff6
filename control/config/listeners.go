package config

import (
	"net/netip"
	"time"
)

// Listener is one address that is listened on.
type Listener struct {
	// Name is what routes, logs and metrics call it; no two listeners have the
	// same. Default: its Address.
	Name string `yaml:"name"`
	// Address is host:port. An empty host is every address of the machine;
	// port 0 takes a free one. Required.
	Address string `yaml:"address"`
	// AcceptProxy reads the PROXY header that trusted proxies send first. Nil,
	// the default: nobody's is read.
	AcceptProxy *AcceptProxy `yaml:"accept_proxy"`
	// StartTLS is the protocol that clients begin with, up to where they begin
	// TLS. Empty, the default: they begin with TLS.
	StartTLS StartTLS `yaml:"starttls"`
	// DefaultName is the name used for a client that sends none. Optional:
	// without it such a client is refused. Accepted by sni.Normalize.
	DefaultName string `yaml:"default_name,name"`
	// Limits bounds what comes in at this address, besides Config.Limits.
	Limits ListenerLimits `yaml:"limits"`
}

// AcceptProxy says whose PROXY header, of either version, is read.
type AcceptProxy struct {
	// From are the addresses of the proxies that are trusted; masked, IPv4 ones
	// as IPv4. Anyone else's bytes are a client's. At least one.
	From []netip.Prefix `yaml:"from"`
	// Required ends connections of those proxies that come without a header.
	// Default true; false guesses, which the specification forbids.
	Required bool `yaml:"required"`
	// Timeout is how long the header may take. Default 3s.
	Timeout time.Duration `yaml:"timeout"`
}

// ListenerLimits bounds what one listener takes.
type ListenerLimits struct {
	// Connections is how many may be open at once that came in here. 0, the
	// default: no limit but Config.Limits.
	Connections int `yaml:"connections"`
}

// Limits bounds what connections may take: how many there are, and how long
// each stage may last.
type Limits struct {
	// Connections is how many may be open at once. Default 100000.
	Connections int `yaml:"connections"`
	// ConnectionsPerIP is how many one client address, of IPv6 one /64, may have
	// open at once. 0, the default: no limit.
	ConnectionsPerIP int `yaml:"connections_per_ip"`
	// RatePerIP is how many connections a second one client address, of IPv6 one
	// /64, may begin. 0, the default: no limit.
	RatePerIP int `yaml:"rate_per_ip"`
	// BurstPerIP is how many it may begin at once after a pause. 0, the default:
	// as many as RatePerIP, and Config holds that number then.
	BurstPerIP int `yaml:"burst_per_ip"`
	// Handshakes is how many of them may be in the middle of their handshake,
	// counted from when their certificate was found: those that wait for a store
	// do not count, so that one that hangs can't fill it. Default 20000.
	Handshakes int `yaml:"handshakes"`
	// HelloTimeout is how long a client has to send its ClientHello, and what it
	// says before that at a listener with StartTLS. Default 5s.
	HelloTimeout time.Duration `yaml:"hello_timeout"`
	// HelloBytes is how large a ClientHello may be, at most 64k. Default 64k.
	HelloBytes Size `yaml:"hello_bytes"`
	// HandshakeTimeout is how long the handshake may take once the ClientHello
	// is complete. Default 10s.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// AlertTimeout is how long a client that is refused may take to read the
	// alert that says why. Default 1s.
	AlertTimeout time.Duration `yaml:"alert_timeout"`
	// IdleTimeout is how long a connection may go without a byte in either
	// direction. Default 1h.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// HalfCloseTimeout is IdleTimeout for a connection that one side has
	// finished sending on. Default 5m.
	HalfCloseTimeout time.Duration `yaml:"half_close_timeout"`
	// LifeTimeout is how long a connection may live, busy or not, from its
	// accept. 0, the default: as long as it likes.
	LifeTimeout time.Duration `yaml:"life_timeout"`
	// LifeJitter is by how much of LifeTimeout at most a connection's life is
	// shorter, each by another part, so that those that began together do not
	// come back together. Default 10%.
	LifeJitter Percent `yaml:"life_jitter"`
	// TCPKeepalive is after how long without a byte, and then how often, a peer
	// is asked whether it is still there. 0: it never is. Default 15s.
	TCPKeepalive time.Duration `yaml:"tcp_keepalive"`
	// TCPUserTimeout is how long what was sent may go unacknowledged before the
	// connection is given up (TCP_USER_TIMEOUT of Linux). 0, the default: as the
	// system has it, some 15 minutes.
	TCPUserTimeout time.Duration `yaml:"tcp_user_timeout"`
	// DrainTimeout is how long open connections may go on after SIGTERM; 0
	// ends them at once. Default 30s.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// UpgradeDrainTimeout is DrainTimeout after the listening sockets were handed
	// to a new process. Default 24h.
	UpgradeDrainTimeout time.Duration `yaml:"upgrade_drain_timeout"`
}
