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

	"hellogate/sni"
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
	// Hooks calls a command when something happens to a certificate.
	Hooks Hooks `yaml:"hooks"`
	// Log says what is written to stderr.
	Log Log `yaml:"log"`

	// Warnings are for people, one line each: what is allowed and probably not
	// meant. It is not read from the file.
	Warnings []string `yaml:"-"`

	origin *origin
}

// Listener is one address that is listened on.
type Listener struct {
	// Address is host:port. An empty host is every address of the machine;
	// port 0 takes a free one. Required.
	Address string `yaml:"address"`
	// DefaultName is the name used for a client that sends none. Optional:
	// without it such a client is refused. Accepted by sni.Normalize.
	DefaultName string `yaml:"default_name,name"`
}

// Limits bounds what connections may take: how many there are, and how long
// each stage may last.
type Limits struct {
	// Connections is how many may be open at once. Default 100000.
	Connections int `yaml:"connections"`
	// Handshakes is how many of them may be in the middle of their handshake,
	// counted from when their certificate was found: those that wait for a store
	// do not count, so that one that hangs can't fill it. Default 20000.
	Handshakes int `yaml:"handshakes"`
	// HelloTimeout is how long a client has to send its ClientHello. Default 5s.
	HelloTimeout time.Duration `yaml:"hello_timeout"`
	// HelloBytes is how large a ClientHello may be, at most 64k. Default 64k.
	HelloBytes Size `yaml:"hello_bytes"`
	// HandshakeTimeout is how long the handshake may take once the ClientHello
	// is complete. Default 10s.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// IdleTimeout is how long a connection may go without a byte in either
	// direction. Default 1h.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// HalfCloseTimeout is IdleTimeout for a connection that one side has
	// finished sending on. Default 5m.
	HalfCloseTimeout time.Duration `yaml:"half_close_timeout"`
	// DrainTimeout is how long open connections may go on after SIGTERM; 0
	// ends them at once. Default 30s.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// TLS is how clients are spoken to. In a route, what is not written is taken
// from the top-level tls section, and Config holds the outcome.
type TLS struct {
	// MinVersion is the oldest version accepted, "1.2" or "1.3". Default "1.2".
	MinVersion TLSVersion `yaml:"min_version"`
	// ALPN lists the protocols that are negotiated, best first. Empty, the
	// default: none is, and every client is accepted. With a list, a client
	// that offers only others is refused.
	ALPN []string `yaml:"alpn"`
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

// Backend is a pool of servers.
type Backend struct {
	// Servers are the addresses in it. At least one.
	Servers []Server `yaml:"servers"`
	// Balance is how one is picked. Default "round_robin".
	Balance Balance `yaml:"balance"`
	// SendProxy is the version of PROXY header sent first. Default "v2".
	SendProxy SendProxy `yaml:"send_proxy"`
	// ProxyTLVs lists what a v2 header also carries. Default all:
	// [authority, alpn, ssl, unique_id, crc32c].
	ProxyTLVs []ProxyTLV `yaml:"proxy_tlvs"`
	// ConnectTimeout bounds one attempt to reach a server. Default 3s.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// Retries is how many more servers are tried after a first one failed,
	// 0 to 100. Default 2.
	Retries int `yaml:"retries"`
}

// Server is one address in a backend.
type Server struct {
	// Address is host:port. Required.
	Address string `yaml:"address"`
}

// Route says what happens to connections that match.
type Route struct {
	// Match says which those are.
	Match Match `yaml:"match"`
	// Action is what is done with them. Default "terminate".
	Action Action `yaml:"action"`
	// Backend names an entry of Config.Backends. Required to terminate.
	Backend string `yaml:"backend"`
	// TLS is Config.TLS with what this route says otherwise.
	TLS TLS `yaml:"tls"`
	// Truncation is how a client's end of stream without close_notify is passed
	// on. Default "fin".
	Truncation Truncation `yaml:"truncation"`
}

// Match is the condition of a route; all that is set must hold.
type Match struct {
	// Names are the names it takes. Empty, the default: every name, and clients
	// that send none.
	Names []sni.Pattern `yaml:"names"`
	// ALPN takes clients that offer one of these protocols. Empty, the default:
	// all clients.
	ALPN []string `yaml:"alpn"`
}

// Control is the Unix socket that commands talk to.
type Control struct {
	// Socket is its path. Default: DefaultSocket().
	Socket string `yaml:"socket"`
	// Mode is who may open it, octal. Default "0600", with a group "0660".
	Mode fs.FileMode `yaml:"mode"`
	// Group is the name or number of the group that owns it. Optional.
	Group string `yaml:"group"`
	// PeterSSLers answers peter_sslers' requests to flush.
	PeterSSLers PeterSSLers `yaml:"peter_sslers"`
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

// Carries reports whether the header that b's servers get has the TLV.
func (b Backend) Carries(tlv ProxyTLV) bool {
	return b.SendProxy == SendProxyV2 && slices.Contains(b.ProxyTLVs, tlv)
}
