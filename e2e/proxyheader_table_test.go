package e2e

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
)

// tlv is one TLV in bytes.
func tlv(kind byte, value string) string {
	return string([]byte{kind, byte(len(value) >> 8), byte(len(value))}) + value
}

// binaryHeader is a version 2 header with what it is given as body.
func binaryHeader(command, family byte, body string) []byte {
	raw := append(bytes.Clone(proxySignature), command, family, byte(len(body)>>8), byte(len(body)))
	return append(raw, body...)
}

// summed is the header with its CRC32C, which has to be the last TLV and zero so far, filled in.
func summed(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[len(raw)-4:], crc32.Checksum(raw, castagnoli))
	return raw
}

const (
	addresses4 = "\x7f\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x01\xbb" // 127.0.0.1:12345 to 10.0.0.2:443
	blankSum   = "\x03\x00\x04\x00\x00\x00\x00"
)

var addresses6 = strings.Repeat("\x00", 15) + "\x01" + strings.Repeat("\xfd", 16) + "\x30\x39\x01\xbb"

var goodHeaders = map[string][]byte{
	"v1":         []byte("PROXY TCP4 127.0.0.1 10.0.0.2 12345 443\r\n"),
	"v1 IPv6":    []byte("PROXY TCP6 ::1 2001:db8::1 12345 443\r\n"),
	"v1 unknown": []byte("PROXY UNKNOWN\r\n"),
	"v2":         binaryHeader(0x21, 0x11, addresses4),
	"v2 IPv6":    binaryHeader(0x21, 0x21, addresses6),
	"v2 local":   binaryHeader(0x20, 0x00, ""),
	"v2 summed":  summed(binaryHeader(0x21, 0x11, addresses4+tlv(tlvAuthority, "a.example")+blankSum)),
	"v2 TLS": binaryHeader(0x21, 0x11, addresses4+tlv(tlvALPN, "h2")+tlv(tlvUniqueID, "\x00\x01")+
		tlv(tlvSSL, "\x01\x00\x00\x00\x01"+tlv(sslVersion, "TLSv1.3")+tlv(sslCipher, "TLS_AES_128_GCM_SHA256"))),
}

