// Package proxyproto writes the PROXY protocol header that a backend reads before a client's bytes, and reads the header
// that a load balancer in front of us sent. Sections are those of the specification
// (https://www.haproxy.org/download/3.3/doc/proxy-protocol.txt).
//
// Written, it guards that a header carries one address family (2.1, 2.2), that its checksum covers all of it (2.2.3),
// that it tells of a verified client certificate only where there was one (2.2.6), and that nothing is left out to make
// it fit. Read, it guards that what does not exactly match the protocol ends the connection (2.1), that a header is
// taken whole or not at all (2.2), and that what a peer sends costs a bounded amount of memory.
package proxyproto

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
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
	if v := slices.Index(versions, text); v >= 0 {
		return Version(v), nil
	}
	return Off, fmt.Errorf("unknown PROXY protocol version %q: off, v1 or v2", text)
}

// The parts of a header of version 2 (2.2).
const (
	signature    = "\r\n\r\n\x00\r\nQUIT\n"
	fixedSize    = len(signature) + 4 // then version and command, family, and the length of what follows
	lengthOffset = fixedSize - 2
	maxLength    = 1<<16 - 1 // of what follows, and of a field's value

	commandLocal = 0x20 // with the version in the upper half
	commandProxy = 0x21

	familyUnknown = 0x00
	familyTCP4    = 0x11
	familyTCP6    = 0x21
	familyUnix    = 0x31

	sizeTCP4 = 2*4 + 2*2
	sizeTCP6 = 2*16 + 2*2
	sizeUnix = 2 * 108
)

// The parts of a line of version 1 (2.1).
const (
	word        = "PROXY"
	lineTCP4    = "TCP4"
	lineTCP6    = "TCP6"
	lineUnknown = "UNKNOWN"
	maxLine     = 107 // with CR LF
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var noChecksum = make([]byte, crc32.Size)

// checksum is that of header, whose checksum's value begins at that place and is taken as zero (2.2.3).
func checksum(header []byte, at int) uint32 {
	sum := crc32.Update(0, castagnoli, header[:at])
	sum = crc32.Update(sum, castagnoli, noChecksum)
	return crc32.Update(sum, castagnoli, header[at+crc32.Size:])
}

// nextField cuts the first field off block.
func nextField(block []byte) (field Field, rest []byte, err error) {
	if len(block) < tlvHeaderSize {
		return Field{}, nil, fmt.Errorf("%d bytes after the last field", len(block))
	}
	t, end := TLV(block[0]), tlvHeaderSize+int(binary.BigEndian.Uint16(block[1:]))
	if len(block) < end {
		return Field{}, nil, fmt.Errorf("field %v of %d bytes has %d", t, end-tlvHeaderSize, len(block)-tlvHeaderSize)
	}
	return Field{Type: t, Value: block[tlvHeaderSize:end:end]}, block[end:], nil
}
