package config

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Defaults returns a configuration in which everything that has a default has
// it: no listeners, stores, backends or routes. It does not pass the checks.
func Defaults() *Config {
	config := new(Config)
	config.setDefaults()
	config.complete()
	return config
}

// defaulter is a part of the configuration with defaults of its own. The
// decoder calls it on every new one before it reads into it.
type defaulter interface{ setDefaults() }

func (c *Config) setDefaults() {
	c.Limits = Limits{
		Connections:      100_000,
		Handshakes:       20_000,
		HelloTimeout:     5 * time.Second,
		HelloBytes:       64 << 10,
		HandshakeTimeout: 10 * time.Second,
		IdleTimeout:      time.Hour,
		HalfCloseTimeout: 5 * time.Minute,
		DrainTimeout:     30 * time.Second,
	}
	c.TLS = TLS{MinVersion: tls.VersionTLS12, ALPN: []string{}}
	c.Breaker = Breaker{Failures: 5, Reset: 30 * time.Second}
	c.Cache = Cache{
		Size:          512 << 20,
		MinTTL:        5 * time.Minute,
		NegativeTTL:   30 * time.Second,
		WithdrawAfter: 10 * time.Minute,
		LookupTimeout: 5 * time.Second,
		SANAliases:    AliasesVerified,
		RouteTTL:      time.Minute,
	}
	c.Lookups = Lookups{Rate: 500, Burst: 5000, PerClient: 20, PerClientBurst: 200}
	c.Permission = Permission{Timeout: 2 * time.Second, Breaker: Breaker{Failures: unset, Reset: unset}}
	c.Hooks = Hooks{Timeout: 30 * time.Second}
	c.Fallback = Fallback{On: []Occasion{OnUnknown, OnFailure}}
	c.Log = Log{Level: LogInfo, Format: LogJSON, Access: true}
}

// unset marks what 0 could not: no file can say it.
const unset = -1

func (s *Store) setDefaults() {
	*s = Store{Breaker: Breaker{Failures: unset, Reset: unset}}
}

const defaultAutocertTimeout = time.Minute

func (s *HTTPStore) setDefaults() {
	*s = HTTPStore{Form: FormPath, AutocertTimeout: defaultAutocertTimeout, Timeout: 2 * time.Second, Fetches: 64}
}

const defaultPrefix = "hellogate:"

func (s *RedisStore) setDefaults() {
	*s = RedisStore{Layout: LayoutPrime2, Prefix: defaultPrefix, Timeout: 2 * time.Second, Fetches: 64}
}

func (b *Backend) setDefaults() {
	*b = Backend{
		Balance:        RoundRobin,
		SendProxy:      SendProxyV2,
		ProxyTLVs:      []ProxyTLV{TLVAuthority, TLVALPN, TLVSSL, TLVUniqueID, TLVCRC32C},
		ConnectTimeout: 3 * time.Second,
		Retries:        2,
	}
}

func (r *Route) setDefaults() {
	*r = Route{Action: Terminate, Truncation: TruncationFIN}
}

// complete fills in the defaults that depend on what else was written.
func (c *Config) complete() {
	for i := range c.Stores {
		c.Stores[i].complete()
		c.Stores[i].Breaker.inherit(c.Breaker)
	}
	c.Permission.Breaker.inherit(c.Breaker)
	if len(c.Routes) == 0 && len(c.Backends) == 1 {
		c.Routes = []Route{{Action: Terminate, Truncation: TruncationFIN, Backend: c.BackendNames()[0]}}
	}
	for i := range c.Routes {
		c.Routes[i].TLS.inherit(c.TLS)
	}
	if c.Control.Socket == "" {
		c.Control.Socket = DefaultSocket()
	}
	if c.Control.Mode == 0 {
		c.Control.Mode = 0o600
		if c.Control.Group != "" {
			c.Control.Mode = 0o660
		}
	}
}

func (s *Store) complete() {
	switch {
	case s.Name != "":
	case s.HTTP != nil:
		s.Name = withoutQuery(s.HTTP.URL)
	case s.Dir != nil:
		s.Name = s.Dir.Path
	case s.Redis != nil:
		s.Name = s.Redis.defaultName()
	}
}

// inherit takes from parent what b does not say.
func (b *Breaker) inherit(parent Breaker) {
	if b.Failures == unset {
		b.Failures = parent.Failures
	}
	if b.Reset == unset {
		b.Reset = parent.Reset
	}
}

// inherit takes from parent what t does not say. An empty list of protocols
// says something, a nil one does not.
func (t *TLS) inherit(parent TLS) {
	if t.MinVersion == 0 {
		t.MinVersion = parent.MinVersion
	}
	if t.ALPN == nil {
		t.ALPN = parent.ALPN
	}
}

// DefaultSocket returns the path of the control socket when none is given:
// /run/hellogate/control.sock for root, else a file in the user's runtime
// folder, or, where the system gives users none, in a folder of the user's own
// below the one for temporary files.
func DefaultSocket() string {
	user := os.Geteuid()
	if user == 0 {
		return "/run/hellogate/control.sock"
	}
	if folder := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(folder) {
		return filepath.Join(folder, "hellogate", "control.sock")
	}
	if folder := fmt.Sprintf("/run/user/%d", user); isFolder(folder) {
		return filepath.Join(folder, "hellogate", "control.sock")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("hellogate-%d", user), "control.sock")
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
