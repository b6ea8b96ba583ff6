package health

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// once checks a server once.
func once(t *testing.T, options Options, server *target) error {
	t.Helper()
	if err := options.Check(); err != nil {
		t.Fatal(err)
	}
	return options.withDefaults().check(t.Context(), server.network, server.endpoint)
}

// expectReason wants an error that contains a text; empty: none.
func expectReason(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: got error %v", name, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got error %v, want one with %q", name, err, want)
	}
}

func TestConnecting(t *testing.T) {
	quiet := func(net.Conn) bool { return true }
	expectReason(t, "tcp", once(t, Options{}, listen(t, "tcp", "127.0.0.1:0", quiet)), "")
	expectReason(t, "unix", once(t, Options{}, listen(t, "unix", filepath.Join(t.TempDir(), "s"), quiet)), "")
	expectReason(t, "no socket", once(t, Options{}, &target{network: "unix", endpoint: filepath.Join(t.TempDir(), "s")}), "no such file")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := &target{network: "tcp", endpoint: listener.Addr().String()}
	_ = listener.Close()
	expectReason(t, "refused", once(t, Options{}, gone), "dial tcp "+gone.endpoint+": connect: connection refused")
}

func TestSendAndExpect(t *testing.T) {
	long := strings.Repeat("x", maxAnswer)
	for _, test := range []struct {
		name    string
		serve   func(net.Conn) bool
		options Options
		want    string
	}{
		{"banner", says("", "220 ready\r\n"), Options{Expect: []byte("220 ")}, ""},
		{"in the middle", says("", "hello 220 ready\r\n"), Options{Expect: []byte("220 ")}, ""},
		{"in pieces", says("", "hello 2", "20", " ready\r\n"), Options{Expect: []byte("220 ")}, ""},
		{"answer", says("PING\r\n", "+PONG\r\n"), Options{Send: []byte("PING\r\n"), Expect: []byte("+PONG")}, ""},
		{"bytes", says("\x00\x01", "\xff\x00\xfe"), Options{Send: []byte{0, 1}, Expect: []byte{0xff, 0}}, ""},
		{"sent only", says("PING\r\n"), Options{Send: []byte("PING\r\n")}, ""},
		{"at the start", says("", "2", "20 ready\r\n"), Options{Expect: []byte("220 "), AtStart: true}, ""},
		{"not at the start", says("", "hello 220 ready\r\n"), Options{Expect: []byte("220 "), AtStart: true}, `expect "220 ": the answer is another after "hello 220 ready\r\n"`},
		{"closed", says("x"), Options{Send: []byte("y"), Expect: []byte("220 ")}, `expect "220 ": EOF after "got \"y\""`},
		{"closed without a word", func(net.Conn) bool { return false }, Options{Expect: []byte("220 ")}, `EOF after nothing`},
		{"closed in the middle", func(conn net.Conn) bool { _, _ = io.WriteString(conn, "22"); return false }, Options{Expect: []byte("220 "), AtStart: true}, `EOF after "22"`},
		{"silent", says(""), Options{Expect: []byte("220 "), Timeout: 50 * time.Millisecond}, "i/o timeout after nothing"},
		{"at the very end", says("", long[4:]+"220 "), Options{Expect: []byte("220 ")}, ""},
		{"too late", says("", long+"220 "), Options{Expect: []byte("220 ")}, `not in the answer's first 65536 bytes after "` + long[:quoted] + `"...`},
	} {
		server := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) bool {
			if test.serve(conn) {
				_, _ = io.Copy(io.Discard, conn) // what was not read resets the connection
			}
			return false
		})
		if test.options.Timeout == 0 {
			test.options.Timeout = 5 * time.Second
		}
		expectReason(t, test.name, once(t, test.options, server), test.want)
	}
}

// A server whose answer was read sees the connection end in order.
func TestConnectionsEndInOrder(t *testing.T) {
	server := listen(t, "tcp", "127.0.0.1:0", says("PING", "+PONG"))
	for range 5 {
		expectReason(t, "answer", once(t, Options{Send: []byte("PING"), Expect: []byte("+PONG"), Timeout: 5 * time.Second}, server), "")
	}
}

