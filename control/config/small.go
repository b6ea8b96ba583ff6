package config

import (
	"strings"
)

// Small is the small case: what the flags of run, or their environment
// variables, say instead of a file. Everything is text as it was given; empty
// is not given.
type Small struct {
	// Listen is --listen: addresses to listen on. At least one.
	Listen []string
	// Backends is --backend: the servers of the one backend. At least one.
	Backends []string
	// Store is --store: a URL or a folder. Required.
	Store string
	// SendProxy is --send-proxy: off, v1 or v2. Default v2.
	SendProxy string
	// TokenFile is --token-file, of an HTTP store, CAFile is --ca-file, of one
	// that is asked over TLS.
	TokenFile, CAFile string
	// FallbackCert and FallbackKey are --fallback-cert and --fallback-key.
	FallbackCert, FallbackKey string
	// Control is --control, the path of the control socket.
	Control string
	// LogLevel and LogFormat are --log-level and --log-format.
	LogLevel, LogFormat string
}

// smallBackend is what the one backend of the small case is called.
const smallBackend = "default"

var flagNames = map[string]string{
	"listeners":                          "--listen",
	"listeners[].address":                "--listen",
	"backends":                           "--backend",
	"backends.default":                   "--backend",
	"backends.default.servers":           "--backend",
	"backends.default.servers[].address": "--backend",
	"backends.default.send_proxy":        "--send-proxy",
	"stores":                             "--store",
	"stores[]":                           "--store",
	"stores[].dir.path":                  "--store",
	"stores[].http.url":                  "--store",
	"stores[].http.token_file":           "--token-file",
	"stores[].http.ca_file":              "--ca-file",
	"stores[].redis.url":                 "--store",
	"stores[].redis.ca_file":             "--ca-file",
	"fallback":                           "--fallback-cert",
	"fallback.cert_file":                 "--fallback-cert",
	"fallback.key_file":                  "--fallback-key",
	"control.socket":                     "--control",
	"log.level":                          "--log-level",
	"log.format":                         "--log-format",
}

// FromSmall builds the configuration of the small case. The notes are to be
// said at start: what was decided that the user did not ask for. The error is
// Problems, which name the flags.
func FromSmall(small Small) (config *Config, notes []string, err error) {
	config = &Config{origin: &origin{flags: flagNames}}
	config.setDefaults()
	check := checker{Config: config, faults: newFaults()}
	for _, address := range small.Listen {
		config.Listeners = append(config.Listeners, Listener{Address: address})
	}
	check.takeStore(small)
	config.Fallback.CertFile, config.Fallback.KeyFile = small.FallbackCert, small.FallbackKey
	config.Control.Socket = small.Control
	take(&check, "log.level", small.LogLevel, &config.Log.Level)
	take(&check, "log.format", small.LogFormat, &config.Log.Format)
	check.takeBackends(small)
	config.complete()
	check.all()
	if len(small.Backends) > 0 && small.SendProxy == "" {
		notes = append(notes, "--backend without --send-proxy: the backend gets a PROXY protocol v2 header; --send-proxy off sends none")
	}
	if err := check.problems.err(); err != nil {
		return nil, nil, err
	}
	return config, notes, nil
}

func (c *checker) takeBackends(small Small) {
	if len(small.Backends) == 0 {
		return
	}
	var backend Backend
	backend.setDefaults()
	for _, address := range small.Backends {
		backend.Servers = append(backend.Servers, Server{Address: address, Weight: 1})
	}
	take(c, "backends.default.send_proxy", small.SendProxy, &backend.SendProxy)
	c.Backends = map[string]Backend{smallBackend: backend}
}

func (c *checker) takeStore(small Small) {
	if small.Store == "" {
		return
	}
	var store Store
	store.setDefaults()
	switch {
	case isRedisURL(small.Store):
		store.Redis = new(RedisStore)
		store.Redis.setDefaults()
		store.Redis.URL, store.Redis.CAFile = small.Store, small.CAFile
		c.refuse("stores[0].http.token_file", small.TokenFile, "a token is for an HTTP store; Redis has a password: HELLOGATE_REDIS_PASSWORD in the environment")
	case strings.Contains(small.Store, "://"):
		store.HTTP = new(HTTPStore)
		store.HTTP.setDefaults()
		store.HTTP.URL, store.HTTP.TokenFile, store.HTTP.CAFile = small.Store, small.TokenFile, small.CAFile
	default:
		store.Dir = &DirStore{Path: small.Store}
		c.refuse("stores[0].http.token_file", small.TokenFile, "a folder needs no token")
		c.refuse("stores[0].http.ca_file", small.CAFile, "a folder is not asked over TLS")
	}
	c.Stores = []Store{store}
}

// refuse reports a setting that has no place beside the others.
func (c *checker) refuse(path, text, message string) {
	if text != "" {
		c.problem(path, "%s", message)
	}
}

// take reads one of a few choices into target, which keeps its default when
// text is empty.
func take[T interface {
	~string
	choice
}](c *checker, path, text string, target *T) {
	if text == "" {
		return
	}
	if err := checkChoice(*target, text); err != nil {
		c.problem(path, "%v", err)
		return
	}
	*target = T(text)
}
