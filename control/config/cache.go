package config

import "time"

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
	// LookupTimeout bounds what a handshake waits for a certificate. Default 5s,
	// or as long as Config.ACMEWait says where a store orders on demand.
	LookupTimeout time.Duration `yaml:"lookup_timeout"`
	// SANAliases says whether a certificate answers for its other names too.
	// Default "verified".
	SANAliases SANAliases `yaml:"san_aliases"`
	// AliasCAFile holds the PEM roots that "verified" means. Default: the
	// system's.
	AliasCAFile string `yaml:"alias_ca_file"`
	// Wildcards lets a cached *.example.com answer for every name one label
	// below example.com. Default false.
	Wildcards bool `yaml:"wildcards"`
	// Dir is a directory that what is cached is kept in across restarts; it is
	// made when it is not there. Empty, the default: none.
	Dir string `yaml:"dir"`
	// DirKeyFile holds the key that what is in Dir is encrypted with. Empty, the
	// default: it is not.
	DirKeyFile string `yaml:"dir_key_file"`
	// RouteTTL is how long a store's answer says where connections go. Default
	// 60s.
	RouteTTL time.Duration `yaml:"route_ttl"`
}

// Lookups bounds how often a second stores may answer that they do not know a
// name. Names that they know cost nothing.
type Lookups struct {
	// Rate is how many such answers there may be for all clients together; 0 is
	// no limit. Default 500.
	Rate int `yaml:"rate"`
	// Burst is how many there may be at once after a pause, at least 1 where
	// there is a Rate. Default 5000.
	Burst int `yaml:"burst"`
	// PerClient is Rate for one address, of IPv6 for one /64. Default 20.
	PerClient int `yaml:"per_client"`
	// PerClientBurst is Burst for it. Default 200.
	PerClientBurst int `yaml:"per_client_burst"`
}

// Permission is a service that is asked, before any store, whether a name may
// be looked up: a GET of URL with domain=NAME in its query, to which any 2xx is
// yes. The zero URL is none.
type Permission struct {
	// URL is https://, http:// or unix:///path/of/socket. A query in it is kept.
	// Empty, the default: nobody is asked.
	URL string `yaml:"url"`
	// Timeout bounds one request from dialling to the last byte. Default 2s.
	Timeout time.Duration `yaml:"timeout"`
	// CAFile holds the PEM certificates that the service's is verified with.
	// Default: the system's.
	CAFile string `yaml:"ca_file"`
	// Plaintext allows http:// to other machines. Default false; loopback needs
	// no permission.
	Plaintext bool `yaml:"plaintext"`
	// Breaker is Config.Breaker with what is said otherwise of the service.
	Breaker Breaker `yaml:"breaker"`
}
