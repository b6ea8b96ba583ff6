package config

import (
	"net/netip"
	"time"

	"hellogate/sni"
)

// Store is one place that certificates come from: exactly one of HTTP, Dir,
// Redis and ACME is set.
type Store struct {
	// Name is what logs, status and metrics call it; no two stores have the
	// same. Default: its URL without the query, or its path; of Redis its URL
	// without the user, and with its Addresses; of ACME the first of its
	// Directories.
	Name string `yaml:"name"`
	// HTTP is a certificate server.
	HTTP *HTTPStore `yaml:"http"`
	// Dir is a directory of PEM files.
	Dir *DirStore `yaml:"dir"`
	// Redis is a Redis server, or several that serve the same.
	Redis *RedisStore `yaml:"redis"`
	// ACME is a certificate authority, or several.
	ACME *ACMEStore `yaml:"acme"`
	// Names are those that it is asked for. Empty, the default: every name.
	Names []sni.Pattern `yaml:"names"`
	// Breaker is Config.Breaker with what this store says otherwise.
	Breaker Breaker `yaml:"breaker"`
	// WriteBack puts what a later store answered into this one, a Dir or Redis.
	// Default false.
	WriteBack bool `yaml:"write_back"`
	// Allow are the addresses that its answers may send connections to, besides
	// configured backends; masked, IPv4 ones as IPv4. Empty, the default: none.
	Allow []netip.Prefix `yaml:"allow"`
}

// HTTPStore is a certificate server that is asked over HTTP.
type HTTPStore struct {
	// URL is https://, http:// or unix:///path/of/socket. Required.
	URL string `yaml:"url"`
	// Form is how a name is asked for. Default "path".
	Form Form `yaml:"form"`
	// Autocert asks peter_sslers for a certificate that it obtains if it has
	// none, and needs Form "peter_sslers". Default false.
	Autocert bool `yaml:"autocert"`
	// AutocertTimeout bounds one request that obtains a certificate. No handshake
	// waits that long: it is there for the next one. Default 1m.
	AutocertTimeout time.Duration `yaml:"autocert_timeout"`
	// TokenFile holds the bearer token; it is read again when it changes.
	// Optional; the environment's HELLOGATE_STORE_TOKEN is used without it.
	TokenFile string `yaml:"token_file"`
	// Username and PasswordFile are for basic authentication, in place of a
	// token. Optional, but only together.
	Username string `yaml:"username"`
	// PasswordFile holds the password of Username.
	PasswordFile string `yaml:"password_file"`
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

// DirStore is a directory of PEM files.
type DirStore struct {
	// Path is the directory. Required.
	Path string `yaml:"path"`
}

// RedisStore is a Redis server, a master that Sentinels know, or a Cluster.
type RedisStore struct {
	// URL is redis://[user@]host[:port][/db], the same with rediss:// for TLS, or
	// unix:///path/of/socket[?db=number]. It holds no password. The port is 6379
	// (of a Sentinel 26379) and the database 0 unless it says otherwise. With
	// Addresses it has no host, as in rediss:///9, or is empty, which is
	// redis:///0; else it is required.
	URL string `yaml:"url"`
	// Addresses are the Sentinels, or nodes of the Cluster: host:port. Any of
	// them that can be reached will do. Empty, the default: the one of URL.
	Addresses []string `yaml:"addresses"`
	// SentinelMaster is the name of the master that Sentinels are asked for.
	// Empty, the default: there are none.
	SentinelMaster string `yaml:"sentinel_master"`
	// Cluster says that a Redis Cluster is asked. Default false.
	Cluster bool `yaml:"cluster"`
	// Layout is how certificates lie there. Default "prime2".
	Layout Layout `yaml:"layout"`
	// Prefix is what keys begin with in Layout "json". Default "hellogate:".
	Prefix string `yaml:"prefix"`
	// Username is whom to authenticate as, where URL does not say. Empty, the
	// default: Redis' default user.
	Username string `yaml:"username"`
	// PasswordFile holds the password. Optional; the environment's
	// HELLOGATE_REDIS_PASSWORD is used without it.
	PasswordFile string `yaml:"password_file"`
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
	// Plaintext allows redis:// to other machines, where private keys then cross
	// the network unencrypted. Default false; loopback needs no permission.
	Plaintext bool `yaml:"plaintext"`
	// Timeout bounds one look-up from dialling to the last byte. Default 2s.
	Timeout time.Duration `yaml:"timeout"`
	// Fetches is how many look-ups run at once. Default 64.
	Fetches int `yaml:"fetches"`
}

// Breaker says when a failing store, or the permission service, is no longer
// asked, and for how long.
type Breaker struct {
	// Failures is how many in a row open the breaker. Default 5.
	Failures int `yaml:"failures"`
	// Reset is how long it stays open before one request probes. Default 30s.
	Reset time.Duration `yaml:"reset"`
}
