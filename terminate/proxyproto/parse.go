package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
)

// MaxSize bounds a header of version 2 where nothing else does: a client certificate is one or two kilobytes.
const MaxSize = 4096

// What Parse says of bytes that are not a whole header. Any other error is of bytes that begin as a header and are none:
// the connection must end (2.1).
var (
	ErrShort = errors.New("proxy header: incomplete")
	ErrNone  = errors.New("proxy header: none")
)

// Header is what a peer's header tells.
type Header struct {
	Version Version
	// Local says that the peer opened the connection for itself, to check health: it is to be accepted (2.2).
	Local bool
	// Source and Destination are the ends of the client's connection, an IPv4 address always as such and never as an IPv6
	// one. When the header does not tell them both are not valid, and the real ends of the connection are to be used.
	Source, Destination netip.AddrPort
	// TLVs are the fields but for padding, in their order, none of them ours to trust in what they say: an Authority need not
	// be a name. The checksum, if there is one, was right.
	TLVs []Field
}

// Parse reads the header that p begins with and returns its size in p, which the header does not share memory with. With
// ErrShort p is the beginning of a header and more bytes are to be read; for that p is shorter than limit, which bounds a
// header of version 2 (zero: MaxSize), or than the 107 bytes of version 1. With ErrNone p does not begin as a header does.
func Parse(p []byte, limit int) (Header, int, error) {
	if limit <= 0 {
		limit = MaxSize
	}
	switch {
	case begins(p, signature):
		return parseBinary(p, limit)
	case begins(p, word):
		return parseLine(p)
	default:
		return Header{}, 0, ErrNone
	}
}

// begins reports whether p and text agree as far as both go.
func begins(p []byte, text string) bool {
	size := min(len(p), len(text))
	return string(p[:size]) == text[:size]
}

// parseBinary reads a header of version 2, whose every part it judges as soon as it is there.
func parseBinary(p []byte, limit int) (Header, int, error) {
	addresses, err := preamble(p)
	if err != nil {
		return Header{}, 0, fmt.Errorf("proxy header: %w", err)
	}
	if len(p) < fixedSize {
		return Header{}, 0, ErrShort
	}
	size := fixedSize + int(binary.BigEndian.Uint16(p[lengthOffset:]))
	if size > limit {
		return Header{}, 0, fmt.Errorf("proxy header: %d bytes: at most %d", size, limit)
	}
	if size < fixedSize+addresses {
		return Header{}, 0, fmt.Errorf("proxy header: %d bytes after the first %d: the addresses have %d", size-fixedSize, fixedSize, addresses)
	}
	if len(p) < size {
		return Header{}, 0, ErrShort
	}
	header, err := decode(p[:size], addresses)
	if err != nil {
		return Header{}, 0, fmt.Errorf("proxy header: %w", err)
	}
	return header, size, nil
}

// preamble judges the version, the command and the family, as far as p has them, and returns the size of the addresses.
// The values that the specification does not assign must be refused (2.2). So is a datagram's family, which cannot have
// come over a stream, though a receiver may take it for an unknown one.
func preamble(p []byte) (addresses int, err error) {
	const commandAt, familyAt = len(signature), len(signature) + 1
	if len(p) > commandAt && p[commandAt] != commandLocal && p[commandAt] != commandProxy {
		return 0, fmt.Errorf("version and command 0x%02x", p[commandAt])
	}
	if len(p) <= familyAt || p[commandAt] == commandLocal { // whose family is ignored
		return 0, nil
	}
	switch p[familyAt] {
	case familyUnknown:
		return 0, nil
	case familyTCP4:
		return sizeTCP4, nil
	case familyTCP6:
		return sizeTCP6, nil
	case familyUnix:
		return sizeUnix, nil
	default:
		return 0, fmt.Errorf("family and transport 0x%02x", p[familyAt])
	}
}

// decode reads a whole header. All that LOCAL comes with is discarded (2.2).
func decode(header []byte, addresses int) (Header, error) {
	const commandAt = len(signature)
	if header[commandAt] == commandLocal {
		return Header{Version: V2, Local: true}, nil
	}
	h := Header{Version: V2}
	block := header[fixedSize:]
	switch addresses {
	case sizeTCP4:
		h.Source = end(block[0:4], block[8:])
		h.Destination = end(block[4:8], block[10:])
	case sizeTCP6:
		h.Source = end(block[0:16], block[32:])
		h.Destination = end(block[16:32], block[34:])
	}
	var err error
	h.TLVs, err = decodeFields(header, fixedSize+addresses)
	return h, err
}

// end is an address and the port that follows at that place. What a dual-stack socket had as IPv6 is IPv4 again, so that
// rules about addresses hold.
func end(address, port []byte) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(address)
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(port))
}

// decodeFields reads the fields, which begin at that place in header.
func decodeFields(header []byte, at int) (fields []Field, err error) {
	var summed bool
	for rest := bytes.Clone(header[at:]); len(rest) > 0; {
		var field Field
		valueAt := len(header) - len(rest) + tlvHeaderSize
		if field, rest, err = nextField(rest); err != nil {
			return nil, err
		}
		switch {
		case field.Type == NoOp:
			continue
		case field.Type == UniqueID && len(field.Value) > maxUniqueID:
			return nil, fmt.Errorf("TLV %v of %d bytes: at most %d", UniqueID, len(field.Value), maxUniqueID)
		case field.Type == CRC32C && summed:
			return nil, fmt.Errorf("TLV %v is there twice", CRC32C)
		case field.Type == CRC32C:
			if err := verify(header, field.Value, valueAt); err != nil {
				return nil, err
			}
			summed = true
		}
		fields = append(fields, field)
	}
	return fields, nil
}

// verify holds the header to its checksum, whose value stands at that place (2.2.3).
func verify(header, value []byte, at int) error {
	if len(value) != crc32.Size {
		return fmt.Errorf("TLV %v of %d bytes: %d", CRC32C, len(value), crc32.Size)
	}
	if got, want := checksum(header, at), binary.BigEndian.Uint32(value); got != want {
		return fmt.Errorf("checksum 0x%08x of bytes that have 0x%08x", want, got)
	}
	return nil
}
