package clientauth

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Trust is what the files of a policy held at one time. It does not change.
type Trust struct {
	authorities *x509.CertPool
	revoked     *revocations // nil: there is no list
	digest      string       // of the authorities and of what is revoked
}

func newTrust(authorities []*x509.Certificate, revoked *revocations) *Trust {
	made := &Trust{authorities: x509.NewCertPool(), revoked: revoked}
	var held []string
	for _, authority := range authorities {
		made.authorities.AddCert(authority)
		held = append(held, digest(string(authority.Raw)))
	}
	slices.Sort(held)
	made.digest = digest(strings.Join(slices.Compact(held), " ") + revoked.summary())
	return made
}

// maxSubjects is what the names of the authorities may take in a CertificateRequest (RFC 5246, section 7.4.4). crypto/tls
// would write a broken one.
const maxSubjects = 1<<16 - 1

// parseAuthorities reads PEM certificates. Other PEM blocks, and text around them, are passed over.
func parseAuthorities(text []byte) (found []*x509.Certificate, err error) {
	blocks, err := pemBlocks(text, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	size := 0
	for i, der := range blocks {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if !slices.ContainsFunc(found, authority.Equal) {
			found = append(found, authority)
			size += 2 + len(authority.RawSubject)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("it holds no PEM certificate")
	}
	if size > maxSubjects {
		return nil, fmt.Errorf("the names of its %d certificates take %d bytes, more than clients can be told (%d)", len(found), size, maxSubjects)
	}
	return found, nil
}

// pemBlocks returns the blocks of a kind. A block that is not whole is an error, as of a file that is being written: pem
// would pass it over.
func pemBlocks(text []byte, kind string) (found [][]byte, err error) {
	begun, whole := bytes.Count(text, []byte("-----BEGIN ")), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		whole++
		if block.Type == kind {
			found = append(found, block.Bytes)
		}
	}
	if whole != begun {
		return nil, fmt.Errorf("%d of its %d PEM blocks are broken", begun-whole, begun)
	}
	return found, nil
}

// verify judges the certificates of a connection whose tls.Config was made with a Trust.
func (p *Policy) verify(made *Trust, state tls.ConnectionState, now time.Time) error {
	if len(state.PeerCertificates) == 0 {
		if p.mode == Require {
			return &refusal{errors.New("the client has no certificate")}
		}
		return nil
	}
	trust, chains := p.Trust(), state.VerifiedChains
	if state.DidResume || trust != made || len(chains) == 0 {
		// Nobody has verified them, or it is not known by what.
		var err error
		if chains, err = trust.chains(state.PeerCertificates, now); err != nil {
			return refuse(state.PeerCertificates[0], err)
		}
	}
	if err := trust.revoked.check(chains, now); err != nil {
		return refuse(state.PeerCertificates[0], err)
	}
	if !p.allow.admits(state.PeerCertificates[0]) {
		return refuse(state.PeerCertificates[0], errors.New("none of those that are allowed"))
	}
	return nil
}

// chains returns the ways from a client's certificate to an authority, at least one.
func (t *Trust) chains(sent []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range sent[1:] {
		between.AddCert(c)
	}
	return sent[0].Verify(x509.VerifyOptions{
		Roots: t.authorities, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// refusal is the error of a client whose certificate is missing or no good.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// maxName bounds what a certificate's name may take of an error.
const maxName = 64

func refuse(leaf *x509.Certificate, err error) error {
	name := cmp.Or(leaf.Subject.CommonName, strings.Join(leaf.DNSNames, " "))
	if name == "" && len(leaf.URIs) > 0 {
		name = leaf.URIs[0].String()
	}
	if len(name) > maxName {
		name = name[:maxName] + "..."
	}
	return &refusal{fmt.Errorf("client certificate %s: %w", strconv.QuoteToASCII(name), err)}
}

// Refused reports whether err, of the handshake with a client, is about the client's certificate: it is missing or no good.
func Refused(err error) bool {
	if err == nil {
		return false
	}
	_, ours := errors.AsType[*refusal](err)
	_, theirs := errors.AsType[*tls.CertificateVerificationError](err)
	return ours || theirs || strings.Contains(err.Error(), "client didn't provide a certificate")
}
