package config

import (
	"fmt"
	"time"
)

func (c *checker) checkCache() {
	c.within("cache.size", c.Cache.Size, 32<<20, 32<<30)
	c.notShorter("cache.min_ttl", c.Cache.MinTTL, leastPeriod)
	c.notShorter("cache.negative_ttl", c.Cache.NegativeTTL, leastPeriod)
	c.notShorter("cache.withdraw_after", c.Cache.WithdrawAfter, leastPeriod)
	c.notShorter("cache.lookup_timeout", c.Cache.LookupTimeout, leastTimeout)
	c.notShorter("cache.route_ttl", c.Cache.RouteTTL, leastPeriod)
	if c.Cache.TTL > 0 { // else it is unset
		c.notShorter("cache.ttl", c.Cache.TTL, leastPeriod)
	}
	if c.Cache.RenewBefore > 0 { // else it is auto
		c.notShorter("cache.renew_before", c.Cache.RenewBefore, leastPeriod)
	}
	if c.Cache.DirKeyFile != "" && c.Cache.Dir == "" {
		c.problem("cache.dir_key_file", "a key, and nothing that it encrypts: cache.dir is missing")
	}
	if c.Cache.TTL > 0 && c.Cache.TTL < c.Cache.MinTTL {
		c.warn("cache.ttl", "%v is less than min_ttl, %v, which does not count then", c.Cache.TTL, c.Cache.MinTTL)
	}
	if c.Cache.AliasCAFile != "" && c.Cache.SANAliases != AliasesVerified {
		c.warn("cache.alias_ca_file", "not used with san_aliases: %s", c.Cache.SANAliases)
	}
}

func (c *checker) checkLookups() {
	if c.Lookups.Rate == 0 {
		c.warn("lookups.rate", "0 is no limit: a flood of unknown names reaches the stores whole")
	} else {
		c.atLeast("lookups.burst", c.Lookups.Burst, 1)
	}
	if c.Lookups.PerClient == 0 {
		c.warn("lookups.per_client", "0 is no limit: one client may use up the rate of all")
	} else {
		c.atLeast("lookups.per_client_burst", c.Lookups.PerClientBurst, 1)
	}
}

func (c *checker) checkPermission() {
	c.notShorter("permission.timeout", c.Permission.Timeout, leastTimeout)
	c.checkOwnBreaker("permission.breaker", c.Permission.Breaker)
	if c.Permission.URL == "" {
		if c.Permission.CAFile != "" || c.Permission.Plaintext {
			c.warn("permission", "nobody is asked without permission.url")
		}
		return
	}
	c.checkPermissionURL()
	c.checkPatience("permission.timeout", c.Permission.Timeout)
}

func (c *checker) checkPermissionURL() {
	address, err := parseHTTPURL(c.Permission.URL)
	if err != nil {
		c.problem("permission.url", "%v", err)
		return
	}
	if address.Scheme == "http" && !c.Permission.Plaintext && !isLoopback(address.Hostname()) {
		c.problem("permission.url", "whoever is on the way there could answer: use https://, or allow it with plaintext: true")
	}
	if address.Query().Has("domain") {
		c.warn("permission.url", "the domain in its query gives way to the name that is asked for")
	}
	if address.Scheme == "http" && c.Permission.CAFile != "" {
		c.warn("permission.url", "no certificate is looked at over http://")
	}
}

// checkPatience warns of a timeout for which no handshake waits.
func (c *checker) checkPatience(path string, timeout time.Duration) {
	if timeout > c.Cache.LookupTimeout {
		c.warn(path, "%v is longer than cache.lookup_timeout, %v: handshakes do not wait that long", timeout, c.Cache.LookupTimeout)
	}
}

func (c *checker) checkPrefetch() {
	seen := make(map[string]bool)
	for i, name := range c.Prefetch {
		if seen[name] {
			c.warn(fmt.Sprintf("prefetch[%d]", i), "%s is in the list twice", quote(name))
		}
		seen[name] = name != "" // one that could not be read
	}
}
