package sni

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// clientHello is the first flight of a real client.
func clientHello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() { _ = tls.Client(client, config).Handshake() }()
	header := make([]byte, recordHeaderSize)
	if _, err := io.ReadFull(server, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	return append(header, body...)
}

// wire puts a handshake message into records of at most size bytes.
func wire(message []byte, size int) []byte {
	var stream []byte
	for part := range slices.Chunk(message, size) {
		stream = append(stream, recordHandshake, 3, 1, byte(len(part)>>8), byte(len(part)))
		stream = append(stream, part...)
	}
	return stream
}

// padded is the message with a padding extension that makes its body size bytes long.
func padded(message []byte, size int) []byte {
	message = bytes.Clone(message)
	missing := size - (len(message) - messageHeader)
	// The extensions' length stands behind version, random, session id, cipher suites and compression methods.
	at := messageHeader + 2 + 32
	at += 1 + int(message[at])
	at += 2 + int(message[at])<<8 + int(message[at+1])
	at += 1 + int(message[at])
	length := int(message[at])<<8 + int(message[at+1]) + missing
	message[at], message[at+1] = byte(length>>8), byte(length)
	message = append(message, 0, 21, byte((missing-4)>>8), byte(missing-4))
	message = append(message, make([]byte, missing-4)...)
	message[1], message[2], message[3] = byte(size>>16), byte(size>>8), byte(size)
	return message
}

// fakeConn reads from a reader, at most chunk bytes at a time, and collects what is written.
type fakeConn struct {
	net.Conn
	in    io.Reader
	chunk int
	out   bytes.Buffer
	then  error // in place of io.EOF
}

func (c *fakeConn) Read(p []byte) (int, error) {
	if c.chunk > 0 {
		p = p[:min(c.chunk, len(p))]
	}
	n, err := c.in.Read(p)
	if err == io.EOF && c.then != nil {
		err = c.then
	}
	return n, err
}

func (c *fakeConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *fakeConn) Close() error                     { return nil }
func (c *fakeConn) SetDeadline(time.Time) error      { return nil }
func (c *fakeConn) SetWriteDeadline(time.Time) error { return nil }

func TestReadHello(t *testing.T) {
	hello := clientHello(t, &tls.Config{ServerName: "A.Test", NextProtos: []string{"imap", "x"}})[recordHeaderSize:]
	classical := clientHello(t, &tls.Config{ServerName: "a.test", NextProtos: []string{"imap", "x"}, CurvePreferences: []tls.CurveID{tls.X25519}})[recordHeaderSize:]
	tests := []struct {
		name   string
		stream []byte
		chunk  int
	}{
		{"one record", wire(hello, 16384), 0},
		{"one record, no post-quantum group", wire(classical, 16384), 0},
		{"bytes one at a time", wire(hello, 16384), 1},
		{"records of one byte", wire(hello, 1), 0},
		{"records of one byte, bytes one at a time", wire(hello, 1), 1},
		{"records of 40 bytes", wire(hello, 40), 0},
		{"17 KB", wire(padded(hello, 17<<10), 16384), 0},
		{"33 KB in segments", wire(padded(hello, 33<<10), 16384), 1448},
		{"65,535 bytes", wire(padded(hello, 65535), 16384), 0},
		{"65,535 bytes in records of one byte", wire(padded(hello, 65535), 1), 1448},
		{"a warning alert first", append([]byte{21, 3, 1, 0, 2, 1, 90}, wire(hello, 16384)...), 0},
		{"more behind it", append(wire(hello, 16384), "early bytes"...), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			raw := &fakeConn{in: bytes.NewReader(test.stream), chunk: test.chunk}
			hello, conn, err := ReadHello(raw, MaxHello)
			if err != nil {
				t.Fatal(err)
			}
			if hello.Name != "a.test" || !slices.Equal(hello.Info.SupportedProtos, []string{"imap", "x"}) {
				t.Errorf("name %q, protocols %q", hello.Name, hello.Info.SupportedProtos)
			}
			again, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(again, test.stream) {
				t.Errorf("reads %d bytes again, want %d (%v)", len(again), len(test.stream), err)
			}
			if raw.out.Len() > 0 {
				t.Errorf("wrote %x", raw.out.Bytes())
			}
		})
	}
}

