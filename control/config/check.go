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

// wrote reports whether the setting at path was written.
func (c *checker) wrote(path string) bool {
	_, ok := c.origin.places[path]
	return ok
}

func (c *checker) all() {
	c.checkListeners()
	c.checkLimits()
	c.checkTLS()
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
	c.checkAdmin()
	c.checkHooks()
}

func (c *checker) checkAddress(path, address string, check func(string) error) {
	if address == "" {
		c.problem(path, "missing")
	} else if err := check(address); err != nil {
		c.problem(path, "%v", err)
	}
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
