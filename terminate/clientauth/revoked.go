package clientauth

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// revocations is the lists of a file, by the raw name of their issuers. A nil one revokes nothing.
type revocations struct{ lists map[string][]*list }

// list is a revocation list.
type list struct {
	x509.RevocationList                     // without the entries, which take more than all else
	serials             map[string]struct{} // revoked ones, as text
	// signer is a certificate that the signature was found to be of: those of intermediates come with the clients.
	signer atomic.Pointer[x509.Certificate]
}

// parseRevocations reads lists in PEM, or one in DER. A list in an authority's name must be signed by one of that name;
// one in another's, of an intermediate, is checked when a chain has it.
func parseRevocations(text []byte, authorities []*x509.Certificate) (*revocations, error) {
	lists, err := pemBlocks(text, "X509 CRL")
	switch {
	case err != nil:
		return nil, err
	case len(lists) == 0 && bytes.Contains(text, []byte("-----BEGIN ")), len(text) == 0:
		return nil, errors.New("it holds no revocation list")
	case len(lists) == 0:
		lists = [][]byte{text}
	}
	found := &revocations{map[string][]*list{}}
	for i, der := range lists {
		l, err := parseList(der)
		if err == nil {
			err = l.checkIssuer(authorities)
		}
		if err != nil {
			return nil, fmt.Errorf("revocation list %d: %w", i+1, err)
		}
		found.lists[string(l.RawIssuer)] = append(found.lists[string(l.RawIssuer)], l)
	}
	return found, nil
}

func parseList(der []byte) (*list, error) {
	parsed, err := x509.ParseRevocationList(der)
	switch {
	case err != nil:
		return nil, err
	case len(parsed.Raw) != len(der):
		return nil, errors.New("something follows it: several lists must be PEM")
	}
	l := &list{serials: make(map[string]struct{}, len(parsed.RevokedCertificateEntries)), RevocationList: x509.RevocationList{
		RawTBSRevocationList: parsed.RawTBSRevocationList, SignatureAlgorithm: parsed.SignatureAlgorithm, Signature: parsed.Signature,
		RawIssuer: parsed.RawIssuer, AuthorityKeyId: parsed.AuthorityKeyId,
		ThisUpdate: parsed.ThisUpdate, NextUpdate: parsed.NextUpdate, Number: parsed.Number,
	}}
	if err := understood(parsed.Extensions); err != nil {
		return nil, err
	}
	for _, entry := range parsed.RevokedCertificateEntries {
		if err := understood(entry.Extensions); err != nil {
			return nil, fmt.Errorf("entry %x: %w", entry.SerialNumber, err)
		}
		l.serials[entry.SerialNumber.Text(16)] = struct{}{}
	}
	return l, nil
}

// The extensions whose meaning is known: the authority's key identifier and the number of the list.
var (
	oidAuthorityKeyID = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidCRLNumber      = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidReasonCode     = asn1.ObjectIdentifier{2, 5, 29, 21}
)

// understood refuses what must not be used by whoever does not understand it (RFC 5280, sections 5.2 and 5.3). Taken as a
// whole list, a delta or a part of one would leave certificates good that are revoked.
func understood(extensions []pkix.Extension) error {
	for _, e := range extensions {
		if e.Critical && !e.Id.Equal(oidAuthorityKeyID) && !e.Id.Equal(oidCRLNumber) && !e.Id.Equal(oidReasonCode) {
			return fmt.Errorf("critical extension %v is not supported", e.Id)
		}
	}
	return nil
}

func (l *list) checkIssuer(authorities []*x509.Certificate) (err error) {
	for _, authority := range authorities {
		if !bytes.Equal(authority.RawSubject, l.RawIssuer) || l.otherKey(authority) {
			continue
		}
		if err = l.signedBy(authority); err == nil {
			return nil
		}
	}
	return err
}

// otherKey reports whether the list says that it is by another key than the issuer's.
func (l *list) otherKey(issuer *x509.Certificate) bool {
	return len(l.AuthorityKeyId) > 0 && len(issuer.SubjectKeyId) > 0 && !bytes.Equal(l.AuthorityKeyId, issuer.SubjectKeyId)
}

func (l *list) signedBy(issuer *x509.Certificate) error {
	if known := l.signer.Load(); known != nil && known.Equal(issuer) {
		return nil
	}
	if err := l.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("signature by %.100q: %w", issuer.Subject.String(), err)
	}
	l.signer.Store(issuer)
	return nil
}

// check refuses a certificate of which no chain is free of revoked ones.
func (r *revocations) check(chains [][]*x509.Certificate, now time.Time) (err error) {
	if r == nil {
		return nil
	}
	for _, chain := range chains {
		if err = r.checkChain(chain, now); err == nil {
			return nil
		}
	}
	return err
}

func (r *revocations) checkChain(chain []*x509.Certificate, now time.Time) error {
	for i, issuer := range chain[1:] {
		l := r.of(issuer)
		switch {
		case l == nil:
			return fmt.Errorf("no revocation list of its issuer %.100q", issuer.Subject.String())
		case !l.NextUpdate.IsZero() && now.After(l.NextUpdate):
			return fmt.Errorf("the revocation list of its issuer %.100q was to be renewed by %s", issuer.Subject.String(), l.NextUpdate.Format(time.RFC3339))
		case l.has(chain[i]):
			return fmt.Errorf("serial number %x of %.100q is revoked", chain[i].SerialNumber, issuer.Subject.String())
		}
	}
	return nil
}

// of returns the newest list of an issuer, nil if there is none.
func (r *revocations) of(issuer *x509.Certificate) (newest *list) {
	for _, l := range r.lists[string(issuer.RawSubject)] {
		if (newest == nil || l.newer(newest)) && !l.otherKey(issuer) && l.signedBy(issuer) == nil {
			newest = l
		}
	}
	return newest
}

func (l *list) newer(o *list) bool {
	if l.ThisUpdate.Equal(o.ThisUpdate) && l.Number != nil && o.Number != nil {
		return l.Number.Cmp(o.Number) > 0
	}
	return l.ThisUpdate.After(o.ThisUpdate)
}

func (l *list) has(c *x509.Certificate) bool {
	_, revoked := l.serials[c.SerialNumber.Text(16)]
	return revoked
}

// summary is what the lists revoke: one that is issued anew and revokes the same is the same.
func (r *revocations) summary() string {
	if r == nil {
		return ""
	}
	var held []string
	for issuer, lists := range r.lists {
		for _, l := range lists {
			held = append(held, digest(issuer+" "+strings.Join(slices.Sorted(maps.Keys(l.serials)), " ")))
		}
	}
	slices.Sort(held)
	return " lists " + strings.Join(held, " ")
}
