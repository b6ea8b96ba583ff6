package config

import "fmt"

func (c *checker) checkStores() {
	switch len(c.Stores) {
	case 0:
		c.problem("stores", "one is needed: it says where certificates come from")
	case 1:
	default:
		c.problem("stores[1]", "a second store %s", notInThisVersion)
	}
	for i, store := range c.Stores {
		c.checkStore(fmt.Sprintf("stores[%d]", i), store)
	}
}

func (c *checker) checkStore(path string, store Store) {
	switch {
	case store.HTTP != nil && store.Dir != nil:
		c.problem(path, "one entry is one store: http and dir are two")
	case store.HTTP != nil:
		c.checkHTTP(path+".http", store.HTTP)
	case store.Dir == nil:
		c.problem(path, "want http or dir")
	case store.Dir.Path == "":
		c.problem(path+".dir.path", "missing")
	}
}

func (c *checker) checkHTTP(path string, store *HTTPStore) {
	c.checkStoreURL(path, store)
	c.together(path+".cert_file", store.CertFile, path+".key_file", store.KeyFile)
	c.notShorter(path+".timeout", store.Timeout, leastTimeout)
	c.atLeast(path+".fetches", store.Fetches, 1)
	if store.InsecureSkipVerify {
		c.warn(path+".insecure_skip_verify", "whoever answers at the store's address can hand out certificates")
	}
	if store.Timeout > c.Cache.LookupTimeout {
		c.warn(path+".timeout", "%v is longer than cache.lookup_timeout, %v: handshakes do not wait that long", store.Timeout, c.Cache.LookupTimeout)
	}
}

func (c *checker) checkStoreURL(path string, store *HTTPStore) {
	if store.URL == "" {
		c.problem(path+".url", "missing")
		return
	}
	address, err := parseStoreURL(store.URL)
	if err != nil {
		c.problem(path+".url", "%v", err)
		return
	}
	if store.Form == FormPath && (address.RawQuery != "" || address.ForceQuery) {
		c.problem(path+".url", "a query has no place in it with form: path, where the name is added at its end")
	}
	if address.Scheme != "http" {
		return
	}
	if !store.Plaintext && !isLoopback(address.Hostname()) {
		c.problem(path+".url", "private keys would cross the network unencrypted: use https://, or allow it with plaintext: true in the file")
	}
	if store.CAFile != "" || store.CertFile != "" || store.InsecureSkipVerify {
		c.warn(path+".url", "no certificate is looked at over http://")
	}
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
