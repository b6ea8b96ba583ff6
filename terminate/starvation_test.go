package terminate

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// dribble cuts what is written into segments of a few bytes.
type dribble struct {
	net.Conn
	most int
}

func (d *dribble) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = d.Conn.Write(p[n:min(n+1+rand.IntN(d.most), len(p))])
		n += k
	}
	return n, err
}

// dialOver is dial with something between TLS and the wire.
func (b *bench) dialOver(between func(net.Conn) net.Conn, change func(*tls.Config)) *tls.Conn {
	b.t.Helper()
	raw, err := net.Dial("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	config := &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()}
	if change != nil {
		change(config)
	}
	return tls.Client(between(raw), config)
}

// Segments of a byte, which cut the hello and every record, records of a byte, and a backend that reads and writes single
// bytes: everything arrives.
func TestByteByByte(t *testing.T) {
	for _, test := range []struct {
		name    string
		version uint16
		segment int // bytes at most
		record  int // bytes of plaintext
	}{
		{"segments of a byte", tls.VersionTLS13, 1, 700},
		{"segments of a byte, TLS 1.2", tls.VersionTLS12, 1, 700},
		{"segments of a few bytes", tls.VersionTLS13, 30, 5},
		{"records of a byte", tls.VersionTLS13, 1 << 20, 1},
		{"records of a byte, TLS 1.2", tls.VersionTLS12, 1 << 20, 1},
		{"both", tls.VersionTLS13, 3, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := startServer(t, nil)
			client := b.dialOver(func(raw net.Conn) net.Conn { return &dribble{raw, test.segment} }, func(c *tls.Config) { c.MaxVersion = test.version })
			data := filled(1400)
			var group sync.WaitGroup
			group.Go(func() {
				for rest := data; len(rest) > 0; rest = rest[min(test.record, len(rest)):] {
					mustWrite(t, client, rest[:min(test.record, len(rest))])
				}
				if err := client.CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			backend := b.accept()
			group.Go(func() {
				one := make([]byte, 1)
				for {
					if _, err := io.ReadFull(backend, one); err != nil {
						backend.Close()
						return
					}
					mustWrite(t, backend, one)
				}
			})
			wantRead(t, client, data, nil)
			group.Wait()
			client.Close()
			b.wantReason(ReasonOK)
		})
	}
}

// Small buffers everywhere, full in both directions at once: little is held, and every byte arrives once somebody
// reads.
func TestFullBuffersBothWays(t *testing.T) {
	const least = 8 << 10
	b := startServer(t, nil)
	for _, l := range []net.Listener{b.server.Plan().Listeners[0].Socket, b.backend} {
		setBuffer(t, l.(*net.TCPListener), syscall.SO_SNDBUF, least)
		setBuffer(t, l.(*net.TCPListener), syscall.SO_RCVBUF, least)
		// Loopback's segments are larger than these buffers: the kernel's timers would set the pace.
		setOption(t, l.(*net.TCPListener), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1000)
	}
	client := b.dialOver(func(raw net.Conn) net.Conn { return raw }, nil)
	raw := client.NetConn().(*net.TCPConn)
	if err := errors.Join(raw.SetWriteBuffer(least), raw.SetReadBuffer(least), client.Handshake()); err != nil {
		t.Fatal(err)
	}
	backend := b.accept()
	_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
	_ = backend.SetDeadline(time.Now().Add(30 * time.Second))
	data := filled(6 << 20) // more than the kernel gives the server's socket to the backend
	var written atomic.Int64
	var group sync.WaitGroup
	group.Go(func() {
		for rest := data; len(rest) > 0; {
			n, err := client.Write(rest[:min(16<<10, len(rest))])
			if err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
			written.Add(int64(n))
		}
		_ = client.CloseWrite()
	})
	group.Go(func() {
		if _, err := io.Copy(struct{ io.Writer }{backend}, struct{ io.Reader }{backend}); err != nil {
			t.Error(err)
		}
		backend.Close()
	})
	time.Sleep(500 * time.Millisecond)
	// The kernel's choice for the server's own socket to the backend is the largest part of this.
	if n := written.Load(); n > 5<<20 {
		t.Errorf("%d bytes were taken while nobody read: this test is in vain, or they are held", n)
	}
	wantRead(t, client, data, nil)
	group.Wait()
	client.Close()
	b.wantReason(ReasonOK)
}

// cork holds back what is written until it is told to let go.
type cork struct {
	net.Conn
	holds bool
	held  []byte
}

func (c *cork) Write(p []byte) (int, error) {
	if !c.holds {
		return c.Conn.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

// Data, close_notify and FIN right behind the handshake, in one segment with its end, cross as if they had taken their time.
func TestEverythingBehindFinished(t *testing.T) {
	b := startServer(t, nil)
	var corked *cork
	client := b.dialOver(func(raw net.Conn) net.Conn { corked = &cork{Conn: raw}; return corked }, func(c *tls.Config) {
		// Called when the server's certificate has come, before the client's Finished goes.
		c.VerifyConnection = func(tls.ConnectionState) error { corked.holds = true; return nil }
		c.MinVersion = tls.VersionTLS13
	})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	data := filled(3000)
	mustWrite(t, client, data)
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = corked.Conn.SetDeadline(time.Now().Add(10 * time.Second)) // crypto/tls let it pass
	mustWrite(t, corked.Conn, corked.held)
	_ = corked.Conn.(*net.TCPConn).CloseWrite()
	backend := b.accept()
	wantRead(t, backend, data, nil)
	mustWrite(t, backend, data)
	backend.Close()
	wantRead(t, client, data, nil)
	b.wantReason(ReasonOK)
}

// A connection that went quiet, in the middle of a record too, and gave back its memory, goes on as if it had not.
func TestAwakening(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 6 s")
	}
	for _, test := range []struct {
		name  string
		first int // bytes of the record that come before the silence
	}{
		{"between records", 0},
		{"in a record's header", 3},
		{"behind a record's header", 5},
		{"in a record", 9000},
		{"before a record's last byte", fullRecord},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startServer(t, func(o *setup) { o.Timeouts.Idle = time.Minute })
			var corked *cork
			client := b.dialOver(func(raw net.Conn) net.Conn { corked = &cork{Conn: raw}; return corked },
				func(c *tls.Config) { c.DynamicRecordSizingDisabled = true })
			data := filled(1 << 20)
			_ = corked.Conn.SetDeadline(time.Now().Add(20 * time.Second))
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			backend := b.accept()
			_ = backend.SetDeadline(time.Now().Add(20 * time.Second))
			go func() { _, _ = io.Copy(backend, backend); backend.Close() }()
			exchange := func(data []byte) {
				t.Helper()
				go mustWrite(t, client, data)
				got := make([]byte, len(data))
				if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, data) {
					t.Errorf("other bytes came back than were sent: %v", err)
				}
			}
			exchange(data)
			corked.holds = true
			mustWrite(t, client, data[:fullRecord])
			corked.holds = false
			mustWrite(t, corked.Conn, corked.held[:test.first])
			time.Sleep(quietAfter + 700*time.Millisecond)
			mustWrite(t, corked.Conn, corked.held[test.first:])
			got := make([]byte, fullRecord)
			if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, data[:fullRecord]) {
				t.Errorf("other bytes came back than were sent: %v", err)
			}
			exchange(data)
			_ = client.CloseWrite()
			wantRead(t, client, nil, nil)
			b.wantReason(ReasonOK)
		})
	}
}
