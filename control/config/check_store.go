package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

func (c *checker) checkStores() {
	if len(c.Stores) == 0 {
		c.problem("stores", "one is needed: it says where certificates come from")
	}
	c.checkStoreNames()
	c.checkWriteBack()
	c.checkACMEStores()
	for i, store := range c.Stores {
		path := fmt.Sprintf("stores[%d]", i)
		c.checkStore(path, store)
		c.checkOwnBreaker(path+".breaker", store.Breaker)
		for j, allowed := range store.Allow {
			if allowed.IsValid() && allowed.Bits() == 0 {
				c.warn(fmt.Sprintf("%s.allow[%d]", path, j), "whoever writes this store's answers can reach every address from here")
			}
		}
	}
}

func (c *checker) checkStoreNames() {
	seen := make(map[string]int)
	for i, store := range c.Stores {
		if first, twice := seen[store.Name]; twice {
			// The name itself is not repeated: it may be a URL with a password in it.
			c.problem(fmt.Sprintf("stores[%d].name", i), "the same as that of stores[%d]: write a name that tells them apart", first)
		} else if store.Name != "" {
			seen[store.Name] = i
		}
	}
}

// kinds names what a store is, in the words of the file.
func (s Store) kinds() []string {
	var kinds []string
	if s.HTTP != nil {
		kinds = append(kinds, "http")
	}
	if s.Dir != nil {
		kinds = append(kinds, "dir")
	}
	if s.Redis != nil {
		kinds = append(kinds, "redis")
	}
	if s.ACME != nil {
		kinds = append(kinds, "acme")
	}
	return kinds
}

func (c *checker) checkStore(path string, store Store) {
	switch kinds := store.kinds(); {
	case len(kinds) == 0:
		c.problem(path, "want http, dir, redis or acme")
	case len(kinds) > 1:
		c.problem(path, "one entry is one store, not %s", strings.Join(kinds, " and "))
	case store.HTTP != nil:
		c.checkHTTP(path+".http", store.HTTP)
	case store.Redis != nil:
		c.checkRedis(path+".redis", store.Redis)
	case store.ACME != nil:
		c.checkACME(path+".acme", store.ACME)
	case store.Dir.Path == "":
		c.problem(path+".dir.path", "missing")
	}
}

// checkWriteBack checks that what is to be written back can be, and that there
// is something.
func (c *checker) checkWriteBack() {
	last, caddy := len(c.Stores)-1, -1
	for i, store := range c.Stores {
		if store.HTTP != nil && store.HTTP.Form == FormCaddy {
			caddy = i
		}
	}
	for i, store := range c.Stores {
		path := fmt.Sprintf("stores[%d].write_back", i)
		switch {
		case !store.WriteBack:
		case store.HTTP != nil, store.ACME != nil:
			c.problem(path, "only dir and redis can be written to")
		case i == last:
			c.problem(path, "no store comes after this one, so there is nothing to write back")
		case caddy > i:
			c.warn(path, "what stores[%d] answers depends on the client (form: caddy) and is not written back", caddy)
		}
	}
}

// checkOwnBreaker checks what is said of the breaker of one store, or of the
// permission service. What it inherits is checked where it was written.
func (c *checker) checkOwnBreaker(path string, breaker Breaker) {
	if _, own := c.origin.places[path+".failures"]; own {
		c.atLeast(path+".failures", breaker.Failures, 1)
	}
	if _, own := c.origin.places[path+".reset"]; own {
		c.notShorter(path+".reset", breaker.Reset, leastTimeout)
	}
}

func (c *checker) checkHTTP(path string, store *HTTPStore) {
	c.checkStoreURL(path, store)
	c.together(path+".cert_file", store.CertFile, path+".key_file", store.KeyFile)
	c.checkLogin(path, store.Username, store.PasswordFile)
	if store.TokenFile != "" && store.Username != "" {
		c.problem(path+".username", "a request has room for one of username and token_file")
	}
	if store.Autocert && store.Form != FormPeterSSLers && !c.faults.touch(path+".form") {
		c.problem(path+".autocert", "only form: peter_sslers has it")
	}
	c.notShorter(path+".autocert_timeout", store.AutocertTimeout, leastTimeout)
	if store.AutocertTimeout != defaultAutocertTimeout && !store.Autocert {
		c.warn(path+".autocert_timeout", "nothing is obtained without autocert: true")
	}
	c.checkFetching(path, store.Timeout, store.Fetches, store.InsecureSkipVerify)
}

