package terminate

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hellogate/terminate/proxyproto"
)

// passing has the server pass clients through to a backend that speaks TLS itself, as c.test.
func passing(t *testing.T, change func(*setup)) (*bench, *tls.Config) {
	t.Helper()
	b := startServer(t, func(o *setup) {
		o.Action = Passthrough
		if change != nil {
			change(o)
		}
	})
	own := b.ca.Issue(t, "c.test").TLS()
	return b, &tls.Config{Certificates: []tls.Certificate{own}}
}

// A client that is passed through does its handshake with the server behind; what is sent arrives, in bulk too, and the
// end of a stream as one.
func TestPassthrough(t *testing.T) {
	b, config := passing(t, nil)
	sent := make([]byte, 8<<20)
	_, _ = rand.Read(sent)
	served := make(chan error, 1)
	go func() {
		conn := tls.Server(b.accept(), config)
		_, err := io.Copy(conn, conn)
		conn.Close()
		served <- err
	}()
	client, err := b.dial("c.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = client.Write(sent)
		_ = client.CloseWrite()
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d: %v", len(got), len(sent), err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	client.NetConn().Close()
	if line := b.line(); line["reason"] != "ok" || line["name"] != "c.test" {
		t.Errorf("line %v", line)
	}
}

// Every byte arrives as it was sent, both ways, and is counted: the hello, what is behind it in the same segment, bulk and
// what is sent after one side has ended.
func TestPassthroughByteForByte(t *testing.T) {
	b, _ := passing(t, nil)
	up, down := filled(9<<20), filled(7<<20)
	_, _ = rand.Read(up)
	_, _ = rand.Read(down)
	hello := helloFor("c.test", nil)
	client := b.raw()
	mustWrite(t, client, append(bytes.Clone(hello), "behind"...))
	backend := b.accept()
	mustWrite(t, backend, []byte("first")) // it reads nothing before
	got := make([]byte, 5)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "first" {
		t.Fatalf("%q: %v", got, err)
	}
	var group sync.WaitGroup
	group.Go(func() { mustWrite(t, client, up); _ = client.CloseWrite() })
	group.Go(func() {
		mustWrite(t, backend, down[:4<<20])
		wantRead(t, backend, append(append(bytes.Clone(hello), "behind"...), up...), nil)
		mustWrite(t, backend, down[4<<20:])
		_ = backend.CloseWrite()
	})
	wantRead(t, client, down, nil)
	group.Wait()
	line := b.line()
	if line["reason"] != "ok" || line["bytes_in"] != float64(len(hello)+6+len(up)) || line["bytes_out"] != float64(5+len(down)) {
		t.Errorf("line %v", line)
	}
	for _, field := range []string{"cert", "cert_ms", "handshake_ms", "tls_version", "proxy_ms"} {
		if line[field] != nil {
			t.Errorf("%s of a client that is passed through: %v", field, line)
		}
	}
	for _, s := range b.server.Stats().Stages {
		if count := total(s); count != 0 && (s.Stage == "cert" || s.Stage == "handshake" || s.Stage == "proxy") || count != 1 && s.Stage == "connect" {
			t.Errorf("stage %s: %d", s.Stage, count)
		}
	}
	b.wantNothingCounted()
}

func total(s StageTimes) (n uint64) {
	for _, count := range s.Buckets {
		n += count
	}
	return n
}

// A hello may come in pieces, of the stream and of its records, and be larger than any buffer.
func TestPassthroughOfPieces(t *testing.T) {
	large := func(c *tls.Config) {
		for i := range 230 {
			c.NextProtos = append(c.NextProtos, strings.Repeat(string(rune('a'+i%26)), 240))
		}
	}
	for _, test := range []struct {
		name   string
		hello  []byte
		pieces int // of the stream
	}{
		{"byte for byte", helloFor("c.test", nil), 1},
		{"in records of a byte", inRecordsOf(1, helloFor("c.test", nil)), 1000},
		{"large", helloFor("c.test", large), 10_000},
		{"large, in records of a byte", inRecordsOf(1, helloFor("c.test", large)), 50_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, _ := passing(t, nil)
			client := b.raw()
			sent := append(test.hello, filled(300_000)...)
			go func() {
				for piece := range chunks(test.hello, test.pieces) {
					if _, err := client.Write(piece); err != nil {
						return
					}
				}
				mustWrite(t, client, sent[len(test.hello):])
				_ = client.CloseWrite()
			}()
			backend := b.accept()
			wantRead(t, backend, sent, nil)
			backend.Close()
			wantRead(t, client, nil, nil)
			if line := b.line(); line["reason"] != "ok" || line["bytes_in"] != float64(len(sent)) {
				t.Errorf("line %v", line)
			}
		})
	}
}

func chunks(p []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for ; len(p) > 0; p = p[min(size, len(p)):] {
			if !yield(p[:min(size, len(p))]) {
				return
			}
		}
	}
}

// inRecordsOf is a handshake message in records of that size.
func inRecordsOf(size int, stream []byte) (records []byte) {
	var message []byte
	for len(stream) > 0 {
		end := 5 + int(stream[3])<<8 + int(stream[4])
		message, stream = append(message, stream[5:end]...), stream[end:]
	}
	for piece := range chunks(message, size) {
		records = append(append(records, 22, 3, 1, byte(len(piece)>>8), byte(len(piece))), piece...)
	}
	return records
}

