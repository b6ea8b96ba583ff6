// Package clientauth decides which client certificates are good enough: signed by an authority of a file, not on a
// revocation list, of a name or key that is allowed.
//
// It guards the rule that every one of these holds for every connection, whether its session is resumed or not, and by
// the files as they are now: crypto/tls asks for no certificate when it resumes, and a session may be days old.
//
// What a certificate may cost before it is refused is bounded by crypto/tls and crypto/x509: a Certificate message of
// 256 KiB, RSA keys of 8192 bits, 100 signatures checked in the search for a chain. Behind that, a revocation list costs at
// most a signature more for each certificate of the chain, and mostly none.
package clientauth

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Mode says whether clients are asked for certificates.
type Mode uint8

// The modes.
const (
	Off     Mode = iota // none is asked for
	Request             // a client may have none; one that it has must be good
	Require             // a client must have one, and it must be good
)

func (m Mode) String() string { return [...]string{"off", "request", "require"}[m] }

// Options is what a policy consists of. With mode Off nothing else counts.
type Options struct {
	Mode Mode
	// CAFile holds the authorities, PEM certificates. They are also what clients are told to have certificates of.
	// Required.
	CAFile string
	// CRLFile holds revocation lists (RFC 5280, section 5), several in PEM or one in DER. Empty: nothing is revoked.
	// Otherwise each certificate of a chain, but the authority's own, must have a list by its issuer whose signature is
	// good and whose next update is not overdue: where there is none, the certificate is refused, as in HAProxy and nginx.
	// Lists that depend on others (delta, indirect, partitioned) are errors.
	CRLFile string
	Allow   Allow
}

// Allow lists whose certificates pass: those of which one of the lists has something. With none all that verify do.
type Allow struct {
	CN   []string // the subject's common name, as it is written
	DNS  []string // a DNS name of the subject alternative names; *.x: any of one label more
	URI  []string // a URI of theirs, whole
	SPKI []string // the SHA-256 of the public key (RFC 7469, section 2.4) in hex or base64; "sha256/" may come before it
}

// Policy is how one kind of clients is judged. The nil Policy asks for no certificate. All methods may be called by anyone
// at any time.
type Policy struct {
	mode   Mode
	allow  allow
	rules  string // mode and allow in short
	source *source
}

// New returns the policy for options, nil for mode [Off]. Its files are read once; [Set] has them read again. The error says
// which option makes no sense, or what is wrong with a file.
func New(o Options) (*Policy, error) { return new(Set).Policy(o) }

// Configure has config ask for certificates and judge them: it sets ClientAuth, ClientCAs and VerifyConnection. It
// returns what config was made with. When that is not what Trust returns any more, a new config must take its place: until
// then clients of authorities that were added are refused, and clients are told the old list. Whoever the files have no
// good of any more is refused in any case.
//
// The alert of a client without a certificate is certificate_required (handshake_failure in TLS 1.2), of one with a
// certificate that does not verify unknown_ca, certificate_expired or bad_certificate; what only this package finds
// (revoked, not allowed) is bad_certificate, because VerifyConnection has no other.
func (p *Policy) Configure(config *tls.Config) *Trust {
	if p == nil {
		return nil
	}
	made := p.Trust()
	config.ClientAuth = tls.VerifyClientCertIfGiven
	if p.mode == Require {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	config.ClientCAs = made.authorities
	config.VerifyConnection = func(state tls.ConnectionState) error { return p.verify(made, state, time.Now()) }
	return made
}

// Trust returns what the files hold now, as far as they could be used; nil for a nil Policy.
func (p *Policy) Trust() *Trust {
	if p == nil {
		return nil
	}
	return p.source.trust.Load()
}

// Mode returns the mode; Off for a nil Policy.
func (p *Policy) Mode() Mode {
	if p == nil {
		return Off
	}
	return p.mode
}

// Binding returns what a session that is made now is good under: it differs where the mode, the allowed, the authorities
// or the revoked differ, wherever the files are. A session of another binding should mean a full handshake. It would be
// refused otherwise, if its certificate is not good any more, and its client would come back with it instead of with
// a certificate that is. It has letters, digits and hyphens only; "off" for a nil Policy.
func (p *Policy) Binding() string {
	if p == nil {
		return "off"
	}
	return p.rules + "-" + p.Trust().digest
}

// digest is a short name for text that nobody finds another text for.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// rules is what a policy demands besides what its files say.
func (o Options) rules() string {
	text := ""
	for _, list := range [][]string{o.Allow.CN, o.Allow.DNS, o.Allow.URI, o.Allow.SPKI} {
		text += fmt.Sprintf("\x00%q", slices.Sorted(slices.Values(list)))
	}
	return o.Mode.String() + "-" + digest(text)
}

func (o Options) check() error {
	switch {
	case o.Mode != Request && o.Mode != Require:
		return fmt.Errorf("client certificates: no such mode: %d", o.Mode)
	case o.CAFile == "":
		return errors.New("client certificates: no CA file")
	}
	return nil
}
