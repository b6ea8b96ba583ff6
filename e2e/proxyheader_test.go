package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// A decoder of PROXY protocol headers written from the specification alone, to judge what hellogate sends. It refuses
// whatever is odd, also where the specification lets a receiver look away.

const (
	tlvALPN      = 0x01
	tlvAuthority = 0x02
	tlvCRC32C    = 0x03
	tlvUniqueID  = 0x05
	tlvSSL       = 0x20
	tlvNetNS     = 0x30

	firstCustom = 0xe0 // types from here to lastCustom are the application's own
	lastCustom  = 0xef

	sslVersion    = 0x21
	sslCommonName = 0x22
	sslCipher     = 0x23
	sslSignature  = 0x24
	sslKey        = 0x25
	sslGroup      = 0x26
	sslScheme     = 0x27
	sslClientCert = 0x28
)

var (
	proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")
	castagnoli     = crc32.MakeTable(crc32.Castagnoli)
)

type proxyHeader struct {
	Version             int
	Local               bool // LOCAL, and UNKNOWN in version 1: it names no addresses
	Source, Destination netip.AddrPort
	ALPN, Authority     string
	UniqueID            []byte
	Checked             bool // a CRC32C came with it, and is right
	SSL                 *proxySSL
	Namespace           string
	Custom              map[byte]string
	Raw                 []byte
}

type proxySSL struct {
	Client                                       byte // 1: over TLS, 2: a certificate in this connection, 4: in this session
	Verify                                       uint32
	Version, CommonName, Cipher, Signature, Keys string
	Group, Scheme, ClientCert                    string
}

