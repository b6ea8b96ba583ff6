package terminate

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"hellogate/store"
	ours "hellogate/terminate/proxyproto"
)

// Everything a client can be refused for, and the alert it gets.
func TestRefusals(t *testing.T) {
	b := startServer(t, func(o *setup) {
		l := o.Certificates.(lookups)
		l["failing.test"] = &store.Failure{Err: errors.New("500")}
		l["cut.test"] = &store.Failure{Err: errors.New("breaker"), CutOff: true}
		l["slow.test"] = func(context.Context) error { return fmt.Errorf("look-up: %w", context.DeadlineExceeded) }
	})
	route := b.route
	route.ALPN = []string{"imap", "h2"}
	tests := []struct {
		name   string
		server string
		change func(*tls.Config)
		alert  tls.AlertError
		reason Reason
	}{
		{"unknown name", "unknown.test", nil, 112, ReasonNoCert},
		{"store failing", "failing.test", nil, 80, ReasonStoreDown},
		{"breaker open", "cut.test", nil, 80, ReasonBreakerOpen},
		{"look-up too slow", "slow.test", nil, 80, ReasonCertTimeout},
		{"no name", "", func(c *tls.Config) { c.InsecureSkipVerify = true }, 109, ReasonNoSNI},
		{"bad name", "a..test", func(c *tls.Config) { c.InsecureSkipVerify = true }, 112, "bad_sni"},
		{"another protocol", "a.test", func(c *tls.Config) { c.NextProtos = []string{"smtp"} }, 120, ReasonNoALPN},
		{"HTTP/1.1 where only h2 is taken", "a.test", func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, 120, ReasonNoALPN},
		{"a CA's validation", "a.test", func(c *tls.Config) { c.NextProtos = []string{"acme-tls/1"} }, 120, ReasonNoALPN},
		{"old TLS", "a.test", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, 70, ReasonHandshake},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := b.dial(test.server, test.change)
			if want := test.alert.Error(); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "tls: ")) {
				t.Errorf("error %v, want %s", err, want)
			}
			b.wantReason(test.reason)
		})
	}
	if stats := b.server.Stats(); stats.Refused["no_cert"] != 1 || stats.Total != int64(len(tests)) || stats.Handshaking != 0 {
		t.Errorf("stats %+v", stats)
	}
}

// Rejected names, and names that no route matches.
func TestRejectedAndUnrouted(t *testing.T) {
	b := startServer(t, nil)
	route := b.route
	route.Action = Reject
	if _, err := b.dial("a.test", nil); err == nil || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("error %v", err)
	}
	b.wantReason(ReasonRejected)
}

// What is not TLS is closed without an alert.
func TestNotTLS(t *testing.T) {
	b := startServer(t, nil)
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	wantRead(t, conn, nil, nil)
	conn.Close()
	b.wantReason("not_tls")
}

// The hello's deadline holds however the bytes trickle.
func TestHelloTimeout(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Limits.Hello = 300 * time.Millisecond })
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		for _, c := range []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3} {
			if _, err := conn.Write([]byte{c}); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	wantRead(t, conn, []byte{21, 3, 3, 0, 2, 2, 90}, nil)
	conn.Close()
	b.wantReason(ReasonTimeout)
}

// The name of a listener stands in for the one that a client does not send.
func TestDefaultName(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Listeners[0].DefaultName = "b.test" })
	client, err := b.dial("", func(c *tls.Config) { c.InsecureSkipVerify = true })
	if err != nil {
		t.Fatal(err)
	}
	if names := client.ConnectionState().PeerCertificates[0].DNSNames; names[0] != "b.test" {
		t.Errorf("certificate for %q", names)
	}
}

// The header tells who the client is and what it asked for.
func TestProxyHeader(t *testing.T) {
	b := startServer(t, nil)
	route := b.route
	route.ALPN = []string{"imap"}
	sender, err := ours.NewSender(ours.Options{Version: ours.V2, TLVs: []ours.TLV{ours.Authority, ours.ALPN, ours.UniqueID, ours.SSL, ours.CRC32C}})
	if err != nil {
		t.Fatal(err)
	}
	route.Backend.Proxy = sender
	client, err := b.dial("A.test", func(c *tls.Config) { c.NextProtos = []string{"x", "imap"} })
	if err != nil {
		t.Fatal(err)
	}
	backend := b.accept()
	header, err := proxyproto.Read(bufio.NewReader(backend))
	if err != nil {
		t.Fatal(err)
	}
	if header.SourceAddr.String() != client.LocalAddr().String() || header.DestinationAddr.String() != client.RemoteAddr().String() {
		t.Errorf("addresses %v, %v", header.SourceAddr, header.DestinationAddr)
	}
	fields, err := header.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	got := map[proxyproto.PP2Type]string{}
	for _, f := range fields {
		got[f.Type] = string(f.Value)
	}
	client.Close()
	backend.Close()
	line := b.line()
	if got[proxyproto.PP2_TYPE_AUTHORITY] != "a.test" || got[proxyproto.PP2_TYPE_ALPN] != "imap" || got[proxyproto.PP2_TYPE_UNIQUE_ID] != line["conn"] {
		t.Errorf("fields %q, line %v", got, line)
	}
}

