package config

import (
	"fmt"
	"slices"
)

func (c *checker) checkRedis(path string, store *RedisStore) {
	c.checkRedisURL(path, store)
	c.checkRedisServers(path, store)
	c.together(path+".cert_file", store.CertFile, path+".key_file", store.KeyFile)
	if store.Prefix != defaultPrefix && store.Layout != LayoutJSON && !c.faults.touch(path+".layout") {
		c.problem(path+".prefix", "only layout: json has one")
	}
	c.checkFetching(path, store.Timeout, store.Fetches, store.InsecureSkipVerify)
}

func (c *checker) checkRedisURL(path string, store *RedisStore) {
	listed := len(store.Addresses) > 0
	if store.URL == "" && !listed {
		c.problem(path+".url", "missing")
		return
	}
	address, err := parseRedisURL(store.URL, listed)
	if err != nil {
		c.problem(path+".url", "%v", err)
		return
	}
	if address.user != "" && store.Username != "" {
		c.problem(path+".username", "%s names a user too", c.origin.name(path+".url"))
	}
	if store.Cluster && address.database != 0 {
		c.problem(path+".url", "database %d: a Cluster has only database 0", address.database)
	}
	if address.scheme == "unix" && (listed || store.SentinelMaster != "" || store.Cluster) {
		c.problem(path+".url", "a socket leads to one server: addresses, sentinel_master and cluster need redis:// or rediss://")
	}
	if address.scheme == "redis" && !store.Plaintext && leavesMachine(address, store.Addresses) {
		c.problem(path+".url", unencrypted, "rediss://")
	}
	if address.scheme != "rediss" && (store.CAFile != "" || store.CertFile != "" || store.InsecureSkipVerify) {
		c.problem(path+".url", "no certificate is looked at over %s://: what is said of TLS needs rediss://", address.scheme)
	}
}

// leavesMachine reports whether any of the servers is on another machine.
func leavesMachine(address redisAddress, listed []string) bool {
	if len(listed) == 0 {
		return !isLoopback(address.host)
	}
	return slices.ContainsFunc(listed, func(address string) bool {
		host, _, err := splitAddress(address)
		return err == nil && !isLoopback(host)
	})
}

func (c *checker) checkRedisServers(path string, store *RedisStore) {
	seen := make(map[string]bool)
	for i, address := range store.Addresses {
		at := fmt.Sprintf("%s.addresses[%d]", path, i)
		c.checkAddress(at, address, checkHostAddress)
		if seen[address] {
			c.problem(at, "%s is in the list twice", quote(address))
		}
		seen[address] = address != ""
	}
	switch {
	case store.SentinelMaster != "" && store.Cluster:
		c.problem(path+".cluster", "one of cluster and sentinel_master: a Cluster has no Sentinels")
	case len(store.Addresses) > 0 && store.SentinelMaster == "" && !store.Cluster && !c.faults.touch(path+".cluster"):
		c.problem(path+".addresses", "they need one of sentinel_master and cluster: true, which says what is there")
	}
}
