package proxyproto

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	upstream "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
	"pgregory.net/rapid"
)

func genEnd(t *rapid.T, label string) netip.AddrPort {
	size := rapid.SampledFrom([]int{0, 4, 16}).Draw(t, label+" size")
	ip, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, label))
	if rapid.Bool().Draw(t, label+" mapped") && ip.Is4() {
		ip = netip.AddrFrom16(ip.As16())
	}
	return netip.AddrPortFrom(ip, rapid.Uint16().Draw(t, label+" port"))
}

// TestRoundTrip has every header read as it was meant, by us and by go-proxyproto.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.SampledFrom([]Version{V1, V2}).Draw(t, "version")
		options := Options{Version: version, TLVs: rapid.SliceOf(rapid.SampledFrom([]TLV{ALPN, Authority, UniqueID, CRC32C})).Draw(t, "tlvs")}
		s, err := NewSender(options)
		if err != nil {
			t.Fatal(err)
		}
		c := Connection{
			Source: genEnd(t, "source"), Destination: genEnd(t, "destination"),
			Authority: rapid.String().Draw(t, "authority"), Protocol: rapid.String().Draw(t, "protocol"),
			UniqueID: rapid.SliceOfN(rapid.Byte(), 0, 128).Draw(t, "id"),
		}
		text, err := s.Append(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		h, n, err := Parse(text, fixedSize+maxLength)
		if err != nil || n != len(text) || h.Version != version {
			t.Fatalf("%q: %v, %d, %v", text, h, n, err)
		}
		want := expect(s, c)
		for i := range h.TLVs {
			if h.TLVs[i].Type == CRC32C {
				h.TLVs[i].Value = nil
			}
		}
		if diff := cmp.Diff(want, h, compareHeaders); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		if judged := independent(t, text); judged.Source != h.Source || judged.Destination != h.Destination {
			t.Fatalf("go-proxyproto read %v to %v, want %v to %v", judged.Source, judged.Destination, h.Source, h.Destination)
		}
	})
}

// expect is what a receiver is to read in c's header.
func expect(s *Sender, c Connection) Header {
	h := Header{Version: s.Version()}
	if !c.Source.IsValid() || !c.Destination.IsValid() {
		h.Local = s.Version() == V2
		return h
	}
	unmap := func(end netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(end.Addr().Unmap(), end.Port()) }
	h.Source, h.Destination = unmap(c.Source), unmap(c.Destination)
	if s.Version() == V1 {
		return h
	}
	for _, field := range []Field{{ALPN, []byte(c.Protocol)}, {Authority, []byte(c.Authority)}, {UniqueID, c.UniqueID}} {
		if s.tlvs.has(field.Type) && len(field.Value) > 0 {
			h.TLVs = append(h.TLVs, field)
		}
	}
	if s.tlvs.has(CRC32C) {
		h.TLVs = append(h.TLVs, Field{Type: CRC32C})
	}
	return h
}

// independent has go-proxyproto read a header.
func independent(t interface{ Fatalf(string, ...any) }, text []byte) Header {
	read, err := upstream.Read(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		t.Fatalf("go-proxyproto on %q: %v", text, err)
	}
	h := Header{Local: read.Version == 2 && read.Command == upstream.LOCAL}
	from, isTCP := read.SourceAddr.(*net.TCPAddr)
	if to, ok := read.DestinationAddr.(*net.TCPAddr); ok && isTCP && !h.Local {
		h.Source, h.Destination = expectEnd(from), expectEnd(to)
	}
	for _, tlv := range must(read.TLVs()) {
		if tlv.Type != upstream.PP2_TYPE_NOOP {
			h.TLVs = append(h.TLVs, Field{TLV(tlv.Type), tlv.Value})
		}
	}
	return h
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func expectEnd(end *net.TCPAddr) netip.AddrPort {
	a := end.AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// TestSSLReadIndependently has go-proxyproto read the SSL field.
func TestSSLReadIndependently(t *testing.T) {
	text := header(t, sender(t, Options{Version: V2, TLVs: everyTLV}), everything())
	value, _ := Find(independent(t, text).TLVs, SSL)
	ssl := must(tlvparse.SSL(upstream.TLV{Type: upstream.PP2_TYPE_SSL, Value: value}))
	if !ssl.ClientSSL() || !ssl.ClientCertConn() || !ssl.ClientCertSess() || !ssl.Verified() {
		t.Errorf("client 0x%x verify %d", ssl.Client, ssl.Verify)
	}
	tests := []struct {
		name string
		read func() (string, bool)
		want string
	}{
		{"version", ssl.SSLVersion, "TLSv1.2"},
		{"cipher", ssl.SSLCipher, "ECDHE-RSA-AES128-GCM-SHA256"},
		{"common name", ssl.ClientCN, "Zoë"},
		{"signature algorithm", ssl.SSLSigAlg, "RSA-SHA256"},
		{"key algorithm", ssl.SSLKeyAlg, "RSA2048"},
		{"group", ssl.SSLGroup, "secp256r1"},
		{"signature scheme", ssl.SSLSigScheme, "rsa_pss_rsae_sha256"},
	}
	for _, test := range tests {
		if got, _ := test.read(); got != test.want {
			t.Errorf("%s %q, want %q", test.name, got, test.want)
		}
	}
	if der, _ := ssl.ClientCert(); string(der) != "DER" {
		t.Errorf("certificate %q", der)
	}
}
