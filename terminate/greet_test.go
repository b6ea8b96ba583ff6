package terminate

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"hellogate/terminate/limit"
	"hellogate/terminate/proxyproto"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// behindProxy has the server read the headers of loopback, and pass on what they tell.
func behindProxy(t *testing.T, change func(*setup)) *bench {
	t.Helper()
	b := startServer(t, func(o *setup) {
		o.Limits.Alert = 100 * time.Millisecond
		o.Listeners[0].Proxy = &Proxy{From: loopback, Required: true, Timeout: 5 * time.Second}
		if change != nil {
			change(o)
		}
	})
	b.route.Backend.Proxy = sender(t, proxyproto.Options{
		Version: proxyproto.V2, TLVs: []proxyproto.TLV{proxyproto.Authority}, PassOn: []proxyproto.TLV{proxyproto.FirstCustom},
	})
	return b
}

// headerOf is what a proxy in front sends.
func headerOf(t *testing.T, version proxyproto.Version, source string, fields ...proxyproto.Field) []byte {
	t.Helper()
	options := proxyproto.Options{Version: version, Custom: fields}
	if version == proxyproto.V2 {
		options.TLVs = []proxyproto.TLV{proxyproto.CRC32C}
	}
	told := proxyproto.Connection{}
	if source != "" {
		told.Source = netip.MustParseAddrPort(source)
		told.Destination = netip.AddrPortFrom(told.Source.Addr(), 443)
	}
	header, err := sender(t, options).Append(nil, told)
	if err != nil {
		t.Fatal(err)
	}
	return header
}

// The client is who a trusted proxy says it is, for the log and for the server behind, however its header comes.
func TestGreet(t *testing.T) {
	field := proxyproto.Field{Type: proxyproto.FirstCustom, Value: []byte("told")}
	noEnd := netip.AddrPort{}
	for _, test := range []struct {
		name   string
		header []byte
		client string // empty: who connected
		pieces int    // of the header; 0: it comes with the hello
		field  bool   // passed on
	}{
		{"version 1", headerOf(t, proxyproto.V1, "192.0.2.1:1000"), "192.0.2.1:1000", 0, false},
		{"version 1, byte for byte", headerOf(t, proxyproto.V1, "192.0.2.1:1000"), "192.0.2.1:1000", 1, false},
		{"version 1, IPv6", headerOf(t, proxyproto.V1, "[2001:db8::1]:1000"), "[2001:db8::1]:1000", 0, false},
		{"version 1, unknown", headerOf(t, proxyproto.V1, ""), "", 0, false},
		{"version 2", headerOf(t, proxyproto.V2, "192.0.2.1:1000", field), "192.0.2.1:1000", 0, true},
		{"version 2, byte for byte", headerOf(t, proxyproto.V2, "192.0.2.1:1000", field), "192.0.2.1:1000", 1, true},
		{"version 2, IPv6", headerOf(t, proxyproto.V2, "[2001:db8::1]:1000"), "[2001:db8::1]:1000", 0, false},
		{"version 2, IPv4 in IPv6", inIPv6([4]byte{192, 0, 2, 1}, 1000), "192.0.2.1:1000", 0, false},
		{"version 2, unknown", []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x00\x00\x07\xe0\x00\x04told"), "", 0, true},
		{"version 2, its own", proxyproto.LocalHeader(proxyproto.V2, noEnd, noEnd), "", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := behindProxy(t, nil)
			raw := b.raw()
			front := net.Conn(&prefixed{Conn: raw, first: test.header})
			if test.pieces > 0 {
				for piece := range chunks(test.header, test.pieces) {
					mustWrite(t, raw, piece)
					time.Sleep(time.Millisecond)
				}
				front = raw
			}
			client, err := b.handshake(front, &tls.Config{ServerName: "a.test"})
			if err != nil {
				t.Fatal(err)
			}
			backend := b.accept()
			want := test.client
			if want == "" {
				want = raw.LocalAddr().String()
			}
			got := readHeader(t, backend)
			if got.Source.String() != want || (len(got.TLVs) == 2) != test.field {
				t.Errorf("passed on %v", got)
			}
			mustWrite(t, client, []byte("hello"))
			_ = client.CloseWrite()
			wantRead(t, backend, []byte("hello"), nil)
			backend.Close()
			wantRead(t, client, nil, nil)
			line := b.line()
			if line["client"] != want || line["reason"] != "ok" || line["proxy_ms"] == nil || line["total_ms"].(float64) < line["proxy_ms"].(float64) {
				t.Errorf("line %v", line)
			}
			b.wantNothingCounted()
		})
	}
}

// prefixed is a connection whose first write has something in front.
type prefixed struct {
	net.Conn
	first []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(append(p.first, b...))
	n, p.first = max(0, n-len(p.first)), nil
	return n, err
}

// inIPv6 is a header of a proxy whose listener has both families in one.
func inIPv6(client [4]byte, port uint16) []byte {
	mapped := append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, client[:]...)
	header := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24"), mapped...)
	header = append(append(header, mapped...), byte(port>>8), byte(port), 1, 187)
	return header
}

