package proxyproto

import (
	"fmt"
	"strconv"
	"strings"
)

// TLV is the type of a field in a header of version 2 (2.2), or of one within its SSL field (2.2.6).
type TLV uint8

// The fields.
const (
	ALPN      TLV = 0x01 // the protocol negotiated
	Authority TLV = 0x02 // the name the client asked for
	CRC32C    TLV = 0x03 // a checksum over the whole header
	NoOp      TLV = 0x04 // padding
	UniqueID  TLV = 0x05 // the connection's id
	SSL       TLV = 0x20 // what the client's TLS is like: version, cipher suite, and whose certificate it presented

	SSLVersion            TLV = 0x21 // in every SSL field
	SSLCommonName         TLV = 0x22 // of the client's certificate; in every SSL field of one
	SSLCipher             TLV = 0x23 // in every SSL field that is sent
	SSLSignatureAlgorithm TLV = 0x24 // that signed the certificate shown to the client
	SSLKeyAlgorithm       TLV = 0x25 // of that certificate's key
	SSLGroup              TLV = 0x26 // of the key exchange
	SSLSignatureScheme    TLV = 0x27 // by which we signed in the handshake
	SSLClientCertificate  TLV = 0x28 // in DER

	NetworkNamespace TLV = 0x30

	// Types from FirstCustom to LastCustom are the application's own (2.2.8).
	FirstCustom TLV = 0xe0
	LastCustom  TLV = 0xef
)

var tlvs = []struct {
	name string
	tlv  TLV
}{
	{"alpn", ALPN},
	{"authority", Authority},
	{"crc32c", CRC32C},
	{"noop", NoOp},
	{"unique_id", UniqueID},
	{"ssl", SSL},
	{"ssl_version", SSLVersion},
	{"ssl_cn", SSLCommonName},
	{"ssl_cipher", SSLCipher},
	{"ssl_sig_alg", SSLSignatureAlgorithm},
	{"ssl_key_alg", SSLKeyAlgorithm},
	{"ssl_group", SSLGroup},
	{"ssl_sig_scheme", SSLSignatureScheme},
	{"ssl_client_cert", SSLClientCertificate},
	{"netns", NetworkNamespace},
}

// String is the name that the configuration has, or for a type without one its number as in 0xea.
func (t TLV) String() string {
	for _, known := range tlvs {
		if known.tlv == t {
			return known.name
		}
	}
	return fmt.Sprintf("0x%02x", uint8(t))
}

// ParseTLV reads a field's name as the configuration has it, or its number as in 0xea.
func ParseTLV(text string) (TLV, error) {
	names := make([]string, 0, len(tlvs))
	for _, known := range tlvs {
		if known.name == text {
			return known.tlv, nil
		}
		names = append(names, known.name)
	}
	if strings.HasPrefix(text, "0x") {
		if number, err := strconv.ParseUint(text[len("0x"):], 16, 8); err == nil {
			return TLV(number), nil
		}
	}
	return 0, fmt.Errorf("unknown TLV %q: %s, or a number from 0x00 to 0xff", text, strings.Join(names, ", "))
}

func (t TLV) custom() bool { return t >= FirstCustom && t <= LastCustom }

// Passes reports whether a received field of type t can be sent on by itself: it is neither about the header it came in nor
// within the SSL field.
func (t TLV) Passes() bool { return t != CRC32C && t != NoOp && !t.ofSSL() }

// ofSSL reports whether t is a field within the SSL field.
func (t TLV) ofSSL() bool { return t > SSL && t <= SSLClientCertificate }

const (
	tlvHeaderSize = 3 // type and length
	maxUniqueID   = 128
)

// Field is a field of a header of version 2.
type Field struct {
	Type  TLV
	Value []byte
}

// Find returns the value of the first field of type t, and whether there is one.
func Find(fields []Field, t TLV) ([]byte, bool) {
	for _, field := range fields {
		if field.Type == t {
			return field.Value, true
		}
	}
	return nil, false
}

// set is a set of types.
type set [4]uint64

func (s *set) add(t TLV)      { s[t>>6] |= 1 << (t & 63) }
func (s *set) has(t TLV) bool { return s[t>>6]&(1<<(t&63)) != 0 }
