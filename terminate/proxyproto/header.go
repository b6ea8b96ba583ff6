// Package proxyproto writes the PROXY protocol header that a backend reads before a client's bytes. It guards two rules
// of the specification (https://www.haproxy.org/download/3.3/doc/proxy-protocol.txt): the header carries one address
// family, and nothing that a client can choose freely; and that the checksum covers the whole header, which the library
// underneath leaves to its callers.
package proxyproto

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"sync"

	upstream "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// Version says which form of the header is sent. The zero value sends none.
type Version uint8

// The versions.
const (
	Off Version = iota
	V1
	V2
)

var versions = []string{"off", "v1", "v2"}

func (v Version) String() string { return versions[v] }

// ParseVersion reads off, v1 or v2.
func ParseVersion(text string) (Version, error) {
	for v, name := range versions {
		if name == text {
			return Version(v), nil
		}
	}
	return Off, fmt.Errorf("unknown PROXY protocol version %q: off, v1 or v2", text)
}

// TLV is a kind of extra field in a header of version 2.
type TLV uint8

// The fields, in the order in which they are written.
const (
	ALPN      TLV = iota // the protocol negotiated; left out when there is none
	Authority            // the name the client asked for
	UniqueID             // the connection's id, as in the log
	SSL                  // the TLS version and cipher suite
	CRC32C               // a checksum over the whole header
)

var tlvs = []string{"alpn", "authority", "unique_id", "ssl", "crc32c"}

func (t TLV) String() string { return tlvs[t] }

// ParseTLV reads a field's name as the configuration has it.
func ParseTLV(text string) (TLV, error) {
	for t, name := range tlvs {
		if name == text {
			return TLV(t), nil
		}
	}
	return 0, fmt.Errorf("unknown TLV %q: alpn, authority, unique_id, ssl or crc32c", text)
}

// Client is what a header tells of a client's connection.
type Client struct {
	Source, Destination net.Addr
	Authority           string // empty: the field is left out
	Protocol            string // the ALPN protocol negotiated; empty: left out
	UniqueID            []byte // at most 128 bytes; empty: left out
	TLSVersion          uint16
	CipherSuite         uint16
}

// unverified is the SSL field's verify when no client certificate was presented: zero would say that one was and that
// it was good.
const unverified = 1

// Format returns the header's bytes; for Off none. An error means that the header would not be true to the
// specification (its fields too long): nothing is left out to make it fit.
func Format(version Version, client Client, fields []TLV) ([]byte, error) {
	if version == Off {
		return nil, nil
	}
	header := upstream.HeaderProxyFromAddrs(byte(version), client.Source, client.Destination)
	if version == V1 {
		return header.Format()
	}
	if err := header.SetTLVs(client.fields(fields)); err != nil {
		return nil, fmt.Errorf("proxy header: %w", err)
	}
	text, err := header.Format()
	if err != nil {
		return nil, fmt.Errorf("proxy header: %w", err)
	}
	sum(text)
	return text, nil
}

// fields are the TLVs asked for that there is something to say in. The order is fixed, so that the checksum comes last.
func (c Client) fields(wanted []TLV) []upstream.TLV {
	var set [CRC32C + 1]bool
	for _, t := range wanted {
		set[t] = true
	}
	out := make([]upstream.TLV, 0, len(set))
	add := func(t TLV, kind upstream.PP2Type, value []byte) {
		if set[t] && len(value) > 0 {
			out = append(out, upstream.TLV{Type: kind, Value: value})
		}
	}
	add(ALPN, upstream.PP2_TYPE_ALPN, []byte(c.Protocol))
	add(Authority, upstream.PP2_TYPE_AUTHORITY, []byte(c.Authority))
	add(UniqueID, upstream.PP2_TYPE_UNIQUE_ID, c.UniqueID)
	add(SSL, upstream.PP2_TYPE_SSL, c.ssl())
	add(CRC32C, upstream.PP2_TYPE_CRC32C, make([]byte, crc32.Size))
	return out
}

// ssl is the value of the SSL field. There are few, and many connections have the same.
func (c Client) ssl() []byte {
	key := [2]uint16{c.TLSVersion, c.CipherSuite}
	if made, ok := sslFields.Load(key); ok {
		return made.([]byte)
	}
	field := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: unverified, TLV: []upstream.TLV{
		{Type: upstream.PP2_SUBTYPE_SSL_VERSION, Value: []byte(versionName(c.TLSVersion))},
		{Type: upstream.PP2_SUBTYPE_SSL_CIPHER, Value: []byte(cipherName(c.CipherSuite))},
	}}
	tlv, err := field.Marshal()
	if err != nil { // only of values beyond 64 KB
		return nil
	}
	sslFields.Store(key, tlv.Value)
	return tlv.Value
}

// sslFields has the values made so far, by TLS version and cipher suite.
var sslFields sync.Map

const (
	fixedSize     = 16 // signature, command, family and length
	tlvHeaderSize = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum fills in the checksum, computed with its own four bytes zero (specification, section 2.2.3), when header has the
// field, which is its last one.
func sum(header []byte) {
	at := len(header) - crc32.Size
	if at < fixedSize+tlvHeaderSize || header[at-tlvHeaderSize] != byte(upstream.PP2_TYPE_CRC32C) || header[at-1] != crc32.Size {
		return
	}
	binary.BigEndian.PutUint32(header[at:], crc32.Checksum(header, castagnoli))
}
