package config

import (
	"time"

	"hellogate/sni"
)

// ACMEStore obtains certificates from a certificate authority, by ACME (RFC
// 8555), and renews them by itself.
type ACMEStore struct {
	// Directories are the CAs' directory URLs, https:// or, on loopback,
	// http://. The next is taken when there were too many errors with one.
	// Default: Let's Encrypt's.
	Directories []string `yaml:"directories"`
	// CAFile holds the PEM certificates that the directories' own TLS is
	// verified with. Default: the system's.
	CAFile string `yaml:"ca_file"`
	// Contact is the mail address of the account. Optional.
	Contact string `yaml:"contact"`
	// AcceptTerms says that the CAs' terms of service are accepted. It must be
	// true.
	AcceptTerms bool `yaml:"accept_terms"`
	// Names are obtained after the start, and renewed for ever: whole names, or
	// *.NAME, which needs DNS01. Empty, the default: none.
	Names []sni.Pattern `yaml:"names"`
	// OnDemand are the names that are ordered when the first client asks for
	// one. Empty, the default: those that Config.Permission allows, and none
	// without that.
	OnDemand []sni.Pattern `yaml:"on_demand"`
	// Storage is a folder for accounts, certificates and what is under way,
	// which several processes and machines may share; it is made when it is not
	// there. An absolute path. Default "/var/lib/hellogate/acme".
	Storage string `yaml:"storage"`
	// KeyTypes are those of a name's certificates, of which it gets one for
	// each. Default [p256].
	KeyTypes []KeyType `yaml:"key_types"`
	// Profile is the CA's certificate profile. Empty, the default: the CA's own.
	Profile string `yaml:"profile"`
	// EAB binds a new account to one that the CA's customer has already.
	EAB EAB `yaml:"eab"`
	// HTTP01 is host:port of a listener for HTTP-01, which redirects everything
	// else to https. Empty, the default: there is none.
	HTTP01 string `yaml:"http01"`
	// DNS01 is the whole path of a program and its arguments, which sets and
	// removes TXT records; no shell reads it. Empty, the default: none.
	DNS01 []string `yaml:"dns01,words"`
	// DNS01Wait is how long after the program set a record the CA is told.
	// Default 0.
	DNS01Wait time.Duration `yaml:"dns01_wait"`
	// Wait is how long the first client of a name waits for its order. Default
	// 10s.
	Wait time.Duration `yaml:"wait"`
	// Message is the whole path of a program and its arguments, which is called
	// as mod_md calls its MDMessageCmd; no shell reads it. Empty, the default:
	// none.
	Message []string `yaml:"message,words"`
	// Limits bounds what is ordered.
	Limits ACMELimits `yaml:"limits"`
}

// ACMELimits bounds what an ACME store orders.
type ACMELimits struct {
	// Rate is how many orders are begun a second. Default 1.
	Rate int `yaml:"rate"`
	// Burst is how many there may be at once after a pause. Default 10.
	Burst int `yaml:"burst"`
	// AtOnce is how many are under way at most. Default 8.
	AtOnce int `yaml:"at_once"`
	// PerDomain is how many certificates for new names are ordered a week below
	// one registered domain, as example.co.uk; 0 is no limit. Default 50.
	PerDomain int `yaml:"per_domain"`
}

// EAB is an external account binding (RFC 8555, section 7.3.4). The zero value
// is none.
type EAB struct {
	// KID is the CA's name of the key. Required with HMACFile.
	KID string `yaml:"kid"`
	// HMACFile holds the key in base64url, as CAs hand it out. Required with KID.
	HMACFile string `yaml:"hmac_file"`
}

// KeyType is what the key of a certificate is.
type KeyType string

// ECDSA on P-256 or P-384, or RSA by bits.
const (
	KeyP256    KeyType = "p256"
	KeyP384    KeyType = "p384"
	KeyRSA2048 KeyType = "rsa2048"
	KeyRSA3072 KeyType = "rsa3072"
	KeyRSA4096 KeyType = "rsa4096"
)

func (KeyType) choices() []string { return []string{"p256", "p384", "rsa2048", "rsa3072", "rsa4096"} }

const (
	letsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	letsEncryptStaging = "acme-staging-v02.api.letsencrypt.org"
)

func (s *ACMEStore) setDefaults() {
	*s = ACMEStore{
		Directories: []string{letsEncrypt},
		Storage:     "/var/lib/hellogate/acme",
		KeyTypes:    []KeyType{KeyP256},
		Wait:        10 * time.Second,
		Limits:      ACMELimits{Rate: 1, Burst: 10, AtOnce: 8, PerDomain: 50},
	}
}

// ordersOnDemand reports whether a client can have s order a certificate.
func (c *Config) ordersOnDemand(s *ACMEStore) bool {
	return len(s.OnDemand) > 0 || c.Permission.URL != ""
}

// toSpare is what a handshake has left when its certificate comes at last.
const toSpare = time.Second

// ACMEWait is how long a client's handshake waits for the order of s: as long as
// it is to, and its own time allows.
func (c *Config) ACMEWait(s *ACMEStore) time.Duration {
	return max(min(s.Wait, c.Limits.HandshakeTimeout-toSpare), 0)
}

// completeLookups has clients wait for orders, where one may be waited for and
// nothing else is written.
func (c *Config) completeLookups() {
	for _, store := range c.Stores {
		if store.ACME == nil || !c.ordersOnDemand(store.ACME) {
			continue
		}
		if _, own := c.origin.places["cache.lookup_timeout"]; !own {
			c.Cache.LookupTimeout = max(c.Cache.LookupTimeout, c.ACMEWait(store.ACME))
		}
	}
}
