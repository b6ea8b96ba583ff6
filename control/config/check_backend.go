package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// BackendNames returns the names of the backends in alphabetical order.
func (c *Config) BackendNames() []string {
	return slices.Sorted(maps.Keys(c.Backends))
}

// plainName is what backends and listeners may be called.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

func (c *checker) checkBackends() {
	used := map[string]bool{c.Fallback.Backend: true}
	for _, route := range c.Routes {
		used[route.Backend] = true
	}
	for _, name := range c.BackendNames() {
		path := child("backends", name)
		if !plainName.MatchString(name) {
			c.problem(path, "a backend's name is up to 64 letters, digits, hyphens, underscores and dots")
		}
		c.checkBackend(name, path, c.Backends[name])
		if !used[name] && len(c.Routes) > 0 {
			c.warn(path, "no route uses it: only where a store's answer names it do connections come")
		}
	}
}

func (c *checker) checkBackend(name, path string, backend Backend) {
	c.checkServers(path+".servers", backend.Servers)
	c.checkQueue(path+".queue", backend)
	c.checkDial(path, backend)
	c.noneOrNotShorter(path+".slow_start", backend.SlowStart)
	c.noneOrNotShorter(path+".resolve_interval", backend.ResolveInterval)
	if backend.Health != nil {
		c.checkHealth(path+".health", backend)
	} else if backend.OnDown == DownReset {
		c.warn(path+".on_down", "no server fails checks without health")
	}
	c.checkEjection(path+".ejection", backend.Ejection)
	c.checkFields(path, backend)
	c.checkStartTLS(name, path+".starttls", backend)
	if backend.TLS != nil {
		c.checkBackendTLS(path+".tls", backend.TLS)
	}
}

func (c *checker) checkServers(path string, servers []Server) {
	if len(servers) == 0 {
		c.problem(path, "at least one is needed")
		return
	}
	seen := make(map[string]bool)
	for i, server := range servers {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.checkAddress(at+".address", server.Address, checkServerAddress)
		if seen[server.Address] && server.Address != "" {
			c.problem(at+".address", "%s is in this backend twice", quote(server.Address))
		}
		seen[server.Address] = true
		if server.Weight > mostWeight {
			c.problem(at+".weight", "must be 0 to %d", mostWeight)
		}
	}
	if !slices.ContainsFunc(servers, func(s Server) bool { return !s.Backup }) {
		c.problem(path, "all are backups: at least one must not be")
	}
	if !slices.ContainsFunc(servers, func(s Server) bool { return s.Weight > 0 }) {
		c.warn(path, "all have the weight 0: none takes a connection")
	}
}

// mostWeight is HAProxy's.
const mostWeight = 256

func (c *checker) checkQueue(path string, backend Backend) {
	c.notShorter(path+".timeout", backend.Queue.Timeout, leastTimeout)
	bounded := slices.ContainsFunc(backend.Servers, func(s Server) bool { return s.MaxConnections > 0 })
	if backend.Queue != defaultQueue && backend.Queue.Length > 0 && !bounded {
		c.warn(path, "nothing ever waits where no server has max_connections")
	}
}

func (c *checker) checkDial(path string, backend Backend) {
	c.notShorter(path+".connect_timeout", backend.ConnectTimeout, leastTimeout)
	c.notShorter(path+".dial_timeout", backend.DialTimeout, leastTimeout)
	if backend.DialTimeout < backend.ConnectTimeout {
		c.warn(path+".dial_timeout", "%v is shorter than connect_timeout, %v, and ends the first attempt", backend.DialTimeout, backend.ConnectTimeout)
	}
	if backend.Retries > 100 {
		c.problem(path+".retries", "must be 0 to 100")
	}
}

func (c *checker) checkHealth(path string, backend Backend) {
	health := backend.Health
	c.notShorter(path+".interval", health.Interval, leastTimeout)
	c.notShorter(path+".timeout", health.Timeout, leastTimeout)
	c.atLeast(path+".rise", health.Rise, 1)
	c.atLeast(path+".fall", health.Fall, 1)
	c.notLarger(path+".send", health.Send, mostChecked)
	c.notLarger(path+".expect", health.Expect, mostChecked)
	if health.Send != "" && health.Expect == "" {
		c.warn(path+".send", "without expect, what comes back is not looked at")
	}
	socket := slices.IndexFunc(backend.Servers, func(s Server) bool { return isSocket(s.Address) })
	switch {
	case health.Port > 65535:
		c.problem(path+".port", "must be 0 to 65535")
	case health.Port > 0 && socket >= 0:
		c.problem(path+".port", "%s has no ports", quote(backend.Servers[socket].Address))
	}
}