func TestReadHelloFaults(t *testing.T) {
	message := clientHello(t, &tls.Config{ServerName: "a.test"})[recordHeaderSize:]
	named := func(name string) []byte {
		from, to := []byte("a.test"), []byte(name)
		return wire(bytes.Replace(message, from, to, 1), 16384)
	}
	huge := bytes.Clone(message)
	huge[1], huge[2], huge[3] = 1, 2, 3
	broken := bytes.Clone(message)
	broken[messageHeader+2+32] = 77 // the session id's length
	tests := []struct {
		name   string
		stream []byte
		then   error
		limit  int
		fault  Fault
		alert  uint8
	}{
		{"nothing", nil, nil, 0, ClosedEarly, 0},
		{"http", []byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"), nil, 0, NotTLS, 0},
		{"ssh", []byte("SSH-2.0-OpenSSH_9.2\r\n"), nil, 0, NotTLS, 0},
		{"zeros", make([]byte, 64), nil, 0, NotTLS, 0},
		{"proxy header", []byte("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"), nil, 0, NotTLS, 0},
		{"cut in the header", wire(message, 16384)[:3], nil, 0, CutShort, alertDecodeError},
		{"cut in the message", wire(message, 16384)[:100], nil, 0, CutShort, alertDecodeError},
		{"cut between records", wire(message, 100)[:105], nil, 0, CutShort, alertDecodeError},
		{"http cut short", []byte("GET"), nil, 0, CutShort, 0},
		{"over the limit", wire(padded(message, 5000), 16384), nil, 4096, TooBig, alertDecodeError},
		{"16 MB announced", wire(huge, 16384), nil, 0, TooBig, alertDecodeError},
		{"records without end", bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, 1<<17), nil, 4096, TooBig, alertDecodeError},
		{"20,000 empty records", bytes.Repeat([]byte{22, 3, 1, 0, 0}, 20000), nil, 0, Malformed, 10},
		{"a record too long", []byte{22, 3, 1, 0xff, 0xff, 1, 0, 0}, nil, 0, Malformed, 22},
		{"not a hello", []byte{22, 3, 1, 0, 4, 14, 0, 0, 0}, nil, 0, Malformed, 10},
		{"inconsistent lengths", wire(broken, 16384), nil, 0, Malformed, 50},
		{"an alert instead", []byte{21, 3, 1, 0, 2, 2, 40}, nil, 0, ClientAlert, 0},
		{"reset", wire(message, 16384)[:100], &net.OpError{Op: "read", Err: syscall.ECONNRESET}, 0, Reset, 0},
		{"deadline", wire(message, 16384)[:100], os.ErrDeadlineExceeded, 0, TooSlow, alertUserCanceled},
		{"deadline before a byte", nil, os.ErrDeadlineExceeded, 0, TooSlow, 0},
		{"name with a NUL", named("a\x00test"), nil, 0, BadName, alertUnrecognizedName},
		{"name with a slash", named("a/test"), nil, 0, BadName, alertUnrecognizedName},
		{"name of numbers", named("1.2.33"), nil, 0, BadName, alertUnrecognizedName},
		{"name with a line feed", named("a\ntest"), nil, 0, BadName, alertUnrecognizedName},
		{"trailing dot", named("a.tes."), nil, 0, Malformed, 50},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			raw := &fakeConn{in: bytes.NewReader(test.stream), then: test.then}
			hello, conn, err := ReadHello(raw, test.limit)
			fault, ok := errors.AsType[*HelloError](err)
			if !ok {
				t.Fatalf("hello %v, error %v", hello, err)
			}
			if fault.Fault != test.fault || fault.Alert != test.alert {
				t.Errorf("fault %s, alert %d, want %s, %d (%v)", fault.Fault, fault.Alert, test.fault, test.alert, err)
			}
			if most := max(test.limit, 1) * inflation; test.limit > 0 && len(conn.Recorded()) > most {
				t.Errorf("recorded %d bytes, at most %d allowed", len(conn.Recorded()), most)
			}
			if raw.out.Len() > 0 {
				t.Errorf("wrote %x", raw.out.Bytes())
			}
		})
	}
}