// A server that sends a byte now and then gets no more time for it.
func TestACheckIsOverByItsTimeout(t *testing.T) {
	server := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) bool {
		for {
			if _, err := conn.Write([]byte("x")); err != nil {
				return false
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	began := time.Now()
	err := once(t, Options{Expect: []byte("220"), Timeout: 100 * time.Millisecond}, server)
	expectReason(t, "drip", err, "i/o timeout after \"xx")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the check took %v", took)
	}
}

func TestACheckEndsWithItsContext(t *testing.T) {
	server := listen(t, "tcp", "127.0.0.1:0", func(net.Conn) bool { return true })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	err := Options{Expect: []byte("220"), Timeout: time.Minute}.withDefaults().check(ctx, server.network, server.endpoint)
	expectReason(t, "cancelled", err, "i/o timeout")
}

// certificate returns one for a name, and roots that it verifies to.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestTLS(t *testing.T) {
	const header = "PROXY UNKNOWN\r\n"
	ours, roots := certificate(t, "db.internal")
	withHeader := func() ([]byte, error) { return []byte(header), nil }
	for _, test := range []struct {
		name    string
		awaits  string // before TLS
		speaks  func(net.Conn) bool
		options Options
		want    string
	}{
		{"handshake alone", "", says(""), Options{TLS: &tls.Config{RootCAs: roots, ServerName: "db.internal"}}, ""},
		{"question", "", says("PING", "+PONG"), Options{TLS: &tls.Config{RootCAs: roots, ServerName: "db.internal"}, Send: []byte("PING"), Expect: []byte("+PONG")}, ""},
		{"ALPN", "", says(""), Options{TLS: &tls.Config{RootCAs: roots, ServerName: "db.internal", NextProtos: []string{"imap"}}}, ""},
		{"behind a header", header, says("PING", "+PONG"), Options{Header: withHeader, TLS: &tls.Config{RootCAs: roots, ServerName: "db.internal"}, Send: []byte("PING"), Expect: []byte("+PONG")}, ""},
		{"what is good by now", "", says(""), Options{TLS: &tls.Config{ServerName: "other.internal"}, CurrentTLS: func() *tls.Config {
			return &tls.Config{RootCAs: roots, ServerName: "db.internal"}
		}}, ""},
		{"another ALPN", "", nil, Options{TLS: &tls.Config{RootCAs: roots, ServerName: "db.internal", NextProtos: []string{"pop3"}}}, "TLS handshake: remote error: tls: no application protocol"},
		{"another name", "", nil, Options{TLS: &tls.Config{RootCAs: roots, ServerName: "other.internal"}}, "TLS handshake: tls: failed to verify certificate"},
		{"unknown authority", "", nil, Options{TLS: &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "db.internal"}}, "TLS handshake: tls: failed to verify certificate"},
	} {
		server := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) bool {
			if !says(test.awaits)(conn) {
				t.Errorf("%s: the header did not come first", test.name)
				return false
			}
			session := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{ours}, NextProtos: []string{"imap"}, SessionTicketsDisabled: true})
			if session.Handshake() == nil && test.speaks(session) {
				if _, err := io.Copy(io.Discard, session); err != nil {
					t.Errorf("%s: the check's session ended with %v", test.name, err)
				}
			}
			return false
		})
		test.options.Timeout = 5 * time.Second
		expectReason(t, test.name, once(t, test.options, server), test.want)
	}
	expectReason(t, "no TLS", once(t, Options{TLS: &tls.Config{ServerName: "a"}}, listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) bool {
		_, _ = io.WriteString(conn, "220 plain\r\n")
		return false
	})), "TLS handshake: ")
}

// recorder remembers the type of the last TLS record that was read whole.
type recorder struct {
	net.Conn
	read bytes.Buffer
}

func (r *recorder) Read(into []byte) (int, error) {
	n, err := r.Conn.Read(into)
	r.read.Write(into[:n])
	return n, err
}

func (r *recorder) last() (kind byte) {
	for text := r.read.Bytes(); len(text) >= 5; {
		kind = text[0]
		text = text[min(len(text), 5+int(text[3])<<8+int(text[4])):]
	}
	return kind
}

