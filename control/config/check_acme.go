package config

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"hellogate/sni"
)

func (c *checker) checkACME(path string, store *ACMEStore) {
	c.checkDirectories(path+".directories", store.Directories)
	if !store.AcceptTerms {
		c.problem(path+".accept_terms", "%s", termsOf(store.Directories))
	}
	c.checkContact(path+".contact", store.Contact)
	c.checkOrdered(path, store)
	if !filepath.IsAbs(store.Storage) {
		c.problem(path+".storage", "%s is not a whole path, as in /var/lib/hellogate/acme", quote(store.Storage))
	}
	c.checkKeyTypes(path+".key_types", store.KeyTypes)
	if strings.ContainsFunc(store.Profile, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.problem(path+".profile", "%s is not the name of a profile", quote(store.Profile))
	}
	c.checkEAB(path+".eab", store.EAB)
	c.checkHTTP01(path+".http01", store.HTTP01)
	c.checkProgram(path+".dns01", store.DNS01)
	c.checkProgram(path+".message", store.Message)
	c.notLonger(path+".dns01_wait", store.DNS01Wait, time.Hour)
	if store.DNS01Wait > 0 && len(store.DNS01) == 0 {
		c.warn(path+".dns01_wait", "not used without dns01")
	}
	c.checkACMEWait(path+".wait", store)
	c.atLeast(path+".limits.rate", store.Limits.Rate, 1)
	c.atLeast(path+".limits.burst", store.Limits.Burst, 1)
	c.atLeast(path+".limits.at_once", store.Limits.AtOnce, 1)
}

func (c *checker) checkDirectories(path string, directories []string) {
	if len(directories) == 0 {
		c.problem(path, "one is needed: the URL of a CA's directory, as in %s", letsEncrypt)
	}
	for i, directory := range directories {
		at := fmt.Sprintf("%s[%d]", path, i)
		host, err := directoryHost(directory)
		switch {
		case err != nil:
			c.problem(at, "%v", err)
		case slices.Index(directories, directory) < i:
			c.problem(at, "%s is in the list twice", quote(directory))
		case host == letsEncryptStaging:
			c.warn(at, "Let's Encrypt's staging is for trying things out: no client trusts its certificates")
		}
	}
}

// directoryHost is the host of a CA's directory.
func directoryHost(directory string) (host string, err error) {
	address, err := parseHTTPURL(directory)
	switch {
	case err == errNotURL:
		return "", fmt.Errorf("not a URL, as in %s", letsEncrypt)
	case err == errScheme, err == nil && address.Scheme == "unix":
		return "", errors.New("must begin with https://")
	case err != nil:
		return "", err
	case address.Scheme == "http" && !isLoopback(address.Hostname()):
		return "", errors.New("whoever is on the way there could answer: use https://")
	}
	return address.Hostname(), nil
}

// termsOf says whose terms are to be accepted.
func termsOf(directories []string) string {
	text := "must be true: a CA makes an account only for those who agree to its terms of service"
	if len(directories) == 0 {
		return text
	}
	if address, err := url.Parse(directories[0]); err == nil && address.Host != "" {
		text += fmt.Sprintf(" (%s names them as termsOfService)", withoutQuery(directories[0]))
	}
	return text
}

func (c *checker) checkContact(path, contact string) {
	if contact == "" {
		return
	}
	address, err := mail.ParseAddress(contact)
	if err != nil || address.Address != contact || strings.ContainsAny(contact, "?,") {
		c.problem(path, "%s is not one mail address, as in hostmaster@example.com", quote(contact))
	}
}

// checkOrdered checks which names certificates are ordered for.
func (c *checker) checkOrdered(path string, store *ACMEStore) {
	if len(store.Names) == 0 && !c.ordersOnDemand(store) && !c.faults.touch(path+".names") {
		c.problem(path, "no name is ever ordered: it needs names, or on_demand, or the top-level permission that is asked for others")
	}
	for i, name := range store.Names {
		c.checkManaged(fmt.Sprintf("%s.names[%d]", path, i), store, name, slices.Index(store.Names, name) < i)
	}
	for i, pattern := range store.OnDemand {
		at := fmt.Sprintf("%s.on_demand[%d]", path, i)
		if slices.Index(store.OnDemand, pattern) < i {
			c.warn(at, "%s is in the list twice", quote(pattern.String()))
		}
		if c.Permission.URL == "" && takesAnybody(pattern) {
			c.problem(at, "anybody could have certificates ordered by asking for names: it needs the top-level permission, or names of your own")
		}
	}
}

