package config

import (
	"crypto/tls"
	"fmt"
	"io/fs"
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
		Connections:         100_000,
		Handshakes:          20_000,
		HelloTimeout:        5 * time.Second,
		HelloBytes:          64 << 10,
		HandshakeTimeout:    10 * time.Second,
		AlertTimeout:        time.Second,
		IdleTimeout:         time.Hour,
		HalfCloseTimeout:    5 * time.Minute,
		LifeJitter:          10,
		TCPKeepalive:        15 * time.Second,
		DrainTimeout:        30 * time.Second,
		UpgradeDrainTimeout: day,
	}
	c.TLS = TLS{MinVersion: tls.VersionTLS12, ALPN: []string{}, ClientAuth: ClientAuth{Mode: ClientAuthOff}}
	c.SessionTickets = SessionTickets{Enabled: SwitchOn, Rotate: defaultRotate}
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

// complete fills in the defaults that depend on what else was written.
func (c *Config) complete() {
	for i := range c.Stores {
		c.Stores[i].complete()
		c.Stores[i].Breaker.inherit(c.Breaker)
	}
	c.Permission.Breaker.inherit(c.Breaker)
	c.completeLookups()
	if len(c.Routes) == 0 && len(c.Backends) == 1 {
		c.Routes = make([]Route, 1)
		c.Routes[0].setDefaults()
		c.Routes[0].Backend = c.BackendNames()[0]
	}
	for i := range c.Routes {
		c.Routes[i].inherit(c)
	}
	for name, backend := range c.Backends {
		if _, own := c.origin.places[child("backends", name)+".dial_timeout"]; !own {
			backend.DialTimeout = max(backend.DialTimeout, backend.ConnectTimeout)
			c.Backends[name] = backend
		}
	}
	for i := range c.Listeners {
		if c.Listeners[i].Name == "" {
			c.Listeners[i].Name = c.Listeners[i].Address
		}
	}
	if c.Limits.BurstPerIP == 0 {
		c.Limits.BurstPerIP = c.Limits.RatePerIP
	}
	if c.Control.Socket == "" {
		c.Control.Socket = DefaultSocket()
	}
	c.Control.Mode = socketMode(c.Control.Mode, c.Control.Group)
	c.Control.ReadSocket.Mode = socketMode(c.Control.ReadSocket.Mode, c.Control.ReadSocket.Group)
}

// socketMode returns who may open a socket: what was written, else its owner and,
// where there is one, its group.
func socketMode(written fs.FileMode, group string) fs.FileMode {
	switch {
	case written != 0:
		return written
	case group != "":
		return 0o660
	}
	return 0o600
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
	case s.ACME != nil && len(s.ACME.Directories) > 0:
		s.Name = withoutQuery(s.ACME.Directories[0])
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