// The next server takes over where one can't be reached; where none can, the client is reset and the log names them.
func TestServersDown(t *testing.T) {
	dead := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	first, second := dead(), dead()
	b := startServer(t, nil)
	route := b.route
	route.Backend = backendOf(t, "main", first, b.backend.Addr().String())
	for range 4 {
		b.pair()
	}
	if s := route.Backend.Pool.Status().Servers; s[0].Failures == 0 || s[1].Failures > 0 || s[1].Connections == 0 {
		t.Errorf("servers %+v", s)
	}
	route.Backend = backendOf(t, "gone", first, second)
	client, err := b.dial("a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRead(t, client, nil, syscall.ECONNRESET)
	line := b.line()
	if text, _ := line["error"].(string); line["reason"] != "no_backend" || !strings.Contains(text, first) || !strings.Contains(text, second) {
		t.Errorf("line %v", line)
	}
}

// More connections than allowed are reset, and room that is left is filled again.
func TestConnectionLimit(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Limits.Connections = 2 })
	first, backend := b.pair()
	b.pair()
	if _, err := b.dial("a.test", nil); err == nil {
		t.Error("a third connection was served")
	}
	first.Close()
	backend.Close()
	b.line()
	for b.server.Stats().Active > 1 { // it is counted until its line is written
		time.Sleep(time.Millisecond)
	}
	b.pair()
	if n := b.server.Stats().Refused["limited"]; n != 1 {
		t.Errorf("%d limited", n)
	}
}

// Clients that stall in their handshake take the place of others, up to the limit of open handshakes.
func TestHandshakeLimit(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Limits.Handshakes, o.Limits.Waiting = 1, 0 })
	stalled, err := net.Dial("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	go func() { _ = tls.Client(writeOnly{stalled}, &tls.Config{ServerName: "a.test"}).Handshake() }()
	for b.server.Stats().Handshaking == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := b.dial("a.test", nil); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("a second handshake: %v", err)
	}
	b.wantReason(ReasonLimited)
	stalled.Close()
	b.line()
	b.pair()
}

// Where some may wait, they get their turn when it comes.
func TestHandshakesWait(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Limits.Handshakes = 1 })
	stalled, err := net.Dial("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	go func() { _ = tls.Client(writeOnly{stalled}, &tls.Config{ServerName: "a.test"}).Handshake() }()
	for b.server.Stats().Handshaking == 0 {
		time.Sleep(time.Millisecond)
	}
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() {
			if _, err := b.dial("a.test", nil); err != nil {
				t.Errorf("one that waited: %v", err)
			}
		})
	}
	for b.server.Stats().Waiting < 3 {
		time.Sleep(time.Millisecond)
	}
	stalled.Close()
	waiting.Wait()
}

// writeOnly is a client that never reads.
type writeOnly struct{ net.Conn }

func (w writeOnly) Read([]byte) (int, error) { return 0, io.EOF }
func (w writeOnly) Close() error             { return nil }

// A hung look-up takes nothing from names that can be had.
func TestHungLookUps(t *testing.T) {
	b := startServer(t, func(o *setup) {
		o.Limits.Handshakes = 1
		o.Certificates.(lookups)["hung.test"] = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	})
	var hung sync.WaitGroup
	for range 20 {
		hung.Go(func() { _, _ = b.dial("hung.test", nil) })
	}
	for b.server.Stats().Active < 20 {
		time.Sleep(time.Millisecond)
	}
	b.pair()
	if err := b.stop(); err == nil {
		t.Error("a drain that cut something said nothing")
	}
	hung.Wait()
	b.wantReason(ReasonDrained)
}

// A drain lets a transfer end, and cuts what does not.
func TestDrain(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Drain = 5 * time.Second })
	client, backend := b.pair()
	stopped := make(chan error, 1)
	go func() { stopped <- b.stop() }()
	for {
		conn, err := net.DialTimeout("tcp", b.address, time.Second)
		if err != nil {
			break
		}
		conn.Close()
		time.Sleep(10 * time.Millisecond)
	}
	data := filled(1 << 20)
	go func() { mustWrite(t, backend, data); backend.Close() }()
	wantRead(t, client, data, nil)
	client.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestDrainCuts(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Drain = 200 * time.Millisecond })
	client, backend := b.pair()
	if err := b.stop(); err == nil || !strings.Contains(err.Error(), "1 connections cut") {
		t.Errorf("error %v", err)
	}
	wantRead(t, client, nil, syscall.ECONNRESET)
	wantRead(t, backend, nil, syscall.ECONNRESET)
	b.wantReason(ReasonDrained)
}

// flaky fails now and then, as a listener without descriptors does.
type flaky struct {
	net.Listener
	failures int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAcceptRecovers(t *testing.T) {
	var f *flaky
	start := time.Now()
	b := startServer(t, func(o *setup) {
		f = &flaky{o.Listeners[0].Socket, 5}
		o.Listeners[0].Socket = f
	})
	b.pair()
	if took := time.Since(start); took < 5*time.Millisecond*(1+2+4+8+16) {
		t.Errorf("five failures took %v: no pause", took)
	}
}
