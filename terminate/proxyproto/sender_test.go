package proxyproto

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func addr(text string) netip.AddrPort {
	if text == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(text)
}

func sender(t testing.TB, options Options) *Sender {
	t.Helper()
	s, err := NewSender(options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func header(t testing.TB, s *Sender, c Connection) []byte {
	t.Helper()
	text, err := s.Append(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// fieldsOf are the fields of a header that we wrote.
func fieldsOf(t testing.TB, text []byte) []Field {
	t.Helper()
	h, n, err := Parse(text, fixedSize+maxLength)
	if err != nil || n != len(text) {
		t.Fatalf("%q: %d of %d bytes, %v", text, n, len(text), err)
	}
	return h.TLVs
}

var families = []struct{ name, source, destination, line, binary string }{
	{
		"IPv4", "192.0.2.1:1234", "192.0.2.2:443",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n",
		"\x21\x11\x00\x0c" + "\xc0\x00\x02\x01\xc0\x00\x02\x02" + "\x04\xd2\x01\xbb",
	},
	{
		"IPv6", "[2001:db8::1]:1234", "[2001:db8::2]:443",
		"PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n",
		"\x21\x21\x00\x24" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
			"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x04\xd2\x01\xbb",
	},
	{
		"IPv4 in IPv6 on both sides", "[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
		"\x21\x11\x00\x0c" + "\xc0\x00\x02\x01\xc0\x00\x02\x02" + "\x00\x01\x00\x02",
	},
	{
		"IPv4 from IPv6", "192.0.2.1:65535", "[2001:db8::2]:0",
		"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 65535 0\r\n",
		"\x21\x21\x00\x24" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01" +
			"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\xff\xff\x00\x00",
	},
	{
		"a zone", "[fe80::1%eth0]:1", "[fe80::2%eth0]:2",
		"PROXY TCP6 fe80::1 fe80::2 1 2\r\n",
		"\x21\x21\x00\x24" + "\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
			"\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x00\x01\x00\x02",
	},
	{"no addresses", "", "", "PROXY UNKNOWN\r\n", "\x20\x00\x00\x00"},
	{"no source", "", "192.0.2.2:443", "PROXY UNKNOWN\r\n", "\x20\x00\x00\x00"},
	{"no destination", "192.0.2.1:1", "", "PROXY UNKNOWN\r\n", "\x20\x00\x00\x00"},
}

func TestAppendAddresses(t *testing.T) {
	for _, test := range families {
		t.Run(test.name, func(t *testing.T) {
			c := Connection{Source: addr(test.source), Destination: addr(test.destination), Authority: "a.test"}
			if got := header(t, sender(t, Options{Version: V1, TLVs: []TLV{Authority}}), c); string(got) != test.line {
				t.Errorf("line %q, want %q", got, test.line)
			}
			if got := header(t, sender(t, Options{Version: V2}), c); string(got) != signature+test.binary {
				t.Errorf("header %q, want %q", got, signature+test.binary)
			}
			if got := header(t, sender(t, Options{}), c); len(got) != 0 {
				t.Errorf("off: %q", got)
			}
		})
	}
}

func TestLongestLine(t *testing.T) {
	const ip = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
	line := header(t, sender(t, Options{Version: V1}), Connection{Source: addr(ip), Destination: addr(ip)})
	if len(line) != 104 {
		t.Errorf("%d bytes: %q", len(line), line)
	}
}

// everything has a value for every field.
func everything() Connection {
	return Connection{
		Source: addr("192.0.2.1:1234"), Destination: addr("192.0.2.2:443"), Authority: "a.test", Protocol: "imap",
		UniqueID: []byte("id"), Namespace: "blue",
		TLS: &TLS{
			Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			Group: tls.CurveP256, SignatureScheme: tls.PSSWithSHA256,
			Certificate: &x509.Certificate{SignatureAlgorithm: x509.SHA256WithRSA, PublicKey: rsaKey(2048)},
			ClientCertificate: &x509.Certificate{
				SignatureAlgorithm: x509.PureEd25519, Raw: []byte("DER"), Subject: pkix.Name{CommonName: "Zoë"},
			},
			Verified: true,
		},
		Received: []Field{{0xea, []byte("vpce")}, {0xeb, []byte("no")}},
	}
}

var everyTLV = []TLV{
	CRC32C, SSLClientCertificate, SSLSignatureScheme, SSLGroup, SSLKeyAlgorithm, SSLSignatureAlgorithm, SSLVersion,
	SSLCipher, SSLCommonName, SSL, NetworkNamespace, ALPN, Authority, UniqueID,
}

func TestAppendFields(t *testing.T) {
	s := sender(t, Options{
		Version: V2, TLVs: everyTLV, Custom: []Field{{0xe0, []byte("fixed")}, {0xef, nil}}, PassOn: []TLV{0xea},
	})
	got := header(t, s, everything())
	const ssl = "\x03\x00\x00\x00\x00"
	wantSSL := strings.Replace(ssl, "\x03", "\x07", 1) + "\x21\x00\x07TLSv1.2" + "\x23\x00\x1bECDHE-RSA-AES128-GCM-SHA256" +
		"\x24\x00\x0aRSA-SHA256" + "\x25\x00\x07RSA2048" + "\x26\x00\x09secp256r1" + "\x27\x00\x13rsa_pss_rsae_sha256" +
		"\x22\x00\x04Zo\xc3\xab" + "\x28\x00\x03DER"
	body := "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb" +
		"\x01\x00\x04imap" + "\x02\x00\x06a.test" + "\x05\x00\x02id" +
		"\x20\x00" + string(rune(len(wantSSL))) + wantSSL + "\x30\x00\x04blue" +
		"\xe0\x00\x05fixed" + "\xef\x00\x00" + "\xea\x00\x04vpce" + "\x03\x00\x04\x00\x00\x00\x00"
	want := binary.BigEndian.AppendUint16([]byte(signature+"\x21\x11"), uint16(len(body)))
	want = append(want, body...)
	binary.BigEndian.PutUint32(want[len(want)-4:], crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli)))
	if !bytes.Equal(got, want) {
		t.Errorf("header\n%q, want\n%q", got, want)
	}
}

// TestChecksumOfKnownBytes holds the polynomial to the check value of RFC 3720, appendix B.4.
func TestChecksumOfKnownBytes(t *testing.T) {
	if got := crc32.Checksum([]byte("123456789"), castagnoli); got != 0xe3069283 {
		t.Errorf("%x", got)
	}
}

func TestAppendLeavesOut(t *testing.T) {
	s := sender(t, Options{Version: V2, TLVs: everyTLV, PassOn: []TLV{0xea}})
	got := fieldsOf(t, header(t, s, Connection{Source: addr("192.0.2.1:1"), Destination: addr("192.0.2.2:2")}))
	if len(got) != 1 || got[0].Type != CRC32C {
		t.Errorf("fields %v of nothing", got)
	}
	got = fieldsOf(t, header(t, sender(t, Options{Version: V2}), everything()))
	if len(got) != 0 {
		t.Errorf("fields %v that nobody wants", got)
	}
}

func TestAppendExtends(t *testing.T) {
	s := sender(t, Options{Version: V2, TLVs: everyTLV})
	alone := header(t, s, everything())
	got, err := s.Append([]byte("before"), everything())
	if err != nil || string(got) != "before"+string(alone) {
		t.Errorf("%q, %v, want %q after what was there", got, err, alone)
	}
}

func TestPassOn(t *testing.T) {
	received := []Field{
		{Authority, []byte("theirs.test")},
		{CRC32C, []byte("stale")},
		{0xe0, []byte("theirs")},
		{0xe0, []byte("and again")},
		{0xee, []byte("unwanted")},
	}
	tests := []struct {
		name   string
		passOn []TLV
		want   string
	}{
		{"nothing", nil, "authority=ours.test 0xe0=ours"},
		{"one of ours", []TLV{Authority}, "0xe0=ours authority=theirs.test"},
		{"a custom one", []TLV{0xe0}, "authority=ours.test 0xe0=theirs 0xe0=and again"},
		{"one that did not come", []TLV{UniqueID, 0xe1}, "authority=ours.test 0xe0=ours"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := sender(t, Options{Version: V2, TLVs: []TLV{Authority}, Custom: []Field{{0xe0, []byte("ours")}}, PassOn: test.passOn})
			c := Connection{Source: addr("192.0.2.1:1"), Destination: addr("192.0.2.2:2"), Authority: "ours.test", Received: received}
			var got []string
			for _, field := range fieldsOf(t, header(t, s, c)) {
				got = append(got, field.Type.String()+"="+string(field.Value))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestAppendTooLong(t *testing.T) {
	long := strings.Repeat("a", maxLength+1)
	half := strings.Repeat("a", maxLength/2)
	fits := maxLength - sizeTCP4 - tlvHeaderSize
	tests := []struct {
		name   string
		change func(*Connection)
		want   string // empty: it fits
	}{
		{"a value", func(c *Connection) { c.Authority = long }, "TLV authority of 65536 bytes"},
		{"all together", func(c *Connection) { c.Authority, c.Protocol = half, half }, "65552 bytes after"},
		{"all there is room for", func(c *Connection) { c.Authority = long[:fits] }, ""},
		{"one more", func(c *Connection) { c.Authority = long[:fits+1] }, "65536 bytes after"},
		{"an id", func(c *Connection) { c.UniqueID = []byte(long[:128]) }, ""},
		{"a longer id", func(c *Connection) { c.UniqueID = []byte(long[:129]) }, "TLV unique_id of 129 bytes: at most 128"},
		{"a client certificate", func(c *Connection) {
			c.TLS = &TLS{ClientCertificate: &x509.Certificate{Raw: []byte(long)}}
		}, "TLV ssl_client_cert of 65536 bytes"},
		{"an SSL field", func(c *Connection) {
			c.TLS = &TLS{ClientCertificate: &x509.Certificate{Raw: []byte(long[:maxLength])}}
		}, "TLV ssl of"},
		{"what is passed on", func(c *Connection) { c.Received = []Field{{0xea, []byte(long)}} }, "TLV 0xea of 65536 bytes"},
	}
	s := sender(t, Options{Version: V2, TLVs: []TLV{ALPN, Authority, UniqueID, SSL, SSLClientCertificate}, PassOn: []TLV{0xea}})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := Connection{Source: addr("192.0.2.1:1"), Destination: addr("192.0.2.2:2")}
			test.change(&c)
			got, err := s.Append([]byte("before"), c)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				fieldsOf(t, got[len("before"):])
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || string(got) != "before" {
				t.Errorf("%d bytes, %v, want %q", len(got), err, test.want)
			}
		})
	}
}

func TestLocalHeader(t *testing.T) {
	source, destination := addr("10.0.0.1:1"), addr("10.0.0.2:2")
	tests := []struct {
		name                string
		version             Version
		source, destination netip.AddrPort
		want                string
	}{
		{"off", Off, source, destination, ""},
		{"v1", V1, source, destination, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"},
		{"v1 over a Unix socket", V1, netip.AddrPort{}, netip.AddrPort{}, "PROXY UNKNOWN\r\n"},
		{"v2", V2, source, destination, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := LocalHeader(test.version, test.source, test.destination); string(got) != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestAddrPort(t *testing.T) {
	tests := []struct {
		name string
		end  net.Addr
		want netip.AddrPort
	}{
		{"TCP", net.TCPAddrFromAddrPort(addr("192.0.2.1:1")), addr("192.0.2.1:1")},
		{"Unix", &net.UnixAddr{Name: "/run/x"}, netip.AddrPort{}},
		{"none", nil, netip.AddrPort{}},
		{"a nil one", (*net.TCPAddr)(nil), netip.AddrPort{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := AddrPort(test.end); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	s := sender(b, Options{Version: V2, TLVs: []TLV{Authority, ALPN, SSL, UniqueID, CRC32C}})
	c := Connection{
		Source: addr("192.0.2.1:1234"), Destination: addr("192.0.2.2:443"), Authority: "customer.shop.example.com",
		Protocol: "h2", UniqueID: []byte("0123456789abcdef0123456789abcdef"),
		TLS: &TLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256},
	}
	buffer := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(buffer, c); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAppendDoesNotAllocate holds the cost of every connection: what is written goes where the caller has room.
func TestAppendDoesNotAllocate(t *testing.T) {
	s := sender(t, Options{Version: V2, TLVs: everyTLV, Custom: []Field{{0xe0, []byte("fixed")}}, PassOn: []TLV{0xea}})
	c, buffer := everything(), make([]byte, 0, 1024)
	c.TLS.Version, c.TLS.CipherSuite = tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256
	if n := testing.AllocsPerRun(10, func() { _, _ = s.Append(buffer, c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