// readProxyHeader takes one header, and not a byte more, off r.
func readProxyHeader(r io.Reader) (proxyHeader, error) {
	raw := make([]byte, 16)
	if _, err := io.ReadFull(r, raw[:6]); err != nil {
		return proxyHeader{}, fmt.Errorf("start of the header: %w", err)
	}
	if string(raw[:6]) == "PROXY " {
		return readProxyLine(r, raw[:6])
	}
	if _, err := io.ReadFull(r, raw[6:]); err != nil {
		return proxyHeader{}, fmt.Errorf("fixed part of the header: %w", err)
	}
	body := make([]byte, binary.BigEndian.Uint16(raw[14:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return proxyHeader{}, fmt.Errorf("header of %d bytes: %w", len(body), err)
	}
	return decodeProxyBinary(append(raw, body...))
}

func readProxyLine(r io.Reader, line []byte) (proxyHeader, error) {
	for !bytes.HasSuffix(line, []byte("\n")) {
		if len(line) == 107 {
			return proxyHeader{}, errors.New("line of more than 107 bytes")
		}
		line = append(line, 0)
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return proxyHeader{}, fmt.Errorf("header line: %w", err)
		}
	}
	return decodeProxyLine(line)
}

func decodeProxyLine(line []byte) (proxyHeader, error) {
	header := proxyHeader{Version: 1, Raw: line}
	text, found := strings.CutSuffix(string(line), "\r\n")
	if !found {
		return header, fmt.Errorf("line %q does not end in CR LF", line)
	}
	if text == "PROXY UNKNOWN" {
		header.Local = true
		return header, nil
	}
	fields := strings.Split(text, " ")
	if len(fields) != 6 {
		return header, fmt.Errorf("line %q has %d fields, not 6", line, len(fields))
	}
	var err error
	if header.Source, err = addressAndPort(fields[1], fields[2], fields[4]); err != nil {
		return header, fmt.Errorf("source: %w", err)
	}
	if header.Destination, err = addressAndPort(fields[1], fields[3], fields[5]); err != nil {
		return header, fmt.Errorf("destination: %w", err)
	}
	return header, nil
}

func addressAndPort(family, address, port string) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ofFamily := family == "TCP4" && ip.Is4() || family == "TCP6" && ip.Is6() && !ip.Is4In6() && ip.Zone() == ""
	if !ofFamily || ip.String() != address {
		return netip.AddrPort{}, fmt.Errorf("%q is no canonical address of %q", address, family)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(number, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("%q is no port", port)
	}
	return netip.AddrPortFrom(ip, uint16(number)), nil
}

func decodeProxyBinary(raw []byte) (proxyHeader, error) {
	header := proxyHeader{Version: 2, Raw: raw}
	if !bytes.HasPrefix(raw, proxySignature) || len(raw) < 16 {
		return header, fmt.Errorf("no signature in %.32q", raw)
	}
	if length := int(binary.BigEndian.Uint16(raw[14:])); length != len(raw)-16 {
		return header, fmt.Errorf("length %d, but %d bytes follow", length, len(raw)-16)
	}
	var size int
	switch command, family := raw[12], raw[13]; {
	case command == 0x20 && family == 0x00:
		header.Local = true
	case command == 0x21 && family == 0x11:
		size = 4
	case command == 0x21 && family == 0x21:
		size = 16
	default:
		return header, fmt.Errorf("version and command 0x%02x with family 0x%02x", command, family)
	}
	rest := raw[16:]
	if len(rest) < 2*size+4 && !header.Local {
		return header, fmt.Errorf("%d bytes are too few for the addresses", len(rest))
	}
	if !header.Local {
		source, _ := netip.AddrFromSlice(rest[:size])
		destination, _ := netip.AddrFromSlice(rest[size : 2*size])
		if source.Is4In6() || destination.Is4In6() {
			return header, fmt.Errorf("IPv4 addresses in an IPv6 header: %v %v", source, destination)
		}
		ports := rest[2*size:]
		header.Source = netip.AddrPortFrom(source, binary.BigEndian.Uint16(ports))
		header.Destination = netip.AddrPortFrom(destination, binary.BigEndian.Uint16(ports[2:]))
		rest = rest[2*size+4:]
	}
	return header, eachTLV(rest, func(kind byte, value []byte) error { return header.take(kind, value) })
}

// eachTLV refuses what is cut short and what comes twice.
func eachTLV(block []byte, take func(kind byte, value []byte) error) error {
	seen := map[byte]bool{}
	for len(block) > 0 {
		if len(block) < 3 || len(block)-3 < int(binary.BigEndian.Uint16(block[1:])) {
			return fmt.Errorf("TLV cut short: % x", block)
		}
		kind, value := block[0], block[3:3+int(binary.BigEndian.Uint16(block[1:]))]
		if seen[kind] {
			return fmt.Errorf("TLV 0x%02x comes twice", kind)
		}
		seen[kind] = true
		if err := take(kind, value); err != nil {
			return fmt.Errorf("TLV 0x%02x: %w", kind, err)
		}
		block = block[3+len(value):]
	}
	return nil
}

func (h *proxyHeader) take(kind byte, value []byte) (err error) {
	if len(value) == 0 {
		return errors.New("empty")
	}
	switch kind {
	case tlvALPN:
		h.ALPN = string(value)
	case tlvAuthority:
		h.Authority = string(value)
	case tlvCRC32C:
		h.Checked = true
		return h.verify(value)
	case tlvUniqueID:
		if h.UniqueID = value; len(value) > 128 {
			return fmt.Errorf("%d bytes, at most 128 are allowed", len(value))
		}
	case tlvSSL:
		h.SSL, err = decodeProxySSL(value)
	case tlvNetNS:
		h.Namespace = string(value)
	default:
		if kind < firstCustom || kind > lastCustom {
			return errors.New("unknown here")
		}
		if h.Custom == nil {
			h.Custom = map[byte]string{}
		}
		h.Custom[kind] = string(value)
	}
	return err
}

// verify holds the sum in value, a part of h.Raw, against that of the whole header with these four bytes zero.
func (h *proxyHeader) verify(value []byte) error {
	if len(value) != 4 {
		return fmt.Errorf("%d bytes, not 4", len(value))
	}
	at := cap(h.Raw) - cap(value)
	blank := bytes.Clone(h.Raw)
	copy(blank[at:], make([]byte, 4))
	if want, got := crc32.Checksum(blank, castagnoli), binary.BigEndian.Uint32(value); want != got {
		return fmt.Errorf("sum is %08x, must be %08x", got, want)
	}
	return nil
}

func decodeProxySSL(value []byte) (*proxySSL, error) {
	if len(value) < 5 {
		return nil, fmt.Errorf("%d bytes, at least 5 are needed", len(value))
	}
	ssl := &proxySSL{Client: value[0], Verify: binary.BigEndian.Uint32(value[1:])}
	if ssl.Client&^7 != 0 {
		return nil, fmt.Errorf("unknown bits in client 0x%02x", ssl.Client)
	}
	fields := map[byte]*string{
		sslVersion: &ssl.Version, sslCommonName: &ssl.CommonName, sslCipher: &ssl.Cipher,
		sslSignature: &ssl.Signature, sslKey: &ssl.Keys,
		sslGroup: &ssl.Group, sslScheme: &ssl.Scheme, sslClientCert: &ssl.ClientCert,
	}
	return ssl, eachTLV(value[5:], func(kind byte, value []byte) error {
		field, known := fields[kind]
		if !known || len(value) == 0 {
			return errors.New("unknown here, or empty")
		}
		*field = string(value)
		return nil
	})
}
