// Package config reads the configuration file and the settings of the small
// case, fills in every default, and checks the result.
//
// The rule it guards: nothing starts on a configuration that was not understood
// whole. Unknown keys, wrong types and contradictions are problems, all of them
// are reported at once, each with its place in the file and its YAML path.
package config

import (
	"io/fs"
	"slices"
	"time"
)

// Config is a whole configuration with every default filled in. It is plain
// data: nothing in it is open or running, and it is not changed after Parse,
// Load or FromSmall returned it, but for the warnings that CheckFiles adds.
type Config struct {
	// Listeners are the addresses that are listened on. At least one.
	Listeners []Listener `yaml:"listeners"`
	// Limits bounds what connections may take.
	Limits Limits `yaml:"limits"`
	// TLS is what routes use that do not say otherwise.
	TLS TLS `yaml:"tls"`
	// SessionTickets is what routes use that do not say otherwise.
	SessionTickets SessionTickets `yaml:"session_tickets"`
	// Stores is where certificates come from. They are asked in order, and the
	// first that knows a name answers. At least one.
	Stores []Store `yaml:"stores"`
	// Breaker stops asking a store that keeps failing. Every store has one of
	// its own, and so has the permission service; this is what those use that do
	// not say otherwise.
	Breaker Breaker `yaml:"breaker"`
	// Cache holds what stores answered.
	Cache Cache `yaml:"cache"`
	// Lookups bounds how often stores are asked for names that they do not know.
	Lookups Lookups `yaml:"lookups"`
	// Permission is asked before any store whether a name may be looked up.
	Permission Permission `yaml:"permission"`
	// Prefetch are names that are fetched after the start. Accepted by
	// sni.Normalize. Empty, the default: none.
	Prefetch []string `yaml:"prefetch,names"`
	// Fallback is served to clients for whose name no certificate can be had.
	Fallback Fallback `yaml:"fallback"`
	// Backends is where the plaintext goes, by name. A name is up to 64
	// letters, digits, hyphens, underscores and dots.
	Backends map[string]Backend `yaml:"backends"`
	// Routes say what happens to a connection, by the name it asks for. When
	// none is written and there is exactly one backend, every name goes there.
	Routes []Route `yaml:"routes"`
	// Control is the Unix socket that commands talk to.
	Control Control `yaml:"control"`
	// Admin is a TCP address for monitoring.
	Admin Admin `yaml:"admin"`
	// Hooks calls a command when something happens to a certificate.
	Hooks Hooks `yaml:"hooks"`
	// Log says what is written to stderr.
	Log Log `yaml:"log"`

	// Warnings are for people, one line each: what is allowed and probably not
	// meant. It is not read from the file.
	Warnings []string `yaml:"-"`

	origin *origin
}

// Fallback is what clients get for whose name no certificate can be had. The
// zero value is none: they get an alert.
type Fallback struct {
	// CertFile is the PEM chain served, leaf first. Empty, the default: none.
	CertFile string `yaml:"cert_file"`
	// KeyFile is its private key; required with CertFile.
	KeyFile string `yaml:"key_file"`
	// On says when it is served. Default [unknown, failure].
	On []Occasion `yaml:"on"`
	// Backend takes the connections that were served the fallback. Default: the
	// route's.
	Backend string `yaml:"backend"`
}

// Control is the Unix socket that commands talk to.
type Control struct {
	// Socket is its path. Default: DefaultSocket().
	Socket string `yaml:"socket"`
	// Mode is who may open it, octal. Default "0600", with a group "0660".
	Mode fs.FileMode `yaml:"mode"`
	// Group is the name or number of the group that owns it. Optional.
	Group string `yaml:"group"`
	// ReadSocket is a second one that takes no command that changes anything.
	ReadSocket ReadSocket `yaml:"read_socket"`
	// PeterSSLers answers peter_sslers' requests to flush.
	PeterSSLers PeterSSLers `yaml:"peter_sslers"`
}

// ReadSocket is a Unix socket for monitoring, which changes nothing. The zero
// value is none.
type ReadSocket struct {
	// Path is its path. Empty, the default: there is none.
	Path string `yaml:"path"`
	// Mode is who may open it, octal. Default "0600", with a group "0660".
	Mode fs.FileMode `yaml:"mode"`
	// Group is the name or number of the group that owns it. Optional.
	Group string `yaml:"group"`
}

// Admin is a TCP address where /metrics, /healthz, /readyz and /status are
// answered, to whoever reaches it. The zero value is none.
type Admin struct {
	// Address is host:port. Empty, the default: nothing is listened on.
	Address string `yaml:"address"`
}

// PeterSSLers is a TCP address where peter_sslers' expire and status requests
// are answered, as its own client of nginx answers them. The zero value is none.
type PeterSSLers struct {
	// Address is host:port. Empty, the default: nothing is listened on. Anything
	// but loopback needs Username and PasswordFile.
	Address string `yaml:"address"`
	// Username and PasswordFile are what a request must show, by basic
	// authentication. Optional on loopback, but only together.
	Username string `yaml:"username"`
	// PasswordFile holds the password of Username; it is read again when it
	// changes.
	PasswordFile string `yaml:"password_file"`
}

// Hooks calls a command with what happens to certificates, one event a call.
type Hooks struct {
	// Command is the whole path of a program and its arguments; no shell reads
	// it. Empty, the default: none is called.
	Command []string `yaml:"command"`
	// Events are those that it is called for. Empty, the default: all.
	Events []Event `yaml:"events"`
	// Timeout is how long one call may take before it is killed. Default 30s.
	Timeout time.Duration `yaml:"timeout"`
}

// Log says what is written to stderr.
type Log struct {
	// Level is the least that is written. Default "info".
	Level LogLevel `yaml:"level"`
	// Format is "json", the default, or "text" for people.
	Format LogFormat `yaml:"format"`
	// Access writes one line for each connection. Default true.
	Access bool `yaml:"access"`
}

// Serves reports whether the fallback certificate is served on occasion.
func (f Fallback) Serves(occasion Occasion) bool {
	return f.CertFile != "" && slices.Contains(f.On, occasion)
}
