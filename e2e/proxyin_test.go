package e2e

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// acceptsProxy has the first listener, at a free address, read the header of proxies at 127.0.0.0/28.
func acceptsProxy(t testing.TB, more string) string {
	t.Helper()
	return fmt.Sprintf("listeners: [{name: front, address: %q, accept_proxy: {from: [127.0.0.0/28]%s}}]", freeAddress(t), more)
}

// newProxied is a world whose listener reads the header of proxies.
func newProxied(t testing.TB, more string, overrides ...string) *world {
	t.Helper()
	w := newWorld(t, append([]string{acceptsProxy(t, more)}, overrides...)...)
	w.address = w.firstAddress()
	return w
}

// firstAddress is the address of the first listener, as the log tells it.
func (g *gate) firstAddress() string {
	g.t.Helper()
	e := g.await("line of the start", func(e entry) bool { return e.text("message") == "started" })
	return e["listeners"].([]any)[0].(string)
}

// told makes a header of version 2 that tells of a client, with TLVs.
func told(source string, tlvs string) []byte {
	client := netip.MustParseAddrPort(source)
	body := string(client.Addr().AsSlice()) + "\x0a\x00\x00\x02"
	body += string(binary.BigEndian.AppendUint16(nil, client.Port())) + "\x01\xbb"
	return binaryHeader(0x21, 0x11, body+tlvs)
}

// behind makes a connection for name from source whose first bytes are the header.
func (g *gate) behind(source string, header []byte, name string, options ...option) (*client, error) {
	g.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := dialer.Dial("tcp", g.address)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write(header); err != nil {
		g.t.Fatal(err)
	}
	return handshakeOver(conn.(*net.TCPConn), name, options...)
}