// The header goes first, once, and tells what is known.
func TestPassthroughBehindHeader(t *testing.T) {
	b, _ := passing(t, nil)
	b.route.Backend.Proxy = sender(t, proxyproto.Options{Version: proxyproto.V2, TLVs: []proxyproto.TLV{proxyproto.Authority, proxyproto.SSL}})
	hello, bulk := helloFor("c.test", nil), filled(1<<20)
	client := b.raw()
	mustWrite(t, client, hello)
	backend := b.accept()
	header := readHeader(t, backend)
	if header.Source != addrPortOf(client.LocalAddr()) || len(header.TLVs) != 1 || string(header.TLVs[0].Value) != "c.test" {
		t.Errorf("header %v", header)
	}
	go func() { mustWrite(t, client, bulk); _ = client.CloseWrite() }()
	wantRead(t, backend, append(hello, bulk...), nil)
	backend.Close()
	wantRead(t, client, nil, nil)
	if line := b.line(); line["bytes_in"] != float64(len(hello)+len(bulk)) {
		t.Errorf("the header is counted: %v", line)
	}
}

// A reset crosses as one, in bulk and behind all that was read before it.
func TestPassthroughResets(t *testing.T) {
	data := filled(4 << 20)
	for _, test := range []struct {
		name   string
		reason Reason
		choose func(client, backend *net.TCPConn) (from, to *net.TCPConn)
	}{
		{"by the client", ReasonClientReset, func(c, b *net.TCPConn) (from, to *net.TCPConn) { return c, b }},
		{"by the server", ReasonServerReset, func(c, b *net.TCPConn) (from, to *net.TCPConn) { return b, c }},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, _ := passing(t, nil)
			client, hello := b.raw(), helloFor("c.test", nil)
			mustWrite(t, client, hello)
			backend := b.accept()
			if _, err := io.ReadFull(backend, hello); err != nil {
				t.Fatal(err)
			}
			from, to := test.choose(client, backend)
			go mustWrite(t, from, data)
			got := make([]byte, len(data))
			if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
				t.Fatal("bytes lost or changed: ", err)
			}
			abort(t, from)
			wantRead(t, to, nil, syscall.ECONNRESET)
			b.wantReason(test.reason)
			b.wantNothingCounted()
		})
	}
}

// One that is killed while the kernel holds bytes of it, or while its receiver stands still, leaves nothing behind.
func TestPassthroughKilledInBulk(t *testing.T) {
	b, _ := passing(t, nil)
	client := b.raw()
	mustWrite(t, client, helloFor("c.test", nil))
	backend := b.accept()
	go func() { _, _ = client.Write(make([]byte, 64<<20)) }() // which nobody reads
	var before int64
	b.want("the way is full", func() bool {
		time.Sleep(50 * time.Millisecond)
		now := b.server.Connections(all)[0].BytesIn
		defer func() { before = now }()
		return now == before && now > 1<<20
	})
	if killed := b.server.Kill(all); len(killed) != 1 {
		t.Errorf("killed %v", killed)
	}
	if _, err := io.Copy(io.Discard, backend); err == nil {
		t.Error("an orderly end")
	}
	b.wantReason(ReasonKilled)
	b.wantNothingCounted()
}

// A receiver that stands still while the kernel holds bytes for it is given up in time.
func TestPassthroughStalled(t *testing.T) {
	b, _ := passing(t, func(o *setup) { o.Timeouts.Idle = 400 * time.Millisecond })
	client := b.raw()
	mustWrite(t, client, helloFor("c.test", nil))
	b.accept()
	go func() { _, _ = client.Write(make([]byte, 64<<20)) }()
	b.wantReason(ReasonIdle)
}

// Bulk does not keep others waiting.
func TestPassthroughIsFair(t *testing.T) {
	b, _ := passing(t, nil)
	echo := func() *net.TCPConn {
		client, hello := b.raw(), helloFor("c.test", nil)
		mustWrite(t, client, hello)
		backend := b.accept()
		_, _ = io.ReadFull(backend, hello)
		go func() { _, _ = io.Copy(backend, backend) }()
		return client
	}
	bulky, other := echo(), echo()
	var group sync.WaitGroup
	group.Go(func() { _, _ = io.Copy(io.Discard, bulky) })
	group.Go(func() {
		for p := make([]byte, 1<<20); ; {
			if _, err := bulky.Write(p); err != nil {
				return
			}
		}
	})
	for range 100 {
		began := time.Now()
		mustWrite(t, other, []byte("ping"))
		if _, err := io.ReadFull(other, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a round trip took %v", took)
		}
	}
	bulky.Close()
	group.Wait()
}

// When its server can't be reached, the client is told by an alert: its handshake has not begun.
func TestPassthroughToNobody(t *testing.T) {
	b, _ := passing(t, nil)
	b.backend.Close()
	_, err := b.dial("c.test", nil)
	wantAlert(t, err, AlertInternalError)
	b.wantReason(ReasonNoBackend)
	b.wantNothingCounted()
}

// A client that does not go away after its alert is not waited for.
func TestPassthroughAlertTimeout(t *testing.T) {
	b, _ := passing(t, func(o *setup) { o.Limits.Alert = 300 * time.Millisecond })
	b.backend.Close()
	client := b.raw()
	mustWrite(t, client, helloFor("c.test", nil))
	got := make([]byte, 7)
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, []byte{21, 3, 3, 0, 2, 2, 80}) {
		t.Fatalf("%x: %v", got, err)
	}
	began := time.Now()
	b.wantReason(ReasonNoBackend)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}
