package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareHeaders = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmpopts.EquateEmpty(),
}

// binary2 is a header of version 2 with that command, family and rest.
func binary2(command, family byte, rest string) string {
	return string(binary.BigEndian.AppendUint16(append([]byte(signature), command, family), uint16(len(rest)))) + rest
}

const (
	ends4 = "\xc0\x00\x02\x01\xc0\x00\x02\x02" + "\x04\xd2\x01\xbb"
	ip1   = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	ip2   = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
	ends6 = ip1 + ip2 + "\x04\xd2\x01\xbb"
)

var (
	told4  = Header{Version: V2, Source: addr("192.0.2.1:1234"), Destination: addr("192.0.2.2:443")}
	told6  = Header{Version: V2, Source: addr("[2001:db8::1]:1234"), Destination: addr("[2001:db8::2]:443")}
	line4  = Header{Version: V1, Source: addr("192.0.2.1:1234"), Destination: addr("192.0.2.2:443")}
	line6  = Header{Version: V1, Source: addr("[2001:db8::1]:1234"), Destination: addr("[2001:db8::2]:443")}
	mapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02"
)

// with is h with fields.
func with(h Header, fields ...Field) Header {
	h.TLVs = fields
	return h
}

var accepted = []struct {
	name, text string
	want       Header
}{
	{"TCP4 line", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n", line4},
	{"TCP6 line", "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n", line6},
	{"TCP6 line in full and upper case", "PROXY TCP6 2001:0DB8:0000:0000:0000:0000:0000:0001 2001:DB8::2 1234 443\r\n", line6},
	{"TCP6 line of IPv4", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1234 443\r\n", line4},
	{"outermost ports", "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", Header{Version: V1, Source: addr("0.0.0.0:0"), Destination: addr("255.255.255.255:65535")}},
	{"UNKNOWN", "PROXY UNKNOWN\r\n", Header{Version: V1}},
	{"UNKNOWN and anything", "PROXY UNKNOWN  \x00 \xff\t TCP4\r\n", Header{Version: V1}},
	{
		"the longest line", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		Header{Version: V1},
	},
	{"TCP4", binary2(0x21, 0x11, ends4), told4},
	{"TCP6", binary2(0x21, 0x21, ends6), told6},
	{"TCP6 of IPv4", binary2(0x21, 0x21, mapped+"\x01"+mapped+"\x02"+"\x04\xd2\x01\xbb"), told4},
	{"unknown addresses", binary2(0x21, 0x00, ""), Header{Version: V2}},
	{"unknown addresses and a field", binary2(0x21, 0x00, "\x02\x00\x01a"), with(Header{Version: V2}, Field{Authority, []byte("a")})},
	{"Unix", binary2(0x21, 0x31, strings.Repeat("\x00", 216)+"\x02\x00\x01a"), with(Header{Version: V2}, Field{Authority, []byte("a")})},
	{"LOCAL", binary2(0x20, 0x00, ""), Header{Version: V2, Local: true}},
	{"LOCAL and addresses", binary2(0x20, 0x11, ends4), Header{Version: V2, Local: true}},
	{"LOCAL and too few of them", binary2(0x20, 0x21, ends4), Header{Version: V2, Local: true}},
	{"LOCAL of no family", binary2(0x20, 0xff, "anything"), Header{Version: V2, Local: true}},
	{
		"fields", binary2(0x21, 0x11, ends4+"\x02\x00\x06a.test"+"\x99\x00\x00"+"\x05\x00\x80"+strings.Repeat("x", 128)),
		with(told4, Field{Authority, []byte("a.test")}, Field{0x99, nil}, Field{UniqueID, bytes.Repeat([]byte("x"), 128)}),
	},
	{"a field twice", binary2(0x21, 0x11, ends4+"\xe0\x00\x01a\xe0\x00\x01b"), with(told4, Field{0xe0, []byte("a")}, Field{0xe0, []byte("b")})},
	{"padding", binary2(0x21, 0x11, ends4+"\x04\x00\x00"+"\x02\x00\x01a"+"\x04\x00\x02xx"), with(told4, Field{Authority, []byte("a")})},
	{
		"a checksum before the end", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x17" + ends4 + "\x03\x00\x04\xf5\x96\xd8\x6b" + "\x01\x00\x01x",
		with(told4, Field{CRC32C, []byte("\xf5\x96\xd8\x6b")}, Field{ALPN, []byte("x")}),
	},
}

func TestParse(t *testing.T) {
	for _, test := range accepted {
		t.Run(test.name, func(t *testing.T) {
			for _, after := range []string{"", "\x16\x03\x01\x02\x00", "\r\n", "PROXY TCP4"} {
				text := []byte(test.text + after)
				got, n, err := Parse(text, 0)
				if err != nil || n != len(test.text) {
					t.Fatalf("%d of %d bytes, %v", n, len(test.text), err)
				}
				clear(text) // the header does not share its memory
				if diff := cmp.Diff(test.want, got, compareHeaders); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			}
			for n := range test.text {
				if h, size, err := Parse([]byte(test.text[:n]), 0); !errors.Is(err, ErrShort) {
					t.Fatalf("%q: %v, %d, %v, want ErrShort", test.text[:n], h, size, err)
				}
			}
		})
	}
}

var refused = []struct{ name, text, want string }{
	{"no space", "PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n", "after PROXY"},
	{"a tab", "PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n", "after PROXY"},
	{"LF alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "CR LF"},
	{"CR alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rx", "CR LF"},
	{"CR within UNKNOWN", "PROXY UNKNOWN \r\r\n", "CR LF"},
	{"a line of 108 bytes", "PROXY UNKNOWN " + strings.Repeat("x", 108-14-2) + "\r\n", "more than 107"},
	{"a line without an end", "PROXY UNKNOWN " + strings.Repeat("x", 107-14), "more than 107"},
	{"no family", "PROXY \r\n", "not a family"},
	{"nothing but the word", "PROXY\r\n", "after PROXY"},
	{"a family in lower case", "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", "not a family"},
	{"datagrams", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "not a family"},
	{"UNKNOWN and more", "PROXY UNKNOWNX\r\n", "not a family"},
	{"two spaces", "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "not a family"},
	{"two spaces between addresses", "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", "not a family"},
	{"no port", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "not a family"},
	{"a word too many", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "not a family"},
	{"a space at the end", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "not a family"},
	{"an empty port", "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", `port ""`},
	{"a port with a leading zero", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", `port "01"`},
	{"a port of zeros", "PROXY TCP4 192.0.2.1 192.0.2.2 1 00\r\n", `port "00"`},
	{"a port with a sign", "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", `port "+1"`},
	{"a port too large", "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", `port "65536"`},
	{"a port in hexadecimal", "PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2\r\n", `port "0x1"`},
	{"an octet with a leading zero", "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "TCP4 address"},
	{"three octets", "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", "TCP4 address"},
	{"an octet too large", "PROXY TCP4 192.0.2.1 192.0.2.256 1 2\r\n", "TCP4 address"},
	{"IPv6 for TCP4", "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "TCP4 address"},
	{"IPv4 in IPv6 for TCP4", "PROXY TCP4 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", "TCP4 address"},
	{"IPv4 for TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "TCP6 address"},
	{"two families", "PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n", "TCP6 address"},
	{"a zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", "TCP6 address"},
	{"brackets", "PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n", "TCP6 address"},
	{"two gaps", "PROXY TCP6 2001::db8::1 2001:db8::2 1 2\r\n", "TCP6 address"},
	{"a name", "PROXY TCP4 localhost 192.0.2.2 1 2\r\n", "TCP4 address"},

	{"version 1 in binary", signature + "\x11", "version and command 0x11"},
	{"version 3", signature + "\x31", "version and command 0x31"},
	{"an unassigned command", signature + "\x22", "version and command 0x22"},
	{"an unassigned family", signature + "\x21\x41", "family and transport 0x41"},
	{"an unassigned transport", signature + "\x21\x13", "family and transport 0x13"},
	{"a family of no transport", signature + "\x21\x10", "family and transport 0x10"},
	{"a transport of no family", signature + "\x21\x01", "family and transport 0x01"},
	{"datagrams over IPv4", signature + "\x21\x12", "family and transport 0x12"},
	{"datagrams over IPv6", signature + "\x21\x22", "family and transport 0x22"},
	{"datagrams over a Unix socket", signature + "\x21\x32", "family and transport 0x32"},
	{"addresses cut short", signature + "\x21\x11\x00\x0b", "the addresses have 12"},
	{"IPv6 addresses cut short", signature + "\x21\x21\x00\x0c", "the addresses have 36"},
	{"Unix addresses cut short", signature + "\x21\x31\x00\xd7", "the addresses have 216"},
	{"no addresses", signature + "\x21\x11\x00\x00", "the addresses have 12"},
	{"more than the limit", signature + "\x21\x11\x0f\xf1", "4097 bytes: at most 4096"},
	{"more than the limit for LOCAL", signature + "\x20\x00\xff\xff", "65551 bytes: at most 4096"},
	{"a byte too many", binary2(0x21, 0x11, ends4+"\x02"), "1 bytes after the last field"},
	{"half a length", binary2(0x21, 0x11, ends4+"\x02\x00"), "2 bytes after the last field"},
	{"a field cut short", binary2(0x21, 0x11, ends4+"\x02\x00\x02a"), "authority of 2 bytes has 1"},
	{"a field beyond the header", binary2(0x21, 0x11, ends4+"\x01\x00\x00\xe0\xff\xffabc"), "0xe0 of 65535 bytes has 3"},
	{"fields of unknown addresses cut short", binary2(0x21, 0x00, "\x02\x00\x02a"), "authority of 2 bytes has 1"},
	{"an id too long", binary2(0x21, 0x11, ends4+"\x05\x00\x81"+strings.Repeat("x", 129)), "unique_id of 129 bytes"},
	{"a wrong checksum", binary2(0x21, 0x11, ends4+"\x03\x00\x04\x00\x00\x00\x00"), "checksum 0x00000000"},
	{"a checksum cut short", binary2(0x21, 0x11, ends4+"\x03\x00\x03\x00\x00\x00"), "crc32c of 3 bytes"},
	{"two checksums", twoChecksums(), "crc32c is there twice"},
}

// twoChecksums is a header whose first checksum is right.
func twoChecksums() string {
	text := []byte(binary2(0x21, 0x11, ends4+"\x03\x00\x04\x00\x00\x00\x00"+"\x03\x00\x04\x00\x00\x00\x00"))
	at := fixedSize + sizeTCP4 + tlvHeaderSize
	binary.BigEndian.PutUint32(text[at:], checksum(text, at))
	return string(text)
}

func TestParseRefuses(t *testing.T) {
	for _, test := range refused {
		t.Run(test.name, func(t *testing.T) {
			h, n, err := Parse([]byte(test.text), 0)
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrShort) || errors.Is(err, ErrNone) {
				t.Fatalf("%v, %d, %v, want %q", h, n, err, test.want)
			}
			if n != 0 || !cmp.Equal(h, Header{}, compareHeaders) {
				t.Errorf("%v and %d bytes beside %v", h, n, err)
			}
		})
	}
}

func TestParseNone(t *testing.T) {
	for _, text := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET / HTTP/1.1\r\n", "POST", "proxy TCP4", "PROX\r\n", " PROXY ",
		"\r\n\r\n\x00\r\nQUIT\r\n", "\r\nPROXY", "\n", "\x00",
	} {
		if h, n, err := Parse([]byte(text), 0); !errors.Is(err, ErrNone) || n != 0 {
			t.Errorf("%q: %v, %d, %v", text, h, n, err)
		}
	}
}

// TestLimit has the limit bound what is waited for, before any of it came.
func TestLimit(t *testing.T) {
	whole := binary2(0x21, 0x11, ends4+"\xe0\x00\x64"+strings.Repeat("x", 100))
	if _, n, err := Parse([]byte(whole), len(whole)); err != nil || n != len(whole) {
		t.Errorf("as large as the limit: %d, %v", n, err)
	}
	if _, _, err := Parse([]byte(whole[:fixedSize]), len(whole)-1); err == nil || errors.Is(err, ErrShort) {
		t.Errorf("larger than the limit: %v", err)
	}
	if _, n, err := Parse([]byte(accepted[0].text), fixedSize); err != nil || n != len(accepted[0].text) {
		t.Errorf("a line, which it does not bound: %d, %v", n, err)
	}
}

// TestChecksumCovers has each bit of the addresses and the fields guarded. (What stands before them decides whether there
// is a checksum at all.)
func TestChecksumCovers(t *testing.T) {
	s := sender(t, Options{Version: V2, TLVs: []TLV{Authority, CRC32C}})
	text := header(t, s, everything())
	for at := fixedSize; at < len(text)-4-tlvHeaderSize; at++ {
		for bit := range 8 {
			text[at] ^= 1 << bit
			if h, _, err := Parse(text, 0); err == nil {
				t.Errorf("bit %d of byte %d flipped: %v", bit, at, h)
			}
			text[at] ^= 1 << bit
		}
	}
	if _, _, err := Parse(text, 0); err != nil {
		t.Errorf("none flipped: %v", err)
	}
}
