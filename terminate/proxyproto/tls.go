package proxyproto

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// TLS is what the SSL field tells of the TLS that a client speaks (2.2.6).
type TLS struct {
	Version, CipherSuite uint16
	Group                tls.CurveID         // zero: left out
	SignatureScheme      tls.SignatureScheme // zero: nothing was signed, as when a session is resumed
	Resumed              bool
	// Certificate is the one that the client was shown: the signature and key algorithms are of this one, as the
	// specification says and HAProxy does, not of the client's. Nil: they are left out.
	Certificate *x509.Certificate
	// ClientCertificate is the one that the client presented in this connection, or in the one whose session it resumed. Nil:
	// there is none, whatever Verified says.
	ClientCertificate *x509.Certificate
	// Verified says that ClientCertificate was found good.
	Verified bool
}

// The bits of an SSL field's first byte.
const (
	ClientSSL         = 0x01 // the client speaks TLS
	ClientCertConn    = 0x02 // it presented a certificate in this connection
	ClientCertSession = 0x04 // it presented a certificate in this session, of which this connection may be a resumption
)

// unverified is the SSL field's verify when there is no client certificate, or none that was found good: zero would say
// that there is one and that it is. One is what OpenSSL calls an unspecified error, and what hitch sends.
const unverified = 1

// client are the first byte and verify.
func (t *TLS) client() (flags byte, verify uint32) {
	flags, verify = ClientSSL, unverified
	if t.ClientCertificate == nil {
		return flags, verify
	}
	flags |= ClientCertSession
	if !t.Resumed {
		flags |= ClientCertConn
	}
	if t.Verified {
		verify = 0
	}
	return flags, verify
}

// ssl writes the SSL field.
func (s *Sender) ssl(w *writer, t *TLS) {
	at := w.open(SSL)
	flags, verify := t.client()
	w.bytes = binary.BigEndian.AppendUint32(append(w.bytes, flags), verify)
	w.text(SSLVersion, versionName(t.Version))
	w.text(SSLCipher, cipherName(t.CipherSuite))
	if s.tlvs.has(SSLSignatureAlgorithm) && t.Certificate != nil {
		w.text(SSLSignatureAlgorithm, signatureName(t.Certificate.SignatureAlgorithm))
	}
	if s.tlvs.has(SSLKeyAlgorithm) && t.Certificate != nil {
		w.text(SSLKeyAlgorithm, keyName(t.Certificate.PublicKey))
	}
	if s.tlvs.has(SSLGroup) && t.Group != 0 {
		w.text(SSLGroup, groupName(t.Group))
	}
	if s.tlvs.has(SSLSignatureScheme) && t.SignatureScheme != 0 {
		w.text(SSLSignatureScheme, schemeName(t.SignatureScheme))
	}
	if certificate := t.ClientCertificate; certificate != nil {
		w.text(SSLCommonName, strings.ToValidUTF8(certificate.Subject.CommonName, "\ufffd"))
		if s.tlvs.has(SSLClientCertificate) {
			w.field(SSLClientCertificate, certificate.Raw)
		}
	}
	w.close(SSL, at)
}

// SSLField is the value of an SSL field as it was read.
type SSLField struct {
	Client uint8  // of ClientSSL, ClientCertConn and ClientCertSession, and bits not yet known
	Verify uint32 // zero: the client presented a certificate and it was found good. HAProxy sends zero when there is none too.
	Fields []Field
}

// DecodeSSL reads the value of an SSL field, whose fields share its memory. An error means that it is cut short, or that
// its first byte promises what does not follow (2.2.6).
func DecodeSSL(value []byte) (SSLField, error) {
	const fixed = 1 + 4
	if len(value) < fixed {
		return SSLField{}, fmt.Errorf("TLV %v of %d bytes: at least %d", SSL, len(value), fixed)
	}
	ssl := SSLField{Client: value[0], Verify: binary.BigEndian.Uint32(value[1:])}
	for rest := value[fixed:]; len(rest) > 0; {
		var field Field
		var err error
		if field, rest, err = nextField(rest); err != nil {
			return SSLField{}, fmt.Errorf("TLV %v: %w", SSL, err)
		}
		ssl.Fields = append(ssl.Fields, field)
	}
	return ssl, ssl.check()
}

// check holds the first byte to the rest.
func (s SSLField) check() error {
	if _, versioned := Find(s.Fields, SSLVersion); s.Client&ClientSSL != 0 && !versioned {
		return errors.New("TLV ssl tells of TLS without its version")
	}
	if s.Client&ClientCertConn != 0 && s.Client&ClientCertSession == 0 {
		return errors.New("TLV ssl tells of a client certificate in the connection and none in its session")
	}
	return nil
}
