package config

import (
	"fmt"
	"time"

	"hellogate/sni"
)

// checker finds what is wrong with the values of a configuration and with how
// they go together, once each of them could be read.
type checker struct {
	*Config
	faults   faults
	problems Problems
}

// problem reports what is wrong with the setting at path, unless something is
// known to be wrong there already.
func (c *checker) problem(path, format string, values ...any) {
	if c.faults.touch(path) || len(c.problems) >= mostProblems {
		return
	}
	c.problems = append(c.problems, c.origin.problem(path, fmt.Sprintf(format, values...)))
}

func (c *checker) warn(path, format string, values ...any) {
	if len(c.Warnings) >= mostProblems {
		return
	}
	c.Warnings = append(c.Warnings, c.origin.problem(path, fmt.Sprintf(format, values...)).String())
}

func (c *checker) all() {
	c.checkListeners()
	c.checkLimits()
	c.checkProtocols("tls.alpn", c.TLS.ALPN)
	c.checkStores()
	c.checkBreaker("breaker", c.Breaker)
	c.checkCache()
	c.checkLookups()
	c.checkPermission()
	c.checkPrefetch()
	c.checkFallback()
	c.checkBackends()
	c.checkRoutes()
	c.checkControl()
	c.checkHooks()
}

func (c *checker) checkListeners() {
	if len(c.Listeners) == 0 {
		c.problem("listeners", "at least one is needed")
	}
	seen := make(map[string]bool)
	for i, listener := range c.Listeners {
		path := fmt.Sprintf("listeners[%d].address", i)
		c.checkAddress(path, listener.Address, checkListenAddress)
		if seen[listener.Address] && !takesFreePort(listener.Address) {
			c.problem(path, "%s is listened on twice", quote(listener.Address))
		}
		seen[listener.Address] = listener.Address != ""
	}
}

func (c *checker) checkAddress(path, address string, check func(string) error) {
	if address == "" {
		c.problem(path, "missing")
	} else if err := check(address); err != nil {
		c.problem(path, "%v", err)
	}
}

func (c *checker) checkLimits() {
	c.atLeast("limits.connections", c.Limits.Connections, 1)
	c.atLeast("limits.handshakes", c.Limits.Handshakes, 1)
	c.notShorter("limits.hello_timeout", c.Limits.HelloTimeout, leastTimeout)
	c.within("limits.hello_bytes", c.Limits.HelloBytes, 1<<10, 64<<10)
	c.notShorter("limits.handshake_timeout", c.Limits.HandshakeTimeout, leastTimeout)
	c.notShorter("limits.idle_timeout", c.Limits.IdleTimeout, leastPeriod)
	c.notShorter("limits.half_close_timeout", c.Limits.HalfCloseTimeout, leastTimeout)
}

// checkProtocols checks a list of ALPN protocols.
func (c *checker) checkProtocols(path string, protocols []string) {
	seen := make(map[string]bool)
	for i, protocol := range protocols {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case protocol == "" || len(protocol) > 255:
			c.problem(at, "%d bytes long: a protocol has 1 to 255", len(protocol))
		case protocol == "acme-tls/1":
			c.problem(at, "acme-tls/1 is reserved for certificate authorities and goes to no backend")
		case seen[protocol]:
			c.problem(at, "%s is in the list twice", quote(protocol))
		}
		seen[protocol] = true
	}
}

func (c *checker) atLeast(path string, value, least int) {
	if value < least {
		c.problem(path, "must be at least %d", least)
	}
}

// The least that a duration may be. Less is a unit that was mistyped, with which
// every attempt times out, or every name is fetched again and again.
const (
	leastPeriod  = time.Second
	leastTimeout = 10 * time.Millisecond
)

func (c *checker) notShorter(path string, value, least time.Duration) {
	if value < least {
		c.problem(path, "must be at least %v", least)
	}
}

func (c *checker) within(path string, value, least, most Size) {
	if value < least || value > most {
		c.problem(path, "must be %s to %s", least, most)
	}
}

// isHost reports whether text is an IP address or the name of a host.
func isHost(text string) bool {
	_, err := sni.Parse(text)
	return err == nil || isIP(text)
}