// Larger bytes behind the header than the hello's reader takes at once are not lost.
func TestGreetThenPassthrough(t *testing.T) {
	b := behindProxy(t, func(o *setup) { o.Action = Passthrough })
	raw, hello := b.raw(), helloFor("c.test", nil)
	rest := append(hello, filled(300_000)...)
	go func() {
		mustWrite(t, raw, append(headerOf(t, proxyproto.V2, "192.0.2.1:1000"), rest...))
		_ = raw.CloseWrite()
	}()
	backend := b.accept()
	if got := readHeader(t, backend); got.Source.String() != "192.0.2.1:1000" {
		t.Errorf("passed on %v", got)
	}
	wantRead(t, backend, rest, nil)
	backend.Close()
	if line := b.line(); line["bytes_in"] != float64(len(rest)) {
		t.Errorf("line %v", line)
	}
}

// Headers that are late, missing or bad are refused with nothing but a close; so is one whose sender goes away.
func TestGreetRefuses(t *testing.T) {
	long := headerOf(t, proxyproto.V2, "192.0.2.1:1000")
	bad := headerOf(t, proxyproto.V2, "192.0.2.1:1000")
	bad[len(bad)-1]++
	for _, test := range []struct {
		name   string
		send   []byte
		ends   bool
		reason Reason
		text   string
	}{
		{"none", helloFor("a.test", nil), false, ReasonProxyHeader, "no PROXY header"},
		{"garbage behind its beginning", []byte("PROXY nonsense\r\n"), false, ReasonProxyHeader, ""},
		{"a checksum that is wrong", bad, false, ReasonProxyHeader, "checksum"},
		{"half of it", long[:20], false, ReasonTimeout, ""},
		{"nothing", nil, false, ReasonTimeout, ""},
		{"half of it, and an end", long[:20], true, ReasonProxyHeader, "EOF"},
		{"an end", nil, true, "client_closed", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := behindProxy(t, func(o *setup) { o.Listeners[0].Proxy.Timeout = 300 * time.Millisecond })
			raw := b.raw()
			mustWrite(t, raw, test.send)
			if test.ends {
				_ = raw.CloseWrite()
			}
			if got, _ := io.ReadAll(raw); len(got) > 0 {
				t.Errorf("it was answered %x", got)
			}
			line := b.line()
			text, _ := line["error"].(string)
			if line["reason"] != string(test.reason) || line["stage"] != "proxy" || !strings.Contains(text, test.text) || line["total_ms"] == nil {
				t.Errorf("line %v", line)
			}
			b.wantNothingCounted()
		})
	}
}

// The hello has its own time behind the header's.
func TestGreetThenSlowHello(t *testing.T) {
	b := behindProxy(t, func(o *setup) {
		o.Listeners[0].Proxy.Timeout, o.Limits.Hello = 300*time.Millisecond, 600*time.Millisecond
	})
	raw := b.raw()
	mustWrite(t, raw, headerOf(t, proxyproto.V2, "192.0.2.1:1000"))
	began := time.Now()
	line := b.line()
	if took := time.Since(began); took < 500*time.Millisecond || line["reason"] != "timeout" || line["stage"] != "hello" || line["client"] != "192.0.2.1:1000" {
		t.Errorf("after %v: %v", took, line)
	}
}

// Where a header is not required, a client of its own is served, too.
func TestGreetNotRequired(t *testing.T) {
	b := behindProxy(t, func(o *setup) { o.Listeners[0].Proxy.Required = false })
	client, _ := b.pair()
	b.want("it is seen", func() bool {
		open := b.server.Connections(all)
		return len(open) == 1 && open[0].Client.String() == client.LocalAddr().String()
	})
}

// Whoever is not trusted sends bytes, not a header.
func TestGreetUntrusted(t *testing.T) {
	b := behindProxy(t, func(o *setup) { o.Listeners[0].Proxy.From = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	b.pair()
	for _, version := range []proxyproto.Version{proxyproto.V1, proxyproto.V2} {
		raw := b.raw()
		mustWrite(t, raw, append(headerOf(t, version, "192.0.2.1:1000"), helloFor("a.test", nil)...))
		if _, err := io.ReadAll(raw); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		if line := b.line(); line["reason"] != "not_tls" || line["client"] != raw.LocalAddr().String() {
			t.Errorf("line %v", line)
		}
	}
}

// A network has the addresses of all links.
func TestTrusts(t *testing.T) {
	p := Proxy{From: []netip.Prefix{netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("10.0.0.0/8")}}
	for address, want := range map[string]bool{"fe80::1%eth0": true, "fe80::1": true, "10.1.2.3": true, "2001:db8::1": false, "192.0.2.1": false} {
		if p.trusts(netip.MustParseAddr(address)) != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
}

// Clients behind a proxy are counted each by itself, and the proxy is not.
func TestGreetCountsClients(t *testing.T) {
	b := behindProxy(t, func(o *setup) { o.Limits.Client = limit.Rules{Connections: 1} })
	open := func(source string) (*tls.Conn, error) {
		raw := b.raw()
		mustWrite(t, raw, headerOf(t, proxyproto.V2, source))
		return b.handshake(raw, &tls.Config{ServerName: "a.test"})
	}
	first, err := open("192.0.2.1:1000")
	if err != nil {
		t.Fatal(err)
	}
	backend := b.accept()
	readHeader(t, backend)
	if _, err := open("192.0.2.2:1000"); err != nil {
		t.Fatal(err)
	}
	_, err = open("192.0.2.1:1001")
	wantAlert(t, err, AlertInternalError)
	b.wantReason(ReasonClientConnections)
	first.Close()
	backend.Close()
	b.wantReason(ReasonOK)
	b.want("it may come again", func() bool { counted, _ := b.server.clients.Tracked(); return counted == 1 })
	if _, err := open("192.0.2.1:1002"); err != nil {
		t.Error(err)
	}
}
