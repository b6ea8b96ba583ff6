package config

import "time"

// TLS is how clients are spoken to. In a route, what is not written is taken
// from the top-level tls section, and Config holds the outcome.
type TLS struct {
	// MinVersion is the oldest version accepted, "1.2" or "1.3". Default "1.2".
	MinVersion TLSVersion `yaml:"min_version"`
	// ALPN lists the protocols that are negotiated, best first. Empty, the
	// default: none is, and every client is accepted. With a list, a client
	// that offers only others is refused.
	ALPN []string `yaml:"alpn"`
	// ClientAuth says which certificates clients show.
	ClientAuth ClientAuth `yaml:"client_auth"`
}

// ClientAuth says which certificates clients show. In a route, what is not
// written is taken from the top level; but a route with a CAFile of its own takes
// no CRLFile and nothing of Allow from there, which were meant for another
// authority.
type ClientAuth struct {
	// Mode is "off", the default, "request" or "require".
	Mode ClientAuthMode `yaml:"mode"`
	// CAFile holds the PEM certificates of the authorities that clients'
	// certificates are verified with. Required unless Mode is "off". It is read
	// again when it changes.
	CAFile string `yaml:"ca_file"`
	// CRLFile holds their revocation lists, PEM or DER. It is read again when it
	// changes. Empty, the default: none is looked at.
	CRLFile string `yaml:"crl_file"`
	// Allow says whose certificates are good, of those that verify.
	Allow ClientAllow `yaml:"allow"`
}

// ClientAllow names clients, by what their certificate says; one of all that is
// listed must be in it. The zero value allows every one that verifies. In a
// route, any of the lists, even an empty one, replaces all of the top level's.
type ClientAllow struct {
	// CN are subjects' common names, compared byte for byte.
	CN []string `yaml:"cn"`
	// DNS are DNS names among the subject alternative names. Accepted by
	// sni.Normalize.
	DNS []string `yaml:"dns,hosts"`
	// URI are URIs among the subject alternative names, compared byte for byte.
	URI []string `yaml:"uri"`
	// SPKISHA256 are SHA-256 hashes of the public key (its SubjectPublicKeyInfo).
	SPKISHA256 []Hash `yaml:"spki_sha256"`
}

// SessionTickets says how clients resume sessions. In a route, what is not
// written is taken from the top-level session_tickets section, and Config holds
// the outcome.
type SessionTickets struct {
	// Enabled hands them out. Default on.
	Enabled Switch `yaml:"enabled"`
	// KeyFile holds the keys, for several machines that take each other's tickets:
	// the first encrypts, all decrypt. It is read again when it changes. Empty,
	// the default: keys of this process alone, which it makes itself.
	KeyFile string `yaml:"key_file"`
	// Rotate is how often a new key is made where there is no KeyFile. Default
	// 12h.
	Rotate time.Duration `yaml:"rotate"`
}
