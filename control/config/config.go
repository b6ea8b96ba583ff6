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
// Load or FromSmall returned it.
type Config struct {
	// Listeners are the addresses that are listened on. At least one.
	Listeners []Listener `yaml:"listeners"`
	// Limits bounds what connections may take.
	Limits Limits `yaml:"limits"`
	// TLS is what routes use that do not say otherwise.
	TLS TLS `yaml:"tls"`
	// Stores is where certificates come from. Exactly one in this version.
	Stores []Store `yaml:"stores"`
	// Breaker stops asking a store that keeps failing.
	Breaker Breaker `yaml:"breaker"`
	// Cache holds what stores answered.
	Cache Cache `yaml:"cache"`
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

// Store is one place that certificates come from: exactly one of HTTP and Dir
// is set.
type Store struct {
	// Name is what logs, status and metrics call it. Default: its URL without
	// the query, or its path.
	Name string `yaml:"name"`
	// HTTP is a certificate server.
	HTTP *HTTPStore `yaml:"http"`
	// Dir is a directory of PEM files.
	Dir *DirStore `yaml:"dir"`
}

// HTTPStore is a certificate server that is asked over HTTP.
type HTTPStore struct {
	// URL is https://, http:// or unix:///path/of/socket. Required.
	URL string `yaml:"url"`
	// Form is how a name is asked for. Default "path".
	Form Form `yaml:"form"`
	// TokenFile holds the bearer token; it is read again when it changes.
	// Optional; the environment's HELLOGATE_STORE_TOKEN is used without it.
	TokenFile string `yaml:"token_file"`
	// CAFile holds the PEM certificates that the server's is verified with.
	// Default: the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the client certificate, PEM, shown to the
	// server. Optional, but only together.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the private key of CertFile.
	KeyFile string `yaml:"key_file"`
	// InsecureSkipVerify trusts whoever answers. Default false.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify"`
	// Plaintext allows http:// to other machines, where private keys then cross
	// the network unencrypted. Default false; loopback needs no permission.
	Plaintext bool `yaml:"plaintext"`
	// Timeout bounds one request from dialling to the last byte. Default 2s.
	Timeout time.Duration `yaml:"timeout"`
	// Fetches is how many requests run at once. Default 64.
	Fetches int `yaml:"fetches"`
}

// DirStore is a directory of NAME.crt and NAME.key files.
type DirStore struct {
	// Path is the directory. Required.
	Path string `yaml:"path"`
}

// Breaker says when a failing store is no longer asked, and for how long.
type Breaker struct {
	// Failures is how many in a row open the breaker. Default 5.
	Failures int `yaml:"failures"`
	// Reset is how long it stays open before one request probes. Default 30s.
	Reset time.Duration `yaml:"reset"`
}

// Cache says how much of what stores answered is held, and how long.
type Cache struct {
	// Size bounds the memory it takes, 32m to 32g. Default 512m.
	Size Size `yaml:"size"`
	// MinTTL is the least time between two fetches of one name. Default 5m.
	MinTTL time.Duration `yaml:"min_ttl"`
	// RenewBefore is how long before its end a certificate is fetched anew.
	// 0, written "auto", the default: 7 days, or a third of its lifetime if
	// that is less.
	RenewBefore time.Duration `yaml:"renew_before,auto"`
	// TTL is how long a certificate is used before it is fetched anew, whatever
	// the store says. 0, the default: what the store says, else RenewBefore.
	TTL time.Duration `yaml:"ttl"`
	// NegativeTTL is how long a store's "no" is remembered. Default 30s.
	NegativeTTL time.Duration `yaml:"negative_ttl"`
	// WithdrawAfter is how long after a first "no" for a cached name a second
	// one drops it. Default 10m.
	WithdrawAfter time.Duration `yaml:"withdraw_after"`
	// LookupTimeout bounds what a handshake waits for a certificate. Default 5s.
	LookupTimeout time.Duration `yaml:"lookup_timeout"`
	// SANAliases says whether a certificate answers for its other names too.
	// Default "verified".
	SANAliases SANAliases `yaml:"san_aliases"`
	// AliasCAFile holds the PEM roots that "verified" means. Default: the
	// system's.
	AliasCAFile string `yaml:"alias_ca_file"`
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