// checkFetching checks what all stores have that are asked over the network.
func (c *checker) checkFetching(path string, timeout time.Duration, fetches int, insecure bool) {
	c.notShorter(path+".timeout", timeout, leastTimeout)
	c.atLeast(path+".fetches", fetches, 1)
	if insecure {
		c.warn(path+".insecure_skip_verify", "whoever answers at the store's address can hand out certificates")
	}
	c.checkPatience(path+".timeout", timeout)
}

func (c *checker) checkStoreURL(path string, store *HTTPStore) {
	if store.URL == "" {
		c.problem(path+".url", "missing")
		return
	}
	address, err := parseHTTPURL(store.URL)
	if err != nil {
		c.problem(path+".url", "%v", c.moreOnScheme(err, store.URL))
		return
	}
	if store.Form != FormCaddy && (address.RawQuery != "" || address.ForceQuery) && !c.faults.touch(path+".form") {
		c.problem(path+".url", "a query has no place in it with form: %s, where the name is added at its end", store.Form)
	}
	if address.Scheme != "http" {
		return
	}
	if !store.Plaintext && !isLoopback(address.Hostname()) {
		c.problem(path+".url", unencrypted, "https://")
	}
	if store.CAFile != "" || store.CertFile != "" || store.InsecureSkipVerify {
		c.warn(path+".url", "no certificate is looked at over http://")
	}
}

const unencrypted = "private keys would cross the network unencrypted: use %s, or allow it with plaintext: true in the file"

// moreOnScheme says where a URL belongs that is none of a certificate server.
func (c *checker) moreOnScheme(err error, text string) error {
	switch {
	case !errors.Is(err, errScheme):
		return err
	case c.origin.flags != nil:
		return errors.New("must begin with https://, http://, unix://, redis:// or rediss://")
	case isRedisURL(text):
		return errors.New("a Redis server is a store of its own kind: redis, not http")
	}
	return err
}

// together reports a certificate without its key and a key without its
// certificate.
func (c *checker) together(certPath, cert, keyPath, key string) {
	if cert != "" && key == "" {
		c.problem(certPath, "a certificate without its key: %s is missing", c.origin.name(keyPath))
	}
	if cert == "" && key != "" {
		c.problem(keyPath, "a key without its certificate: %s is missing", c.origin.name(certPath))
	}
}

// checkLogin checks what basic authentication takes.
func (c *checker) checkLogin(path, username, passwordFile string) {
	switch {
	case username != "" && passwordFile == "":
		c.problem(path+".username", "a user without a password: %s is missing", path+".password_file")
	case username == "" && passwordFile != "":
		c.problem(path+".password_file", "a password without a user: %s is missing", path+".username")
	case strings.Contains(username, ":"):
		c.problem(path+".username", "a colon has no place in it: basic authentication ends the name there")
	}
}

func (c *checker) checkBreaker(path string, breaker Breaker) {
	c.atLeast(path+".failures", breaker.Failures, 1)
	c.notShorter(path+".reset", breaker.Reset, leastTimeout)
}

func (c *checker) checkFallback() {
	c.together("fallback.cert_file", c.Fallback.CertFile, "fallback.key_file", c.Fallback.KeyFile)
	if name := c.Fallback.Backend; name != "" {
		c.checkBackendName("fallback.backend", name)
		if c.Fallback.CertFile == "" {
			c.warn("fallback.backend", "nothing gets there without fallback.cert_file")
		}
	}
	if c.Fallback.CertFile != "" && len(c.Fallback.On) == 0 {
		c.warn("fallback.on", "empty: the fallback certificate is never served")
	}
}