// mustBehind is behind that has to succeed.
func (g *gate) mustBehind(header []byte, name string) *client {
	g.t.Helper()
	c, err := g.behind("127.0.0.1", header, name)
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

// HAProxy in front, with either version and all that it can send: the client's address arrives at the backend and in the
// log, and so does what it was told itself.
func TestProxyInFromHAProxy(t *testing.T) {
	t.Parallel()
	w := newProxied(t, "", "backends: {main: {pass_tlvs: [authority, unique_id]}}")
	for send, authority := range map[string]string{
		"send-proxy": "a.example", "send-proxy-v2": "a.example", "send-proxy-v2 proxy-v2-options crc32c,authority,unique-id": "outer.example",
	} {
		address := freeAddress(t)
		runHAProxy(t, address, fmt.Sprintf("listen front\n    bind %s accept-proxy\n    unique-id-format id-%%pid-%%Ts\n    server gate %s %s\n", address, w.address, send))
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(told("192.0.2.7:4321", tlv(tlvAuthority, "outer.example")))
		c, err := handshakeOver(conn.(*net.TCPConn), "a.example")
		if err != nil {
			t.Fatalf("%s: %v", send, err)
		}
		c.wantEcho(t, "hello")
		got := w.backend.next(t).header
		if got.Source.String() != "192.0.2.7:4321" || got.Destination.String() != "10.0.0.2:443" || got.Authority != authority {
			t.Errorf("%s: the backend was told of %v to %v, %q", send, got.Source, got.Destination, got.Authority)
		}
		if isHAProxys := strings.HasPrefix(string(got.UniqueID), "id-"); isHAProxys != (authority == "outer.example") {
			t.Errorf("%s: unique id %q", send, got.UniqueID)
		}
		c.Close()
		if e := w.access("client", "192.0.2.7:4321"); e.text("reason") != "ok" {
			t.Errorf("%s: logged %v", send, e)
		}
	}
}

// Limits of a client count the clients that a proxy tells of, not the proxy.
func TestProxyInLimitsClients(t *testing.T) {
	t.Parallel()
	w := newProxied(t, "", "limits: {connections_per_ip: 1}")
	first := w.mustBehind(told("192.0.2.1:1000", ""), "a.example")
	w.mustBehind(told("192.0.2.2:1000", ""), "a.example").wantEcho(t, "another client")
	if _, err := w.behind("127.0.0.1", told("192.0.2.1:1001", ""), "a.example"); err == nil {
		t.Error("a second connection of the same client was let in")
	}
	if e := w.access("reason", "client_connections"); e.text("client") != "192.0.2.1:1001" {
		t.Errorf("logged %v", e)
	}
	first.Close()
	w.eventually("there is room again", func() bool {
		c, err := w.behind("127.0.0.1", told("192.0.2.1:1002", ""), "a.example")
		c.Close()
		return err == nil
	})
}

// Routes by the client's address go by what a trusted proxy tells.
func TestProxyInRoutesByClient(t *testing.T) {
	t.Parallel()
	w := newProxied(t, "", `routes: [{match: {client_ips: [192.0.2.0/24]}, backend: main}, {action: reject}]`)
	w.mustBehind(told("192.0.2.9:1", ""), "a.example").wantEcho(t, "hello")
	c, err := w.behind("127.0.0.1", told("198.51.100.9:1", ""), "a.example")
	if err == nil || c.wire.alert() != alertAccessDenied {
		t.Errorf("alert %d: %v", c.wire.alert(), err)
	}
}

// A trusted proxy that sends no header, where one is required, or a bad one, is closed without a word.
func TestProxyInRefusesHeader(t *testing.T) {
	t.Parallel()
	w := newProxied(t, "")
	wrong := summed(told("192.0.2.7:1", blankSum))
	wrong[len(wrong)-1] ^= 1
	for name, raw := range map[string][]byte{
		"none": {22, 3, 1, 0, 200}, "wrong checksum": wrong, "a line that is none": []byte("PROXY TCP4 nobody\r\n"),
		"a command that is none": binaryHeader(0x22, 0x11, addresses4), "datagrams": binaryHeader(0x21, 0x12, addresses4),
		"cut TLV": told("192.0.2.7:1", "\x02\x00\x09abc"), "too large": binaryHeader(0x21, 0x11, addresses4+tlv(0xe0, strings.Repeat("x", 5000))),
	} {
		before := w.refusals("proxy_header")
		if got, _ := exchange(t, w.address, raw); len(got) != 0 {
			t.Errorf("%s: %q came back", name, got)
		}
		w.eventually(name+" is counted", func() bool { return w.refusals("proxy_header") == before+1 })
	}
	if e := w.access("reason", "proxy_header"); e.text("stage") != "proxy" || e.text("error") == "" {
		t.Errorf("logged %v", e)
	}
	w.backend.wantNone(t)
}

// Where it is not required, those without a header are served as well.
func TestProxyInOptional(t *testing.T) {
	t.Parallel()
	w := newProxied(t, ", required: false")
	w.visit("a.example")
	if got := w.backend.next(t).header.Source.Addr().String(); got != "127.0.0.1" {
		t.Errorf("without a header the client is told as %s", got)
	}
	w.mustBehind(told("192.0.2.7:1", ""), "a.example").wantEcho(t, "hello")
	if got := w.backend.next(t).header.Source.Addr().String(); got != "192.0.2.7" {
		t.Errorf("with a header the client is told as %s", got)
	}
}

// Anyone else's header is a client's bytes, which are no TLS; and anyone else needs none.
func TestProxyInFromStranger(t *testing.T) {
	t.Parallel()
	w := newProxied(t, "")
	c := w.dialFrom("127.0.0.99", "a.example")
	c.wantEcho(t, "hello")
	if got := w.backend.next(t).header.Source.String(); got != c.LocalAddr().String() {
		t.Errorf("the client is told as %s", got)
	}
	for _, header := range [][]byte{told("192.0.2.7:1", ""), []byte("PROXY TCP4 192.0.2.7 10.0.0.2 1 443\r\n")} {
		if _, err := w.behind("127.0.0.99", header, "a.example"); err == nil {
			t.Errorf("the header %q of a stranger was taken", header)
		}
	}
	w.eventually("both are counted", func() bool { return w.refusals("not_tls") == 2 })
	if e := w.access("reason", "not_tls"); !strings.HasPrefix(e.text("client"), "127.0.0.99:") {
		t.Errorf("logged %v", e)
	}
	w.backend.wantNone(t)
}

// LOCAL, and UNKNOWN of version 1, are a proxy's own connections: their real ends hold, whatever else the header says.
func TestProxyInLocal(t *testing.T) {
	t.Parallel()
	w := newProxied(t, "", "backends: {main: {pass_tlvs: [all]}}")
	for name, header := range map[string][]byte{
		"local": binaryHeader(0x20, 0x00, ""), "local with addresses": binaryHeader(0x20, 0x11, addresses4+tlv(0xe1, "x")),
		"unknown": []byte("PROXY UNKNOWN\r\n"), "unknown with addresses": []byte("PROXY UNKNOWN 192.0.2.7 10.0.0.2 1 443\r\n"),
		"no family": binaryHeader(0x21, 0x00, ""),
	} {
		c := w.mustBehind(header, "a.example")
		c.wantEcho(t, "hello")
		if got := w.backend.next(t).header; got.Source.String() != c.LocalAddr().String() || got.Custom != nil {
			t.Errorf("%s: the client is told as %v with %v", name, got.Source, got.Custom)
		}
		c.Close()
	}
}

// A header has its own deadline; a proxy that keeps it waiting is timed out, however it sends.
func TestProxyInTimeout(t *testing.T) {
	t.Parallel()
	w := newProxied(t, ", timeout: 500ms")
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	go func() {
		for _, b := range told("192.0.2.7:1", tlv(0xe0, strings.Repeat("x", 100))) {
			conn.Write([]byte{b})
			time.Sleep(50 * time.Millisecond)
		}
	}()
	conn.SetReadDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(conn); isTimeout(err) || len(got) != 0 {
		t.Errorf("%q, then %v", got, err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("that took %v", took)
	}
	if e := w.access("reason", "timeout"); e.text("stage") != "proxy" {
		t.Errorf("logged %v", e)
	}
}

// A header is taken however it is cut: byte by byte, and in one piece with the hello behind it.
func TestProxyInPieces(t *testing.T) {
	t.Parallel()
	w := newProxied(t, "")
	for _, header := range [][]byte{told("192.0.2.7:77", tlv(tlvAuthority, "x")), []byte("PROXY TCP4 192.0.2.7 10.0.0.2 77 443\r\n")} {
		whole := func(to io.Writer, hello []byte) error {
			_, err := to.Write(append(header, hello...))
			return err
		}
		drips := func(to io.Writer, hello []byte) error {
			for _, b := range append(header, hello[:20]...) {
				if _, err := to.Write([]byte{b}); err != nil {
					return err
				}
				time.Sleep(2 * time.Millisecond)
			}
			_, err := to.Write(hello[20:])
			return err
		}
		for _, rewrite := range []func(io.Writer, []byte) error{whole, drips} {
			c := w.dial("a.example", classical, func(_ *tls.Config, wire *wire) { wire.rewrite = rewrite })
			c.wantEcho(t, "hello")
			if got := w.backend.next(t).header.Source.String(); got != "192.0.2.7:77" {
				t.Errorf("the client is told as %s", got)
			}
		}
	}
}

// What a proxy's header carries is passed on where that is configured, in place of our own; a checksum never is.
func TestProxyInPassesOn(t *testing.T) {
	t.Parallel()
	theirs := summed(told("192.0.2.7:1", tlv(tlvAuthority, "outer.example")+tlv(tlvUniqueID, "theirs")+tlv(0xea, "vpce-1")+tlv(0xe1, "x")+tlv(tlvNetNS, "blue")+blankSum))
	for _, test := range []struct {
		pass, authority, id, namespace, custom string
	}{
		{"[]", "a.example", "", "", "map[230:ours 234:ours]"},
		{"[unique_id, '0xEA']", "a.example", "theirs", "", "map[230:ours 234:vpce-1]"},
		{"[all]", "outer.example", "theirs", "blue", "map[225:x 230:ours 234:vpce-1]"},
	} {
		w := newProxied(t, "", "backends: {main: {custom_tlvs: {'0xEA': ours, '0xE6': ours}, pass_tlvs: "+test.pass+"}}")
		w.mustBehind(theirs, "a.example").wantEcho(t, "hello")
		got := w.backend.next(t).header
		if got.Authority != test.authority || got.Namespace != test.namespace || fmt.Sprint(got.Custom) != test.custom || !got.Checked {
			t.Errorf("%s: %+v", test.pass, got)
		}
		if id := string(got.UniqueID); test.id != "" && id != test.id || id == "" {
			t.Errorf("%s: unique id %q", test.pass, id)
		}
	}
}