// Before TLS 1.3 an alert can be told from the outside.
func TestSessionsEndInOrder(t *testing.T) {
	const alert = 21
	ours, roots := certificate(t, "db.internal")
	last := make(chan byte, 1)
	server := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) bool {
		r := &recorder{Conn: conn}
		_, _ = io.Copy(io.Discard, tls.Server(r, &tls.Config{Certificates: []tls.Certificate{ours}, MaxVersion: tls.VersionTLS12}))
		last <- r.last()
		return false
	})
	expectReason(t, "check", once(t, Options{TLS: &tls.Config{RootCAs: roots, ServerName: "db.internal"}, Timeout: 5 * time.Second}, server), "")
	expect(t, "last record", <-last, alert)
}

func TestHeader(t *testing.T) {
	header := []byte("PROXY UNKNOWN\r\n")
	server := listen(t, "tcp", "127.0.0.1:0", says(string(header)+"PING", "+PONG"))
	options := Options{Send: []byte("PING"), Expect: []byte("+PONG"), Timeout: 5 * time.Second}
	options.Header = func() ([]byte, error) { return header, nil }
	expectReason(t, "with a header", once(t, options, server), "")
	options.Header = func() ([]byte, error) { return nil, errors.New("too long") }
	quiet := listen(t, "tcp", "127.0.0.1:0", says(""))
	expectReason(t, "without", once(t, options, quiet), "send PROXY header: too long")
}

func TestOptionsAreChecked(t *testing.T) {
	for name, options := range map[string]Options{
		"an interval below zero": {Interval: -1},
		"a fall below zero":      {Fall: -1},
		"too much expected":      {Expect: make([]byte, maxAnswer+1)},
		"nothing at the start":   {AtStart: true},
		"no server name":         {TLS: &tls.Config{}},
	} {
		if options.Check() == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// FuzzAwait holds what is read in pieces against what is read at once.
func FuzzAwait(f *testing.F) {
	f.Add([]byte("hello 220 ready"), []byte("220 "), false, uint8(3))
	f.Add([]byte("220"), []byte("220 "), true, uint8(1))
	f.Add(bytes.Repeat([]byte("ab"), 700), []byte("ba"), false, uint8(255))
	f.Fuzz(func(t *testing.T, answer, want []byte, atStart bool, piece uint8) {
		if len(want) == 0 || len(answer) > maxAnswer {
			return
		}
		options := Options{Expect: want, AtStart: atStart}
		_, err := options.await(&pieces{answer, int(piece) + 1})
		good := bytes.Contains(answer, want)
		if atStart {
			good = bytes.HasPrefix(answer, want)
		}
		if good != (err == nil) {
			t.Errorf("%q in %q: %v", want, answer, err)
		}
	})
}

// pieces reads text in pieces.
type pieces struct {
	text []byte
	size int
}

func (p *pieces) Read(into []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	if len(into) == 0 {
		return 0, fmt.Errorf("read into nothing")
	}
	n := copy(into, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

// A server that is asked for TLS before it is asked so at each check, behind the header.
func TestAskingForTLS(t *testing.T) {
	const request, answer = "STARTTLS\r\n", "220 go ahead\r\n"
	ours, roots := certificate(t, "db.internal")
	asks := func(conn io.ReadWriter) error {
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		got := make([]byte, len(answer))
		if _, err := io.ReadFull(conn, got); err != nil {
			return err
		}
		if string(got) != answer {
			return fmt.Errorf("got %q", got)
		}
		return nil
	}
	for _, test := range []struct {
		name, answer, want string
		timeout            time.Duration
	}{
		{"it begins", answer, "", 5 * time.Second},
		{"it does not", "502 not here!\r\n", `ask for TLS: got "502 not here!`, 5 * time.Second},
		{"it says nothing", "", "ask for TLS: ", 100 * time.Millisecond},
	} {
		server := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) bool {
			if !says("PROXY UNKNOWN\r\n"+request, test.answer)(conn) {
				return false
			}
			session := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{ours}})
			_, _ = io.Copy(io.Discard, session)
			return false
		})
		err := once(t, Options{
			Header: func() ([]byte, error) { return []byte("PROXY UNKNOWN\r\n"), nil }, StartTLS: asks,
			TLS: &tls.Config{RootCAs: roots, ServerName: "db.internal"}, Timeout: test.timeout,
		}, server)
		expectReason(t, test.name, err, test.want)
	}
}