func (c *checker) checkManaged(path string, store *ACMEStore, name sni.Pattern, again bool) {
	text := name.String()
	switch {
	case text == "*", strings.HasPrefix(text, "."):
		c.problem(path, "%s is no name that a certificate can be for: want a whole name, or *.NAME", quote(text))
	case strings.HasPrefix(text, "*.") && len(store.DNS01) == 0:
		c.problem(path, "%s is a wildcard, which a CA gives for DNS-01 alone: dns01 is missing", quote(text))
	case again:
		c.warn(path, "%s is in the list twice", quote(text))
	}
}

// takesAnybody reports whether a pattern has names of people who have nothing to
// do with each other: all names, or those below a public suffix.
func takesAnybody(pattern sni.Pattern) bool {
	text := pattern.String()
	if text == "*" {
		return true
	}
	below, isPattern := strings.CutPrefix(strings.TrimPrefix(text, "*"), ".")
	suffix, listed := publicsuffix.PublicSuffix(below)
	return isPattern && suffix == below && (listed || strings.Contains(suffix, "."))
}

func (c *checker) checkKeyTypes(path string, types []KeyType) {
	if len(types) == 0 {
		c.problem(path, "one is needed")
	}
	for i, kind := range types {
		if slices.Index(types, kind) < i && kind != "" {
			c.problem(fmt.Sprintf("%s[%d]", path, i), "%s is in the list twice", kind)
		}
	}
}

func (c *checker) checkEAB(path string, binding EAB) {
	switch {
	case binding.KID != "" && binding.HMACFile == "":
		c.problem(path+".kid", "a key's name without the key: %s.hmac_file is missing", path)
	case binding.HMACFile != "" && binding.KID == "":
		c.problem(path+".hmac_file", "a key without its name: %s.kid is missing", path)
	}
}

func (c *checker) checkHTTP01(path, address string) {
	if address == "" {
		return
	}
	if err := checkListenAddress(address); err != nil {
		c.problem(path, "%v", err)
		return
	}
	c.checkFree(path, address)
	for other, used := range map[string]string{"admin.address": c.Admin.Address, "control.peter_sslers.address": c.Control.PeterSSLers.Address} {
		if used == address && !takesFreePort(address) {
			c.problem(path, "%s is also %s", quote(address), other)
		}
	}
}

// checkProgram checks a command that may be none.
func (c *checker) checkProgram(path string, command []string) {
	if len(command) > 0 && !filepath.IsAbs(command[0]) {
		c.problem(path, "%s is not the whole path of a program, as in /usr/local/bin/dns01", quote(command[0]))
	}
}

// checkACMEWait warns of a time for which no handshake waits.
func (c *checker) checkACMEWait(path string, store *ACMEStore) {
	c.notShorter(path, store.Wait, leastTimeout)
	lookups := "cache.lookup_timeout"
	switch wait := c.ACMEWait(store); {
	case !c.ordersOnDemand(store):
	case c.wrote(lookups) && c.Cache.LookupTimeout < wait:
		c.warn(lookups, "%v is shorter than the %v for which the first client of a name is to wait (%s)", c.Cache.LookupTimeout, wait, c.origin.name(path))
	case c.wrote(path) && wait < store.Wait:
		c.warn(path, "%v is longer than what limits.handshake_timeout leaves, with a second to spare: handshakes wait for %v", store.Wait, wait)
	}
}

// checkACMEStores checks what several ACME stores may not have alike, and what
// the rest of the configuration keeps from them.
func (c *checker) checkACMEStores() {
	storages, addresses := make(map[string]int), make(map[string]int)
	for i, store := range c.Stores {
		if store.ACME == nil {
			continue
		}
		path := fmt.Sprintf("stores[%d].acme", i)
		storage := filepath.Clean(store.ACME.Storage)
		if first, twice := storages[storage]; twice {
			c.problem(path+".storage", "%s is also stores[%d].acme.storage", quote(storage), first)
		} else {
			storages[storage] = i
		}
		address := store.ACME.HTTP01
		if first, twice := addresses[address]; twice && !takesFreePort(address) {
			c.problem(path+".http01", "%s is also stores[%d].acme.http01", quote(address), first)
		} else if address != "" {
			addresses[address] = i
		}
		for j, name := range store.ACME.Names {
			if text := name.String(); text != "" && !store.takes(text) {
				c.warn(fmt.Sprintf("%s.names[%d]", path, j), "%s is obtained and never served: stores[%d].names leaves it out", quote(text), i)
			}
		}
	}
}

// takes reports whether a store is asked for a name, or for any that a wildcard
// is for.
func (s Store) takes(name string) bool {
	if below, ok := strings.CutPrefix(name, "*."); ok {
		name = "any." + below
	}
	return len(s.Names) == 0 || slices.ContainsFunc(s.Names, func(pattern sni.Pattern) bool { return pattern.Match(name) })
}
