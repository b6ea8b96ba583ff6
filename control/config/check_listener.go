package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

func (c *checker) checkListeners() {
	if len(c.Listeners) == 0 {
		c.problem("listeners", "at least one is needed")
	}
	seen := make(map[string]bool)
	for i, listener := range c.Listeners {
		path := fmt.Sprintf("listeners[%d]", i)
		c.checkAddress(path+".address", listener.Address, checkListenAddress)
		if seen[listener.Address] && !takesFreePort(listener.Address) {
			c.problem(path+".address", "%s is listened on twice", quote(listener.Address))
		}
		seen[listener.Address] = listener.Address != ""
		c.checkListenerName(path+".name", i)
		if listener.AcceptProxy != nil {
			c.checkAcceptProxy(path+".accept_proxy", listener)
		}
	}
}

// checkListenerName checks a name that was written. Those that are addresses are
// checked as such.
func (c *checker) checkListenerName(path string, index int) {
	name := c.Listeners[index].Name
	if name == c.Listeners[index].Address {
		return
	}
	if !plainName.MatchString(name) {
		c.problem(path, "a listener's name is up to 64 letters, digits, hyphens, underscores and dots")
	}
	first := slices.IndexFunc(c.Listeners, func(other Listener) bool { return other.Name == name })
	if first < index {
		c.problem(path, "%s is also listeners[%d].name", quote(name), first)
	}
}

func (c *checker) checkAcceptProxy(path string, listener Listener) {
	accept := listener.AcceptProxy
	if len(accept.From) == 0 {
		c.problem(path+".from", "at least one is needed: the addresses of the proxies that are trusted")
	}
	c.checkRanges(path+".from", accept.From, "whoever connects can claim to be any client")
	switch {
	case accept.Required:
	case listener.StartTLS.greets():
		c.problem(path+".required", "clients of %s say nothing before they are greeted: whether there is a header can't be guessed", listener.StartTLS)
	default:
		c.warn(path+".required", "false guesses whether there is a header, which the PROXY protocol forbids: a client behind the proxy could write one")
	}
	c.notShorter(path+".timeout", accept.Timeout, leastTimeout)
}

// checkRanges checks a list of ranges of addresses, and warns of what one of all
// means.
func (c *checker) checkRanges(path string, ranges []netip.Prefix, ofAll string) {
	for i, of := range ranges {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !of.IsValid() {
			continue // could not be read
		}
		if slices.Index(ranges, of) < i {
			c.problem(at, "%s is in the list twice", of)
		}
		if of.Bits() == 0 && ofAll != "" {
			c.warn(at, "%s", ofAll)
		}
	}
}

func (c *checker) checkLimits() {
	limits := c.Limits
	c.atLeast("limits.connections", limits.Connections, 1)
	c.atLeast("limits.handshakes", limits.Handshakes, 1)
	c.within("limits.hello_bytes", limits.HelloBytes, 1<<10, 64<<10)
	c.notShorter("limits.hello_timeout", limits.HelloTimeout, leastTimeout)
	c.notShorter("limits.handshake_timeout", limits.HandshakeTimeout, leastTimeout)
	c.notShorter("limits.alert_timeout", limits.AlertTimeout, leastTimeout)
	c.notShorter("limits.idle_timeout", limits.IdleTimeout, leastPeriod)
	c.notShorter("limits.half_close_timeout", limits.HalfCloseTimeout, leastTimeout)
	c.noneOrNotShorter("limits.life_timeout", limits.LifeTimeout)
	// What Linux takes: 16 bits of seconds with a sign, and 32 of milliseconds.
	c.noneOrNotShorter("limits.tcp_keepalive", limits.TCPKeepalive)
	c.notLonger("limits.tcp_keepalive", limits.TCPKeepalive, (1<<15-1)*time.Second)
	c.noneOrNotShorter("limits.tcp_user_timeout", limits.TCPUserTimeout)
	c.notLonger("limits.tcp_user_timeout", limits.TCPUserTimeout, (1<<31-1)*time.Millisecond)
	if limits.RatePerIP == 0 && limits.BurstPerIP > 0 {
		c.warn("limits.burst_per_ip", "not used without limits.rate_per_ip")
	}
}

// noneOrNotShorter checks a duration of which 0 is none.
func (c *checker) noneOrNotShorter(path string, value time.Duration) {
	if value > 0 {
		c.notShorter(path, value, leastPeriod)
	}
}

func (c *checker) notLonger(path string, value, most time.Duration) {
	if value > most {
		c.problem(path, "must be at most %v", most)
	}
}