// A client that sends a byte now and then gets no more time than one that sends nothing.
func TestReadHelloTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		hello := wire(padded(make([]byte, messageHeader+2+32+8), 4096), 16384)
		hello[recordHeaderSize] = 1
		var trickle sync.WaitGroup
		defer trickle.Wait()
		defer client.Close()
		trickle.Go(func() {
			for _, b := range hello {
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(400 * time.Millisecond)
			}
		})
		start := time.Now()
		if err := server.SetDeadline(start.Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _, err := ReadHello(server, 0)
		if fault, ok := errors.AsType[*HelloError](err); !ok || fault.Fault != TooSlow {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// The same connection serves a whole handshake, its hello parsed once.
func TestServer(t *testing.T) {
	certificate := selfSigned(t, "a.test")
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	conn := NewConn(server, 0)
	calls := 0
	session := Server(conn, func(hello *Hello) (Choice, error) {
		calls++
		if !strings.HasSuffix(hello.Name, ".test") {
			t.Errorf("name %q", hello.Name)
		}
		return Choice{&tls.Config{GetCertificate: Certificate}, &certificate}, nil
	})
	done := make(chan error)
	go func() {
		done <- tls.Client(client, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true}).Handshake()
	}()
	if err := conn.Handshake(session); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, client) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if calls != 1 || len(conn.Recorded()) != 0 {
		t.Errorf("%d calls, %d bytes still recorded", calls, len(conn.Recorded()))
	}
}

// What a chooser refuses is refused in silence: the caller answers.
func TestServerRefused(t *testing.T) {
	refused := errors.New("refused")
	raw := &fakeConn{in: bytes.NewReader(clientHello(t, &tls.Config{ServerName: "a.test"}))}
	conn := NewConn(raw, 0)
	err := conn.Handshake(Server(conn, func(*Hello) (Choice, error) { return Choice{}, refused }))
	if !errors.Is(err, refused) || raw.out.Len() > 0 {
		t.Errorf("error %v, wrote %x", err, raw.out.Bytes())
	}
}

// A client that is asked for another key share and then names another server is not served what was chosen for the name
// that it named first. crypto/tls sees to it, unasked.
func TestSecondHelloNamesAnother(t *testing.T) {
	certificate := selfSigned(t, "a.test")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return
		}
		defer client.Close()
		_ = tls.Client(&renaming{Conn: client}, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true}).Handshake()
	}()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	_ = server.SetDeadline(time.Now().Add(10 * time.Second))
	conn := NewConn(server, 0)
	session := Server(conn, func(*Hello) (Choice, error) {
		return Choice{&tls.Config{GetCertificate: Certificate, CurvePreferences: []tls.CurveID{tls.CurveP256}}, &certificate}, nil
	})
	if err := conn.Handshake(session); err == nil || !strings.Contains(err.Error(), "second ClientHello") {
		t.Errorf("error %v", err)
	}
}

// renaming is a client's connection which asks for b.test in every hello but the first.
type renaming struct {
	net.Conn
	hellos int
}

func (r *renaming) Write(p []byte) (int, error) {
	n := len(p)
	if bytes.Contains(p, []byte("a.test")) {
		if r.hellos++; r.hellos > 1 {
			p = bytes.Replace(p, []byte("a.test"), []byte("b.test"), 1)
		}
	}
	_, err := r.Conn.Write(p)
	return n, err
}

func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// FuzzReadHello holds the reader to its promises on any bytes: it ends, gives every byte back, writes nothing, and its
// name, if any, is a name.
func FuzzReadHello(f *testing.F) {
	message := clientHello(f, &tls.Config{ServerName: "a.test", NextProtos: []string{"x"}})[recordHeaderSize:]
	f.Add(wire(message, 16384), 0)
	f.Add(wire(message, 7), 1)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 0)
	f.Add([]byte{21, 3, 1, 0, 2, 2, 40}, 0)
	f.Fuzz(func(t *testing.T, stream []byte, chunk int) {
		raw := &fakeConn{in: bytes.NewReader(stream), chunk: chunk}
		hello, conn, err := ReadHello(raw, 0)
		if raw.out.Len() > 0 {
			t.Fatalf("wrote %x", raw.out.Bytes())
		}
		if err != nil {
			if _, ok := errors.AsType[*HelloError](err); !ok {
				t.Fatalf("error %T: %v", err, err)
			}
			return
		}
		if name, err := Normalize(hello.Name); hello.Name != "" && (err != nil || name != hello.Name) {
			t.Fatalf("name %q: %v", hello.Name, err)
		}
		if again, err := io.ReadAll(conn); err != nil || !bytes.Equal(again, stream) {
			t.Fatalf("reads %x again, want %x (%v)", again, stream, err)
		}
	})
}

func BenchmarkReadHello(b *testing.B) {
	stream := clientHello(b, &tls.Config{ServerName: "a.test"})
	b.ReportAllocs()
	for b.Loop() {
		raw := &fakeConn{in: bytes.NewReader(stream)}
		if _, _, err := ReadHello(raw, 0); err != nil {
			b.Fatal(err)
		}
	}
}
