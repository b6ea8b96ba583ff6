package proxyproto

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"strings"
	"testing"

	upstream "github.com/pires/go-proxyproto"
)

func tcp(address string) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	return a
}

func TestFormatV1(t *testing.T) {
	tests := []struct{ name, source, destination, want string }{
		{"IPv4", "192.0.2.1:1234", "192.0.2.2:443", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"},
		{"IPv6", "[2001:db8::1]:1234", "[2001:db8::2]:443", "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n"},
		{"IPv4 in IPv6 on both sides", "[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"},
		{"mixed families", "192.0.2.1:1", "[2001:db8::2]:2", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := Client{Source: tcp(test.source), Destination: tcp(test.destination), Authority: "a.test"}
			got, err := Format(V1, client, []TLV{Authority})
			if err != nil || string(got) != test.want {
				t.Errorf("%q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestFormatV2(t *testing.T) {
	client := Client{
		Source: tcp("192.0.2.1:1234"), Destination: tcp("192.0.2.2:443"), Authority: "a.test", Protocol: "imap",
		UniqueID: []byte("id"), TLSVersion: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	}
	got, err := Format(V2, client, []TLV{CRC32C, SSL, ALPN, Authority, UniqueID})
	if err != nil {
		t.Fatal(err)
	}
	const want = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x64" +
		"\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb" +
		"\x01\x00\x04imap" + "\x02\x00\x06a.test" + "\x05\x00\x02id" +
		"\x20\x00\x2f\x01\x00\x00\x00\x01" + "\x21\x00\x07TLSv1.2" + "\x23\x00\x1dECDHE-RSA-AES128-GCM-SHA256"
	body, checksum := got[:len(got)-7], got[len(got)-7:]
	wantBody := []byte(strings.Replace(want, "\x23\x00\x1d", "\x23\x00\x1b", 1))
	binary.BigEndian.PutUint16(wantBody[14:], uint16(len(got)-16))
	at := bytes.Index(wantBody, []byte("\x20\x00\x2f"))
	binary.BigEndian.PutUint16(wantBody[at+1:], uint16(len(wantBody)-at-3))
	if !bytes.Equal(body, wantBody) {
		t.Errorf("header\n%q, want\n%q", body, wantBody)
	}
	zeroed := append(bytes.Clone(body), 3, 0, 4, 0, 0, 0, 0)
	if sum := crc32.Checksum(zeroed, crc32.MakeTable(crc32.Castagnoli)); binary.BigEndian.Uint32(checksum[3:]) != sum {
		t.Errorf("checksum %x, want %x", checksum[3:], sum)
	}
}

func TestFormatLeavesOut(t *testing.T) {
	client := Client{Source: tcp("192.0.2.1:1"), Destination: tcp("192.0.2.2:2")}
	if got, err := Format(Off, client, []TLV{CRC32C}); len(got) != 0 || err != nil {
		t.Errorf("off: %q, %v", got, err)
	}
	got, err := Format(V2, client, []TLV{ALPN, Authority, UniqueID})
	if err != nil || len(got) != fixedSize+12 {
		t.Errorf("nothing to say: %q, %v", got, err)
	}
}

func TestFormatTooLong(t *testing.T) {
	client := Client{Source: tcp("192.0.2.1:1"), Destination: tcp("192.0.2.2:2"), Authority: strings.Repeat("a", 1<<16)}
	if got, err := Format(V2, client, []TLV{Authority}); err == nil {
		t.Errorf("a header of %d bytes", len(got))
	}
}

// FuzzFormat holds every header to what the library reads back.
func FuzzFormat(f *testing.F) {
	f.Add("192.0.2.1:1", "a.test", "imap", []byte("id"), uint16(tls.VersionTLS13), uint16(tls.TLS_AES_128_GCM_SHA256))
	f.Fuzz(func(t *testing.T, source, authority, protocol string, id []byte, version, suite uint16) {
		address, err := netip.ParseAddrPort(source)
		if err != nil || address.Addr().Zone() != "" {
			return
		}
		from := net.TCPAddrFromAddrPort(address)
		client := Client{Source: from, Destination: tcp("[2001:db8::1]:2"), Authority: authority, Protocol: protocol, UniqueID: id, TLSVersion: version, CipherSuite: suite}
		text, err := Format(V2, client, []TLV{ALPN, Authority, UniqueID, SSL, CRC32C})
		if err != nil {
			return
		}
		header, err := upstream.Read(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got, ok := header.SourceAddr.(*net.TCPAddr); !ok || !got.IP.Equal(from.IP) || got.Port != from.Port {
			t.Fatalf("source %v, want %v", header.SourceAddr, from)
		}
	})
}