// The most that a check sends or looks for, and that a field of one's own has.
const (
	mostChecked     = 4096
	mostCustomField = 1024
)

func (c *checker) notLarger(path string, value Bytes, most int) {
	if len(value) > most {
		c.problem(path, "%d bytes long: at most %d", len(value), most)
	}
}

func (c *checker) checkEjection(path string, ejection Ejection) {
	c.notShorter(path+".time", ejection.Time, leastPeriod)
	if ejection.MaxTime < ejection.Time {
		c.problem(path+".max_time", "%v is less than time, %v", ejection.MaxTime, ejection.Time)
	}
	if ejection.MaxPercent == 0 && ejection.Failures > 0 {
		c.warn(path+".max_percent", "0%%: no server is ever ejected, which failures: 0 says")
	}
}

// checkFields checks what a PROXY header carries.
func (c *checker) checkFields(path string, backend Backend) {
	checkList(c, path+".proxy_tlvs", backend.ProxyTLVs, nil)
	c.checkPartsOfSSL(path+".proxy_tlvs", backend.ProxyTLVs)
	c.checkCustomFields(path+".custom_tlvs", backend)
	c.checkPassedFields(path+".pass_tlvs", backend)
}

func (c *checker) checkPartsOfSSL(path string, fields []ProxyTLV) {
	part := slices.IndexFunc(fields, ProxyTLV.isPartOfSSL)
	if part >= 0 && !slices.Contains(fields, TLVSSL) {
		c.problem(fmt.Sprintf("%s[%d]", path, part), "%s is a part of ssl, which is missing", fields[part])
	}
}

func (c *checker) checkCustomFields(path string, backend Backend) {
	seen := make(map[TLVType]string)
	for _, text := range slices.Sorted(maps.Keys(backend.CustomTLVs)) {
		at := child(path, text)
		number, err := parseCustomTLV(text)
		if err != nil {
			c.problem(at, "%v", err)
			continue
		}
		if first, twice := seen[number]; twice {
			c.problem(at, "the same field as %s", first)
		}
		seen[number] = text
		c.notLarger(at, backend.CustomTLVs[text], mostCustomField)
	}
	if len(backend.CustomTLVs) > 0 && backend.SendProxy != SendProxyV2 {
		c.problem(path, "only a header of send_proxy: v2 has room for them")
	}
}

func (c *checker) checkPassedFields(path string, backend Backend) {
	for i, field := range backend.PassTLVs {
		switch at := fmt.Sprintf("%s[%d]", path, i); {
		case c.faults.touch(at):
		case slices.Index(backend.PassTLVs, field) < i:
			c.problem(at, "%s is in the list twice", field)
		case field == AllTLVs && len(backend.PassTLVs) > 1:
			c.problem(at, "all takes the others too: write it alone")
		}
	}
	if len(backend.PassTLVs) == 0 {
		return
	}
	if backend.SendProxy != SendProxyV2 {
		c.problem(path, "only a header of send_proxy: v2 has room for them")
	}
	if !slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.AcceptProxy != nil }) {
		c.warn(path, "no listener has accept_proxy: there is nothing to pass on")
	}
}

func (c *checker) checkBackendTLS(path string, settings *BackendTLS) {
	c.together(path+".cert_file", settings.CertFile, path+".key_file", settings.KeyFile)
	c.checkProtocols(path+".alpn", settings.ALPN)
	if name := settings.ServerName; name != ClientName && !isHost(name) {
		c.problem(path+".server_name", "%s is neither a host name nor an IP address, nor %s for the name that the client asked for", quote(name), ClientName)
	}
	if settings.InsecureSkipVerify {
		c.warn(path+".insecure_skip_verify", "whoever answers at a server's address gets what clients send")
	}
	if settings.InsecureSkipVerify && settings.CAFile != "" {
		c.warn(path+".ca_file", "not used with insecure_skip_verify")
	}
}

// backendHint ends the message on a backend that there is not.
func (c *checker) backendHint(name string) string {
	if len(c.Backends) > mostCompared {
		return ""
	}
	return hint(name, c.BackendNames())
}

// hint ends the message on a name that is none of those known.
func hint(name string, known []string) string {
	hint := didYouMean(name, known)
	if hint == "" && len(known) > 0 && len(known) <= 5 {
		hint = "; there is " + strings.Join(known, ", ")
	}
	return hint
}