var badHeaders = map[string][]byte{
	"v1 line feed alone":     []byte("PROXY TCP4 127.0.0.1 10.0.0.2 1 2\n"),
	"v1 no address":          []byte("PROXY TCP4 127.0.0.1 10.0.0.x 1 2\r\n"),
	"v1 mixed families":      []byte("PROXY TCP4 127.0.0.1 ::1 1 2\r\n"),
	"v1 mapped":              []byte("PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n"),
	"v1 not canonical":       []byte("PROXY TCP6 0::1 ::1 1 2\r\n"),
	"v1 leading zero":        []byte("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"),
	"v1 signed port":         []byte("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n"),
	"v1 big port":            []byte("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"),
	"v1 double space":        []byte("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n"),
	"v1 trailing space":      []byte("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"),
	"v1 zone":                []byte("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"),
	"v1 too long":            []byte("PROXY UNKNOWN " + strings.Repeat("x", 93) + "\r\n"),
	"v1 cut":                 []byte("PROXY TCP4 1.2.3.4"),
	"v1 UDP":                 []byte("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"),
	"v2 signature":           append([]byte("\r\n\r\n\x00\r\nQUIX\n"), binaryHeader(0x21, 0x11, addresses4)[12:]...),
	"v2 version":             binaryHeader(0x31, 0x11, addresses4),
	"v2 command":             binaryHeader(0x22, 0x11, addresses4),
	"v2 transport":           binaryHeader(0x21, 0x12, addresses4),
	"v2 family":              binaryHeader(0x21, 0x13, addresses4),
	"v2 short addresses":     binaryHeader(0x21, 0x11, addresses4[:11]),
	"v2 mapped":              binaryHeader(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff\x01\x02\x03\x04"+addresses6[16:]),
	"v2 cut":                 binaryHeader(0x21, 0x11, addresses4)[:20],
	"v2 TLV cut":             binaryHeader(0x21, 0x11, addresses4+"\x02\x00"),
	"v2 TLV longer than all": binaryHeader(0x21, 0x11, addresses4+"\x02\x00\x09abc"),
	"v2 TLV twice":           binaryHeader(0x21, 0x11, addresses4+tlv(tlvALPN, "a")+tlv(tlvALPN, "a")),
	"v2 TLV unknown":         binaryHeader(0x21, 0x11, addresses4+tlv(0x21, "a")),
	"v2 TLV empty":           binaryHeader(0x21, 0x11, addresses4+tlv(tlvAuthority, "")),
	"v2 wrong sum":           binaryHeader(0x21, 0x11, addresses4+blankSum),
	"v2 short sum":           binaryHeader(0x21, 0x11, addresses4+tlv(tlvCRC32C, "abc")),
	"v2 long id":             binaryHeader(0x21, 0x11, addresses4+tlv(tlvUniqueID, strings.Repeat("x", 129))),
	"v2 SSL cut":             binaryHeader(0x21, 0x11, addresses4+tlv(tlvSSL, "\x01\x00\x00\x00")),
	"v2 SSL bits":            binaryHeader(0x21, 0x11, addresses4+tlv(tlvSSL, "\x09\x00\x00\x00\x01")),
	"v2 SSL inner unknown":   binaryHeader(0x21, 0x11, addresses4+tlv(tlvSSL, "\x01\x00\x00\x00\x01"+tlv(0x01, "a"))),
	"no header":              []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
	"nothing":                nil,
}

// The judge itself: it takes good headers whole and not a byte of what follows, and refuses each kind of bad one.
func TestJudge(t *testing.T) {
	for name, raw := range goodHeaders {
		t.Run(name, func(t *testing.T) {
			r := bytes.NewReader(append(bytes.Clone(raw), "payload"...))
			header, err := readProxyHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			if r.Len() != len("payload") {
				t.Errorf("%d bytes are left for the payload, not 7", r.Len())
			}
			if !bytes.Equal(header.Raw, raw) {
				t.Errorf("took %q for %q", header.Raw, raw)
			}
		})
	}
	for name, raw := range badHeaders {
		t.Run(name, func(t *testing.T) {
			if header, err := readProxyHeader(bytes.NewReader(raw)); err == nil {
				t.Errorf("accepted %q as %+v", raw, header)
			}
		})
	}
}

func TestJudgeReadsValues(t *testing.T) {
	header, err := readProxyHeader(bytes.NewReader(goodHeaders["v2 TLS"]))
	if err != nil {
		t.Fatal(err)
	}
	if want := netip.MustParseAddrPort("127.0.0.1:12345"); header.Source != want {
		t.Errorf("source %v, want %v", header.Source, want)
	}
	if want := netip.MustParseAddrPort("10.0.0.2:443"); header.Destination != want {
		t.Errorf("destination %v, want %v", header.Destination, want)
	}
	want := proxySSL{Client: 1, Verify: 1, Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256"}
	if header.ALPN != "h2" || string(header.UniqueID) != "\x00\x01" || *header.SSL != want {
		t.Errorf("got %+v with %+v", header, header.SSL)
	}
	if header, err := readProxyHeader(bytes.NewReader(goodHeaders["v2 summed"])); err != nil || !header.Checked {
		t.Errorf("the sum was not checked: %+v, %v", header, err)
	}
}

// Whatever the bytes, the judge ends without a panic, and what it accepts is no longer one when its last byte is gone.
func FuzzDecode(f *testing.F) {
	for _, raw := range goodHeaders {
		f.Add(raw)
	}
	for _, raw := range badHeaders {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		header, err := readProxyHeader(bytes.NewReader(raw))
		if err != nil {
			return
		}
		if !bytes.HasPrefix(raw, header.Raw) {
			t.Fatalf("took %q for %q", header.Raw, raw)
		}
		if _, err := readProxyHeader(bytes.NewReader(header.Raw[:len(header.Raw)-1])); err == nil {
			t.Fatalf("also accepted without its last byte: %q", header.Raw)
		}
		if !header.Local && header.Source.Addr().Is4() != header.Destination.Addr().Is4() {
			t.Fatalf("mixed families: %v", header)
		}
	})
}
