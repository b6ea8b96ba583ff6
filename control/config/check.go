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
	c.Warnings = append(c.Warnings, c.origin.problem(path, fmt.Sprintf(format, values...)).String())
}

func (c *checker) all() {
	c.checkListeners()
	c.checkLimits()
	c.checkProtocols("tls.alpn", c.TLS.ALPN)
	c.checkStores()
	c.checkBreaker()
	c.checkCache()
	c.checkFallback()
	c.checkBackends()
	c.checkRoutes()
	c.checkControl()
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

func (c *checker) checkBreaker() {
	c.atLeast("breaker.failures", c.Breaker.Failures, 1)
	c.notShorter("breaker.reset", c.Breaker.Reset, leastTimeout)
}

func (c *checker) checkCache() {
	c.within("cache.size", c.Cache.Size, 32<<20, 32<<30)
	c.notShorter("cache.min_ttl", c.Cache.MinTTL, leastPeriod)
	c.notShorter("cache.negative_ttl", c.Cache.NegativeTTL, leastPeriod)
	c.notShorter("cache.withdraw_after", c.Cache.WithdrawAfter, leastPeriod)
	c.notShorter("cache.lookup_timeout", c.Cache.LookupTimeout, leastTimeout)
	if c.Cache.TTL > 0 { // else it is unset
		c.notShorter("cache.ttl", c.Cache.TTL, leastPeriod)
	}
	if c.Cache.RenewBefore > 0 { // else it is auto
		c.notShorter("cache.renew_before", c.Cache.RenewBefore, leastPeriod)
	}
	if c.Cache.TTL > 0 && c.Cache.TTL < c.Cache.MinTTL {
		c.warn("cache.ttl", "%v is less than min_ttl, %v, which does not count then", c.Cache.TTL, c.Cache.MinTTL)
	}
	if c.Cache.AliasCAFile != "" && c.Cache.SANAliases != AliasesVerified {
		c.warn("cache.alias_ca_file", "not used with san_aliases: %s", c.Cache.SANAliases)
	}
}

func (c *checker) checkControl() {
	if err := CheckSocket(c.Control.Socket); err != nil {
		c.problem("control.socket", "%v", err)
	}
	if c.Control.Group != "" && c.Control.Mode&0o060 != 0o060 {
		c.warn("control.mode", "%04o keeps the members of control.group out", c.Control.Mode)
	}
	if c.Control.Mode&0o006 != 0 {
		c.warn("control.mode", "%04o lets everybody on this machine flush and shut down", c.Control.Mode)
	}
}

// CheckSocket says what is wrong with the path of a control socket.
func CheckSocket(path string) error {
	// A Unix socket's address has room for 108 bytes on Linux and 104 on macOS,
	// the zero at its end included.
	const most = 103
	if len(path) > most {
		return fmt.Errorf("%d bytes long: a socket's path has at most %d", len(path), most)
	}
	return nil
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
